"""What people and Prometheus see of the product: rules, dashboards, pages."""
