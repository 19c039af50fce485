"""Writing to the API server: sets, status, events, Secrets; only differences, at a bounded rate."""
