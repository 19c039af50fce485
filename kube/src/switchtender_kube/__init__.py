"""Talking to a Kubernetes API server: transport, reflector, server-side apply, Lease election. Knows no group."""
