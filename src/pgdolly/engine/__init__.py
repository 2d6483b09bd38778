"""Runs plans: steps, stages, the journal, events. Knows no PostgreSQL."""
