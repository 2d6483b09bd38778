"""Reset a cluster to a point in its own or another cluster's history."""
