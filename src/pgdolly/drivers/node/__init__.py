"""Programs that run on a node, sent to Patroni's own Python interpreter there through standard input.

Each takes one JSON object as its only argument and prints one JSON object. They use nothing but the standard
library and, where they say so, Patroni's library, so that a node needs no agent. Nothing here is imported.
"""
