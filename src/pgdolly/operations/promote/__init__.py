"""A standby cluster becomes one of its own."""
