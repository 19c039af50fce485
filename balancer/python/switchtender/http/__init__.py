"""The balancer's HTTP interface: probes, metrics, and what it knows of groups and nodes. Read-only."""
