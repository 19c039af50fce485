"""What a call costs: the balancer beside Kamailio and a program that only moves datagrams (docs/performance.md)."""
