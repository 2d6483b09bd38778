"""Patroni's own library on this node. Sent along with programs."""


def patroni_library():
    """Its classes for a configuration and for the store that it leads to: Config and get_dcs.

    As it is imported it reads a long YAML file, for which PyYAML's own reader takes longer than all the rest does.
    """
    import yaml

    yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    from patroni.config import Config
    from patroni.dcs import get_dcs

    return Config, get_dcs
