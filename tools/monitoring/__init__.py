"""What Prometheus and Grafana are given: recording rules and alerts (`rules`), dashboards beside them.

One typed source for all of it; ``tools.generate`` writes the files. Knows names of metrics, and no running process.
"""
