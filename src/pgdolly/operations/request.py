"""The request for a point-in-time recovery: `pg_pitr` with Pigsty's keys and meanings, whichever door it came by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
)

from pgdolly.domain.errors import InvalidInput
from pgdolly.domain.lsn import LSN
from pgdolly.domain.repository import RepositorySettings, settings_from
from pgdolly.domain.target import RecoveryTarget, TargetAction, TargetType

NOTHING = "nothing was changed"


def _repository(value: object) -> int | RepositorySettings | None:
    """Pigsty's three forms: nothing, a mapping of the repository's options, or (ours) a configured one's number."""
    if value is None or value == {}:
        return None
    if isinstance(value, RepositorySettings):
        return value
    if isinstance(value, Mapping):
        return settings_from(value)
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError("a repository is a number from 1 on, or a mapping of its options: {type: s3, …}")


def _repository_as_json(value: Any) -> Any:
    return dict(value.masked()) if isinstance(value, RepositorySettings) else value


class PitrRequest(BaseModel):
    """`pg_pitr`. Everything is optional: `{}` is in-place recovery to the end of the archive.

    `cleanup` is pgdolly's own: it runs the post-PITR clean-up in the same go.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, str_strip_whitespace=True, hide_input_in_errors=True
    )

    # An empty name is no name left out: a variable that is empty by mistake would make it a recovery in place.
    cluster: str | None = Field(default=None, min_length=1)
    type: TargetType | None = None
    time: str | None = None
    # The first normal transaction id; PostgreSQL takes 64 bits, and looks at the lower half of them.
    xid: int | None = Field(default=None, ge=3, lt=2**64)
    name: str | None = Field(default=None, min_length=1, max_length=63)
    lsn: str | None = None
    set: str | None = Field(default=None, min_length=1)
    timeline: int | str | None = None
    exclusive: bool = False
    action: TargetAction = TargetAction.PROMOTE
    archive: bool = False
    backup: bool = False
    db_include: tuple[str, ...] = ()
    db_exclude: tuple[str, ...] = ()
    link_map: dict[str, str] = Field(default_factory=dict)
    process: int | None = Field(default=None, ge=1, le=999)
    # A number names a repository that the nodes are configured with; a mapping is one by itself, as in Pigsty.
    repo: Annotated[
        int | RepositorySettings | None, PlainValidator(_repository), PlainSerializer(_repository_as_json)
    ] = None
    data: str | None = Field(default=None, min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    cleanup: bool = False

    @field_validator("time", "lsn", "name", "set", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        # YAML makes a datetime of an unquoted time and a number of an unquoted set or name.
        if isinstance(value, datetime):
            return value.isoformat(sep=" ")
        if isinstance(value, date) or (isinstance(value, int) and not isinstance(value, bool)):
            return str(value)
        return value

    @field_validator("xid")
    @classmethod
    def _as_normal(cls, value: int | None) -> int | None:
        if value is not None and value % 2**32 < 3:
            raise ValueError("no transaction has this id: the lowest of each 2^32 are not assigned")
        return value

    @field_validator("timeline", mode="before")
    @classmethod
    def _as_timeline(cls, value: object) -> object:
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        if isinstance(value, str) and value.strip():
            return value
        raise ValueError("a timeline is a number, current or latest")

    @field_validator("type", mode="before")
    @classmethod
    def _as_type(cls, value: object) -> object:
        return TargetType.DEFAULT if value == "latest" else value  # Pigsty has both words for it

    @field_validator("db_include", "db_exclude", mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @property
    def repo_key(self) -> int | None:
        """The number of the repository to restore from, if one is named by its number."""
        return self.repo if isinstance(self.repo, int) else None

    @property
    def repository(self) -> RepositorySettings | None:
        """The repository that `repo` describes, `${pg_cluster}` not filled in yet: it is the source's name."""
        return self.repo if isinstance(self.repo, RepositorySettings) else None

    def target(self) -> RecoveryTarget:
        """The recovery target that the keys say.

        :raises InvalidInput: if they contradict each other, or a value cannot be read.
        """
        given = [key for key in ("time", "xid", "name", "lsn") if getattr(self, key) is not None]
        if len(given) > 1:
            raise InvalidInput(
                f"{' and '.join(given)} contradict each other: a recovery has one target", untouched=NOTHING
            )
        implied = TargetType(given[0]) if given else None
        kind = self.type or implied or TargetType.DEFAULT
        if implied is not None and kind is not implied:
            raise InvalidInput(
                f"type {kind.value!r} and {implied.value} contradict each other: leave one out",
                untouched=NOTHING,
            )
        if implied is None and kind not in (TargetType.DEFAULT, TargetType.IMMEDIATE):
            raise InvalidInput(f"type {kind.value!r} needs {kind.value}", untouched=NOTHING)
        if self.exclusive and kind not in (TargetType.TIME, TargetType.XID, TargetType.LSN):
            raise InvalidInput(
                f"exclusive needs a time, an xid or an LSN to stop before; the target is {kind.value!r}",
                untouched=NOTHING,
            )
        if self.action is not TargetAction.PROMOTE and kind is TargetType.DEFAULT:
            raise InvalidInput(
                f"action {self.action.value!r} needs a target to stop at: "
                "PostgreSQL promotes at the end of the archive",
                untouched=NOTHING,
                next_command="add --time, --xid, --name, --lsn or --immediate",
            )
        if self.action is not TargetAction.PROMOTE and self.cleanup:
            raise InvalidInput(
                f"cleanup needs a promoted leader; action is {self.action.value!r}", untouched=NOTHING
            )
        if self.data is not None and (self.archive or self.cleanup):
            raise InvalidInput(
                "data restores beside the cluster, and what lies there never archives: leave archive and cleanup out",
                untouched=NOTHING,
            )
        self._refuse_left_out()
        return RecoveryTarget(
            type=kind,
            time=parse_time(self.time) if self.time is not None else None,
            xid=self.xid,
            name=self.name,
            lsn=parse_lsn(self.lsn) if self.lsn is not None else None,
            exclusive=self.exclusive,
        )

    def _refuse_left_out(self) -> None:
        """:raises InvalidInput: if a database is to be restored and not, or one without which nothing works is not."""
        both = sorted(set(self.db_include) & set(self.db_exclude))
        if both:
            raise InvalidInput(
                f"db_include and db_exclude contradict each other: both name {', '.join(both)}",
                untouched=NOTHING,
            )
        if "postgres" in self.db_exclude:
            raise InvalidInput(
                "db_exclude names postgres: Patroni and pgdolly connect to it, and nobody could without its files",
                untouched=NOTHING,
                next_command="leave it in, and drop its tables afterwards",
            )


