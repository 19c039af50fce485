"""Observe, plan, apply: the loop between the watched world and what is published."""
