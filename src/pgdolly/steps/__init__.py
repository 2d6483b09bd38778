"""One class per thing that is done to a node or a cluster."""
