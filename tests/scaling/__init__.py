"""What many replicas and nodes need: a simulation of stale reports, and what follows from measured figures."""
