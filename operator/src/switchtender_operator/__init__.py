"""The operator: observes pods and BalancerGroups, plans DestinationSets, applies the difference."""
