"""The live page in a real browser, before a running balancer."""
