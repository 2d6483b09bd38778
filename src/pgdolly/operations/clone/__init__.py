"""A new cluster on nodes that hold none: as a standby cluster, cut off from one, or at a point in time."""
