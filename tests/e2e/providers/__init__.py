"""Where the scenarios run: ways to a Kubernetes behind one interface (`cluster.Cluster`)."""
