"""The scenarios: what must hold on a real Kubernetes API."""
