"""The one place that knows kopf: BalancerGroup events wake the reconciler, nothing more."""
