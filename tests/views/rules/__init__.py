"""Recording rules and alerts, held by promtool against what balancers and operators may say."""
