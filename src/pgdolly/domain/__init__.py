"""Values: clusters, LSNs, timelines, backups, recovery targets, errors. No input and no output."""
