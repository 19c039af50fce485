"""Joins drivers, the load model and the packet core. Knows all of them; none of them knows it."""
