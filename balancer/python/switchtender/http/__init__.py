"""The balancer's HTTP interface: probes, metrics, what it knows of groups and nodes, and orders from its own host."""
