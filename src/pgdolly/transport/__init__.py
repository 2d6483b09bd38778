"""How a node's shell is reached, and the jobs that outlive a connection to it."""
