"""The outside judges: SIPp places calls through the balancer to simulated nodes, tshark dissects what it emits."""
