"""What routing by reported load is worth: the same calls through several balancers, side by side."""
