"""``make demo``: simulated nodes, real calls over UDP, the balancer as it ships."""
