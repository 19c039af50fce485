"""Drivers: how a node's load is read. One subpackage per protocol; `reports` is what they all deliver."""
