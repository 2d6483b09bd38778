"""The pgBackRest repository that an inventory names, as pgBackRest's own options.

Pigsty's rule (`roles/pgsql/templates/pgbackrest.conf`): a key `s3_uri_style` of the repository becomes the option
`repo1-s3-uri-style`, and `${pg_cluster}` in a value the cluster's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pgdolly.domain.secret import Secret

# https://pgbackrest.org/configuration.html#section-repository: those that it takes from no command line, and the key
# of GCS, which may be a file's path or a token.
SECRET_KEYS = frozenset(
    {
        "azure-account",
        "azure-key",
        "cipher-pass",
        "gcs-key",
        "s3-key",
        "s3-key-secret",
        "s3-kms-key-id",
        "s3-sse-customer-key",
        "s3-token",
        "sftp-private-key-passphrase",
    }
)
# An option that is not known here yet is masked if it sounds like a secret.
_SOUNDS_SECRET = re.compile(r"(^|-)(pass|passphrase|passwd|password|secret|token|key)$")
_KEY = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
_TEMPLATE = re.compile(r"\{\{|\{%")
_PREFIX = "repo1-"


class UnusableSetting(ValueError):
    """A repository's parameters cannot become pgBackRest's options; the message names the key, never a value."""


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """A repository's options in the inventory's order: `("repo1-type", "s3")`; what is secret is a `Secret`.

    An option that pgBackRest takes several times (`repo1-storage-tag`) stands in it several times.
    """

    options: tuple[tuple[str, str | Secret], ...]

    @property
    def secret_names(self) -> frozenset[str]:
        """The options whose values are masked. pgBackRest takes them from a file or its environment only."""
        return frozenset(name for name, value in self.options if isinstance(value, Secret))

    @property
    def kind(self) -> str:
        """What it is stored in, by pgBackRest's word: `posix`, `s3`, `azure`, `gcs`, `sftp`, `cifs`."""
        return next((str(value) for name, value in self.options if name == f"{_PREFIX}type"), "posix")

    def revealed(self) -> Iterator[tuple[str, str]]:
        """The options with their secrets in clear: for a configuration file that pgBackRest's account alone reads."""
        for name, value in self.options:
            yield name, value.reveal() if isinstance(value, Secret) else value

    def masked(self) -> tuple[tuple[str, str], ...]:
        """The options for people and for JSON: secrets are `***`."""
        return tuple((name, str(value)) for name, value in self.options)

    def filled(self, placeholders: Mapping[str, str | None]) -> RepositorySettings:
        """The same with `${name}` replaced, in secrets too; names that are not given stay as they stand.

        :raises UnusableSetting: if a value needs a name that is given as None: it is not set.
        """
        return RepositorySettings(
            tuple(
                (
                    name,
                    Secret(_fill(name, value.reveal(), placeholders))
                    if isinstance(value, Secret)
                    else _fill(name, value, placeholders),
                )
                for name, value in self.options
            )
        )


@dataclass(frozen=True, slots=True)
class UnusableRepository:
    """Why the repository that the inventory names cannot be used, which matters only to who needs it."""

    reason: str
    next_command: str | None = None


def settings_from(repository: Mapping[object, object]) -> RepositorySettings:
    """Read a repository's parameters, with Pigsty's keys.

    :raises UnusableSetting: naming the key that is wrong.
    """
    options: list[tuple[str, str | Secret]] = []
    for given, value in repository.items():
        key = str(given)
        if not isinstance(given, str) or not _KEY.fullmatch(given):
            raise UnusableSetting(f"{key!r} is no name of an option: it has a-z, 0-9 and _")
        option = key.replace("_", "-")
        for each in value if isinstance(value, list | tuple) else (value,):
            text = _text(key, each)
            options.append((f"{_PREFIX}{option}", Secret(text) if is_secret(option) else text))
    return RepositorySettings(tuple(options))


def is_secret(option: str) -> bool:
    """Whether the value of this option (`s3-key-secret`, without its repository) is to be masked."""
    return option in SECRET_KEYS or _SOUNDS_SECRET.search(option) is not None


def _text(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "y" if value else "n"  # as pgBackRest writes it; YAML makes a truth value of `yes`
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise UnusableSetting(
            f"{key} has no value" if value is None else f"{key} is a {type(value).__name__}, not a text"
        )
    if _TEMPLATE.search(value):
        raise UnusableSetting(f"{key} is a template, which ansible-inventory does not fill in")
    if not value.isprintable():
        raise UnusableSetting(f"{key} has a line feed or another character that is not printable")
    return value


def _fill(name: str, text: str, placeholders: Mapping[str, str | None]) -> str:
    for placeholder, value in placeholders.items():
        mark = f"${{{placeholder}}}"
        if mark in text:
            if value is None:
                raise UnusableSetting(f"{name} needs {placeholder}, which is not set")
            text = text.replace(mark, value)
    return text
