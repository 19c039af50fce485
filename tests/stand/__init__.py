"""The stand on which the product is tried: simulated nodes, the balancer as a process, SIPp, all on loopback.

Nothing here imports the product or the simulator: they are run as their users run them.
"""
