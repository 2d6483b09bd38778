"""What pgBackRest prints about a stanza, read into values.

Sources: pgBackRest, `src/command/info/info.c` and `src/command/repo/ls.c` (2.45 to 2.59); recorded output
under `tests/data/pgbackrest/`. Unknown fields are ignored; fields that some versions leave out may be absent.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pgdolly.domain.backup import ArchivedSegment, BackupSet, BackupType, DatabaseSystem
from pgdolly.domain.lsn import DEFAULT_SEGMENT_SIZE, LSN, WalSegment

# Status codes of a repository (info.c, INFO_STANZA_STATUS_CODE_*).
STATUS_OK = 0
STATUS_MISSING_STANZA_PATH = 1
STATUS_NO_BACKUP = 2
STATUS_MISSING_STANZA_DATA = 3
STATUS_OTHER = 99

_SEGMENT_SIZES = tuple(1 << power for power in range(20, 31))  # initdb --wal-segsize: 1 MB to 1 GB
_ARCHIVE_ID = r"(\d+(?:\.\d+)?-\d+)"
_SEGMENT_FILE = re.compile(
    _ARCHIVE_ID + r"/[0-9A-F]{16}/([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})-[0-9a-f]{40}(?:\.[a-z0-9]+)?\Z"
)
_HISTORY_FILE = re.compile(_ARCHIVE_ID + r"/([0-9A-F]{8})\.history\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryStatus:
    """How pgBackRest found the stanza in one repository. `message` is one line."""

    repo_key: int
    code: int
    message: str
    cipher: str
    wrongly_deciphered: bool = False

    @property
    def readable(self) -> bool:
        """Whether its backups and WAL could be listed; a stanza without a backup is readable."""
        return self.code in (STATUS_OK, STATUS_NO_BACKUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class StanzaInfo:
    """One stanza of `pgbackrest --output=json info`.

    :param segment_sizes: in bytes, by archive id.
    :param archive_ids: those that have WAL, each with its repository's key.
    """

    stanza: str
    status: str
    cipher: str
    repositories: tuple[RepositoryStatus, ...]
    systems: tuple[DatabaseSystem, ...]
    backups: tuple[BackupSet, ...]
    segment_sizes: Mapping[str, int]
    archive_ids: frozenset[tuple[int, str]]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveListing:
    """What lies in one archive, by the names and times of its files. All sorted."""

    archive_id: str
    segments: tuple[ArchivedSegment, ...]
    duplicates: tuple[WalSegment, ...]
    history_files: tuple[tuple[int, datetime], ...]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class _Range(_Part):
    start: str | None = None  # null for a backup made offline
    stop: str | None = None


class _Times(_Part):
    start: int
    stop: int


class _DatabaseReference(_Part):
    id: int
    repo_key: int = Field(default=1, alias="repo-key")


class _RepositorySizes(_Part):
    size: int | None = None  # left out for a block-incremental backup (2.46)
    delta: int = 0


class _Sizes(_Part):
    size: int = 0
    repository: _RepositorySizes = _RepositorySizes()


class _Backup(_Part):
    label: str
    type: BackupType
    archive: _Range = _Range()
    lsn: _Range | None = None  # left out for a backup made before 2.15
    database: _DatabaseReference
    info: _Sizes = _Sizes()
    timestamp: _Times
    error: bool | None = None


class _Database(_Part):
    id: int
    repo_key: int = Field(default=1, alias="repo-key")
    system_id: int = Field(alias="system-id")
    version: str


class _ArchiveRange(_Part):
    id: str
    min: str | None = None  # null where no WAL is
    database: _DatabaseReference


class _Status(_Part):
    code: int
    message: str = ""


class _Repository(_Part):
    key: int
    cipher: str = "none"
    status: _Status


class _Stanza(_Part):
    name: str
    status: _Status
    cipher: str = "none"
    archive: list[_ArchiveRange] = []
    backup: list[_Backup] = []
    db: list[_Database] = []
    repo: list[_Repository] = []


def parse_info(text: str, stanza: str) -> StanzaInfo:
    """Read `pgbackrest --output=json info` and pick one stanza.

    :raises ValueError: if it is not such output or does not name the stanza.
    """
    loaded = _load(text)
    entries = loaded if isinstance(loaded, list) else []
    found = next(
        (entry for entry in entries if isinstance(entry, dict) and entry.get("name") == stanza), None
    )
    if found is None:
        raise ValueError(f"pgBackRest said nothing about stanza {stanza!r}")
    try:
        parsed = _Stanza.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"unexpected stanza information: {where}: {first['msg']}") from None
    systems = _systems(parsed)
    backups, sizes, remarks = _backups(parsed, systems)
    return StanzaInfo(
        stanza=parsed.name,
        status=one_line(parsed.status.message) or str(parsed.status.code),
        cipher=parsed.cipher,
        repositories=tuple(
            RepositoryStatus(
                repo_key=entry.key,
                code=entry.status.code,
                message=one_line(entry.status.message),
                cipher=entry.cipher,
                wrongly_deciphered=looks_wrongly_deciphered(entry.status.message, entry.cipher),
            )
            for entry in parsed.repo
        ),
        systems=systems,
        backups=backups,
        segment_sizes=sizes,
        archive_ids=frozenset(
            (entry.database.repo_key, entry.id) for entry in parsed.archive if entry.min is not None
        ),
        remarks=remarks,
    )


def parse_stanza_names(text: str) -> tuple[str, ...]:
    """The stanzas in `repo-ls --output=json backup` (a folder each).

    :raises ValueError: if it is not such output.
    """
    return tuple(
        sorted(name for name, entry in _load_listing(text) if name != "." and entry.get("type") == "path")
    )


def parse_repo_ls(
    text: str, segment_sizes: Mapping[str, int] | None = None, *, below: str | None = None
) -> tuple[ArchiveListing, ...]:
    """Read `repo-ls --output=json --recurse archive/<stanza>`: one listing for each archive id.

    Only whole segments count. Backup labels (`.backup`), what a promotion left half-filled (`.partial`: the
    next timeline's first segment holds those bytes too) and temporary files are none of a recovery's WAL.

    :param segment_sizes: bytes, by archive id, where known; else the names must tell.
    :param below: the archive id, where `archive/<stanza>/<archive id>` was listed.
    :raises ValueError: if it is not such output.
    """
    files: dict[str, list[tuple[int, int, int, int, int]]] = {}
    histories: dict[str, list[tuple[int, datetime]]] = {}
    for listed, entry in _load_listing(text):
        if entry.get("type") != "file":
            continue
        name = listed if below is None else f"{below}/{listed}"
        if matched := _SEGMENT_FILE.match(name):
            archive_id, timeline, log, low = matched.groups()
            time, size = entry.get("time"), entry.get("size")
            if not isinstance(time, int) or not isinstance(size, int):
                raise ValueError(f"pgBackRest lists {name} without its time and size")
            files.setdefault(archive_id, []).append(
                (int(timeline, 16), int(log, 16), int(low, 16), time, size)
            )
        elif matched := _HISTORY_FILE.match(name):
            histories.setdefault(matched[1], []).append((int(matched[2], 16), _at(entry.get("time"))))
    return tuple(
        _listing(
            archive_id,
            files.get(archive_id, []),
            histories.get(archive_id, []),
            (segment_sizes or {}).get(archive_id),
        )
        for archive_id in sorted(files.keys() | histories.keys())
    )


def one_line(message: str) -> str:
    """The first line of a message. With a wrong passphrase, undeciphered bytes follow on the next ones."""
    first = message.strip().splitlines()[0] if message.strip() else ""
    return "".join(character for character in first if character.isprintable())[:300].rstrip(": ")


def looks_wrongly_deciphered(message: str, cipher: str) -> bool:
    """Whether a repository's status message comes of a wrong `cipher-type` or `cipher-pass`.

    OpenSSL notices some wrong passphrases (CryptoError); with others the file deciphers to noise, and
    pgBackRest says that the noise is no configuration file (FormatError).
    """
    return "CryptoError" in message or (cipher != "none" and "FormatError" in message)


def _load(text: str) -> object:
    # Not strict: pgBackRest copies undeciphered bytes, control characters among them, into its JSON strings.
    try:
        loaded: object = json.loads(text, strict=False)
    except ValueError as error:
        raise ValueError(f"pgBackRest's answer is not JSON: {error}") from None
    return loaded


def _load_listing(text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    loaded = _load(text)
    if not isinstance(loaded, dict):
        raise ValueError("pgBackRest's answer is not a listing of a path")
    for name, entry in loaded.items():
        if isinstance(entry, dict):
            yield name, entry


def _at(seconds: object) -> datetime:
    if not isinstance(seconds, int):
        raise ValueError(f"{seconds!r} is not a time in seconds since 1970")
    return datetime.fromtimestamp(seconds, UTC)


def _systems(stanza: _Stanza) -> tuple[DatabaseSystem, ...]:
    archive_ids = {(entry.database.id, entry.database.repo_key): entry.id for entry in stanza.archive}
    systems = []
    for entry in stanza.db:
        # Only archive.info's own number differs, and only in rare stanzas: info.c, archiveDbList().
        archive_id = archive_ids.get((entry.id, entry.repo_key), f"{entry.version}-{entry.id}")
        archive_history_id = int(archive_id.rpartition("-")[2])
        systems.append(
            DatabaseSystem(
                history_id=entry.id,
                version=entry.version,
                system_identifier=entry.system_id,
                repo_key=entry.repo_key,
                archive_history_id=archive_history_id if archive_history_id != entry.id else None,
            )
        )
    return tuple(systems)


def _backups(
    stanza: _Stanza, systems: tuple[DatabaseSystem, ...]
) -> tuple[tuple[BackupSet, ...], dict[str, int], tuple[str, ...]]:
    """The backups, the segment size of each archive id that they prove, and what was passed over."""
    archive_ids = {(system.history_id, system.repo_key): system.archive_id for system in systems}
    online: list[tuple[_Backup, str, str]] = []
    proofs: dict[str, list[tuple[LSN, str]]] = {}
    remarks = []
    for entry in stanza.backup:
        start, stop = entry.archive.start, entry.archive.stop
        if start is None or stop is None:
            remarks.append(
                f"backup {entry.label} was made offline and holds no position in the WAL: not used"
            )
            continue
        online.append((entry, start, stop))
        if entry.lsn is not None and entry.lsn.start is not None:
            archive_id = archive_ids.get((entry.database.id, entry.database.repo_key), "")
            proofs.setdefault(archive_id, []).append((LSN.parse(entry.lsn.start), start))
    sizes = {archive_id: size for archive_id, pairs in proofs.items() if (size := size_by_positions(pairs))}
    backups = []
    for entry, start, stop in online:
        archive_id = archive_ids.get((entry.database.id, entry.database.repo_key), "")
        size = sizes.get(archive_id, DEFAULT_SEGMENT_SIZE)
        start_segment, stop_segment = WalSegment.parse(start, size), WalSegment.parse(stop, size)
        lsn = entry.lsn or _Range()
        backups.append(
            BackupSet(
                label=entry.label,
                type=entry.type,
                repo_key=entry.database.repo_key,
                history_id=entry.database.id,
                start_at=_at(entry.timestamp.start),
                stop_at=_at(entry.timestamp.stop),
                # Without LSNs the segments bound them.
                start_lsn=LSN.parse(lsn.start) if lsn.start else start_segment.start,
                stop_lsn=LSN.parse(lsn.stop) if lsn.stop else stop_segment.end,
                start_segment=start_segment,
                stop_segment=stop_segment,
                database_size=entry.info.size,
                repository_size=entry.info.repository.size or entry.info.repository.delta,
                error=bool(entry.error),
            )
        )
    return tuple(backups), sizes, tuple(remarks)


def size_by_positions(pairs: Iterable[tuple[LSN, str]]) -> int | None:
    """The segment size under which each LSN lies in the segment named beside it; None if several fit or none.

    A name's last eight digits count segments within 4 GB of WAL: `XLogFileName`.
    """
    known = list(pairs)
    fitting = [
        size
        for size in _SEGMENT_SIZES
        if known and all((lsn.position & 0xFFFFFFFF) // size == int(name[16:24], 16) for lsn, name in known)
    ]
    return fitting[0] if len(fitting) == 1 else None


def size_by_names(counters: Iterable[tuple[int, int, int]]) -> int:
    """The segment size that the names of segments speak for, in bytes; 16 MB if they do not tell.

    :param counters: timeline, log and number within the log of each segment.
    """
    highest: dict[tuple[int, int], int] = {}
    begun: set[tuple[int, int]] = set()
    for timeline, log, low in counters:
        highest[timeline, log] = max(low, highest.get((timeline, log), 0))
        if low == 0:
            begun.add((timeline, log))
    top = max(highest.values(), default=0)
    if top >= 0x100000000 // DEFAULT_SEGMENT_SIZE:
        return next(
            (size for size in reversed(_SEGMENT_SIZES) if top < 0x100000000 // size), _SEGMENT_SIZES[0]
        )
    # Larger segments: the next log begins although this one has not come to 000000FF.
    ends = {low for (timeline, log), low in highest.items() if (timeline, log + 1) in begun}
    if ends == {top}:
        return next((size for size in _SEGMENT_SIZES if 0x100000000 // size == top + 1), DEFAULT_SEGMENT_SIZE)
    return DEFAULT_SEGMENT_SIZE


def _listing(
    archive_id: str,
    files: list[tuple[int, int, int, int, int]],
    histories: list[tuple[int, datetime]],
    segment_size: int | None,
) -> ArchiveListing:
    size = segment_size or size_by_names(file[:3] for file in files)
    per_log = 0x100000000 // size
    files.sort()
    copies = Counter(file[:3] for file in files)
    return ArchiveListing(
        archive_id=archive_id,
        segments=tuple(
            ArchivedSegment(
                segment=WalSegment(timeline, log * per_log + low, size), archived_at=_at(time), size=length
            )
            for timeline, log, low, time, length in files
            if copies[timeline, log, low] == 1
        ),
        duplicates=tuple(
            WalSegment(timeline, log * per_log + low, size)
            for (timeline, log, low), count in copies.items()
            if count > 1
        ),
        history_files=tuple(sorted(histories)),
    )
