"""Patroni's configuration of this node's member. Sent along with programs."""

import os

from patroni_library import patroni_library


def local_configuration(path):
    """What Patroni's own library would read there, as a dictionary.

    To import that library takes most of a second; a plain file with no PATRONI_* beside it needs none of it.
    """
    if os.path.isfile(path) and not any(name.startswith("PATRONI_") for name in os.environ):
        import yaml

        with open(path) as text:
            # libyaml's, where PyYAML was built with it, is ten times as fast.
            return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    Config, _ = patroni_library()
    return Config(path, validator=None).local_configuration
