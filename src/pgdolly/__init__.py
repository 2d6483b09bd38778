"""pgdolly: clone whole PostgreSQL clusters."""
