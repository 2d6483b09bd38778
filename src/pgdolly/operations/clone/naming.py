"""What is the template's in a configuration, and what it becomes for a new member. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pgdolly.domain.cluster import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """From a template's member to a new cluster's.

    Names are replaced where they stand alone, `--stanza=pg-meta`, `/backup/pg-meta/`, and not within other words:
    `pg-meta-db` stays.
    """

    old: Member
    new: Member
    words: tuple[tuple[str, str], ...]

    @classmethod
    def between(cls, old: Member, new: Member, *, scope: str, stanza: str) -> Naming:
        """:param scope, stanza: the template's, which need not be its cluster's name."""
        words = {old.name: new.name, scope: new.cluster, stanza: new.cluster, old.cluster: new.cluster}
        return cls(old=old, new=new, words=tuple(words.items()))

    def text(self, value: str) -> str:
        """A value with the template's names replaced."""
        found = dict(self.words)
        alternatives = "|".join(re.escape(word) for word in sorted(found, key=len, reverse=True))
        return re.sub(rf"(?<![\w-])({alternatives})(?![\w-])", lambda match: found[match[1]], value)

    def place(self, value: str) -> str:
        """A directory or file of the instance's own: beside its data directory if the template's is beside its own."""
        parent, path = self.old.data_directory.parent, PurePosixPath(value)
        if path.is_absolute() and parent != PurePosixPath("/") and path.is_relative_to(parent):
            return str(self.new.data_directory.parent / path.relative_to(parent))
        return self.text(value)

    def places(self, value: str) -> str:
        """Several of them, separated by commas."""
        return ",".join(self.place(each.strip()) for each in value.split(","))

    def everywhere(self, value: Any) -> Any:
        """The same in all texts of a structure; keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.everywhere(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.everywhere(each) for each in value]
        return value

    def listening(self, value: str, port: int) -> str:
        """`address:port`, or several addresses; the template's own address becomes the new member's, others stay."""
        hosts = value.rpartition(":")[0] if re.search(r":\d+$", value) else value
        own = (self.old.node.address, self.old.name)
        changed = [self.new.node.address if host in own else host for host in hosts.split(",")]
        return f"{','.join(changed)}:{port}"
