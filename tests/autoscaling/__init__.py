"""A day of calls in a simulated cluster, over the operator's real planning: what each way to scale costs and spoils."""