def parse_request(given: object) -> PitrRequest:
    """Read `pg_pitr`; None is `{}`.

    :raises InvalidInput: naming the key and what is wrong with it.
    """
    if given is not None and not isinstance(given, Mapping):
        raise InvalidInput(f"{given!r} is no mapping of keys and values", where="pg_pitr", untouched=NOTHING)
    try:
        return PitrRequest.model_validate({} if given is None else dict(given))
    except ValidationError as error:
        problems = []
        for each in error.errors():
            key = ".".join(str(part) for part in each["loc"])
            if each["type"] == "extra_forbidden":
                problems.append(f"unknown key {key!r}: pg_pitr has {', '.join(PitrRequest.model_fields)}")
            elif key == "repo":  # what was given may hold its secrets
                problems.append(f"{key}: {each['msg'].removeprefix('Value error, ')}")
            else:
                problems.append(f"{key}: {each['msg']} (got {each['input']!r})")
        raise InvalidInput("; ".join(problems), where="pg_pitr", untouched=NOTHING) from error


def parse_time(text: str) -> datetime:
    """A time with its zone; pgBackRest would read a bare one in the host's zone, PostgreSQL in its own.

    :raises InvalidInput: if it is no time, or has no zone; then the message says what it would be where.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            f"time {text!r} is not of the form 2025-12-27 17:50:00+08",
            untouched=NOTHING,
        ) from error
    try:
        local = time.astimezone()
        time.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise InvalidInput(f"time {text!r} lies beyond the calendar", untouched=NOTHING) from error
    if time.tzinfo is None:
        raise InvalidInput(
            f"time {text!r} has no zone, and none is guessed: in this machine's zone "
            f"({local.tzname()}) it would be {local.isoformat(sep=' ')}, "
            f"in UTC {time.isoformat(sep=' ')}+00",
            untouched=NOTHING,
            next_command=f"--time '{local.isoformat(sep=' ')}'",
        )
    return time


def parse_lsn(text: str) -> LSN:
    """:raises InvalidInput: if it is no LSN."""
    try:
        return LSN.parse(text)
    except ValueError as error:
        raise InvalidInput(str(error), untouched=NOTHING) from error
