"""Prometheus metrics: names, help texts, labels. Never a Call-ID or an address as a label."""
