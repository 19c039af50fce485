"""The chart and the manifests: what they render to, and what a real API server says to it."""
