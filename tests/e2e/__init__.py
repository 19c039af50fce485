"""The product on a real Kubernetes API, operator and balancer under their own ServiceAccounts: `make e2e`."""
