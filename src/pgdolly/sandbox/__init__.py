"""A world of one's own: two Patroni clusters, etcd and a pgBackRest repository on this machine's loopback.

`layout` says what exists, `render` what its configuration reads; `build` and `teardown` make it so.
"""
