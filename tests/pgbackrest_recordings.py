"""What a real pgBackRest said (tests/data/pgbackrest), played back.

`RecordedPgbackrest` is strict: a command line that pgBackRest was never asked when the recording was made fails
the test, so that a changed command line cannot pass unseen.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from pgdolly.domain.backup import Catalogue
from pgdolly.domain.command import Command, Completed
from pgdolly.drivers.catalogue import read_catalogue

RECORDINGS = Path(__file__).parent / "data" / "pgbackrest"
_ALWAYS = ["--log-level-console=off", "--log-level-stderr=warn", "--log-level-file=off"]


class RecordedPgbackrest:
    """Answers for one stanza of one recording, as a node's pgBackRest did."""

    def __init__(
        self,
        stanza: str,
        recording: str,
        *,
        info: str | None = None,
        drop: tuple[str, ...] = (),
        flat: bool = False,
    ) -> None:
        """Play `recording`; `info` is another recording's `info`; names that contain one of `drop` are missing.

        :param flat: the store names no folder that lies beside files.
        """
        self.stanza = stanza
        self.directory = RECORDINGS / recording
        self.info = RECORDINGS / info if info else self.directory / "info.json"
        self.drop = drop
        self.flat = flat
        self.asked: list[tuple[str, ...]] = []
        self.running = 0
        self.most_running = 0

    async def __call__(self, command: Command) -> Completed:
        self.asked.append(command.argv)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        output = self._output(list(command.argv))
        if output is None:
            stderr = "ERROR: [055]: unable to open missing file\n"
            return Completed(command=command, status=55, stdout="", stderr=stderr)
        return Completed(command=command, status=0, stdout=output, stderr="")

    def _output(self, argv: list[str]) -> str | None:
        assert argv[:2] == ["pgbackrest", f"--stanza={self.stanza}"], argv
        rest = argv[2:]
        repo = rest.pop(0).removeprefix("--repo=") if rest[0].startswith("--repo=") else None
        assert rest[:3] == _ALWAYS, argv
        match rest[3:]:
            case ["--output=json", "info"]:
                return self.info.read_text(errors="replace")
            case ["--output=json", "repo-ls", "backup"] if repo is not None:
                return (RECORDINGS / "stanzas.repo-ls.json").read_text()
            case ["--output=json", "--recurse", "repo-ls", path] if repo and path == f"archive/{self.stanza}":
                listing = json.loads((self.directory / f"repo-ls.{repo}.json").read_text())
                kept = {
                    name: entry
                    for name, entry in listing.items()
                    if not any(d in name for d in self.drop) and not (self.flat and "-" in name)
                }
                return json.dumps(kept)
            case ["--output=json", "--recurse", "repo-ls", path] if repo and self.flat:
                archive_id = path.removeprefix(f"archive/{self.stanza}/")
                listing = json.loads((self.directory / f"repo-ls.{repo}.json").read_text())
                below = {
                    name.removeprefix(f"{archive_id}/"): entry
                    for name, entry in listing.items()
                    if name.startswith(f"{archive_id}/")
                }
                return json.dumps(below)
            case ["repo-get", path] if repo is not None:
                file = self.directory / repo / path.removeprefix(f"archive/{self.stanza}/")
                return file.read_text() if file.exists() else None
        raise AssertionError(f"pgBackRest was never asked: {argv}")


def recorded_catalogue(stanza: str, recording: str, *, drop: tuple[str, ...] = ()) -> Catalogue:
    """The catalogue of a recording, without the archived files whose names contain one of `drop`."""
    return asyncio.run(read_catalogue(RecordedPgbackrest(stanza, recording, drop=drop), stanza))
