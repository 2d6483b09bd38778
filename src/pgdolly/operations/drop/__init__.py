"""Remove a cluster: what there is of it, what stands in the way, and the plan."""
