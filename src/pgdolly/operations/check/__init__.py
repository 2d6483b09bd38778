"""Say whether a cluster's backups work, what is wrong if not, and the command that cures it. Reads only.

`observe` looks at the members, their servers, the repository and the other clusters of the inventory; the modules
beside it are pure and judge what was seen; `diagnose` puts their findings together.
"""
