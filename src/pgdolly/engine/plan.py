"""A plan is data: stages of lanes of steps, and the facts that it stands on."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pgdolly.domain.errors import InvalidInput
from pgdolly.engine.step import Effect, Step

_KIND = re.compile(r"[a-z][a-z0-9_]*\Z")
StepClass = TypeVar("StepClass", bound=type[Any])


@dataclass(frozen=True, slots=True)
class Lane:
    """Steps that run one after the other, usually all on one member. `name` is unique within its stage."""

    name: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError(f"{self.name!r} cannot name a lane: it is a part of step ids, between slashes")


@dataclass(frozen=True, slots=True)
class Stage:
    """Lanes that run side by side. The next stage begins when all of them have ended well."""

    title: str
    lanes: tuple[Lane, ...]

    def __post_init__(self) -> None:
        names = [lane.name for lane in self.lanes]
        if len(set(names)) != len(names):
            raise ValueError(f"stage {self.title!r} has two lanes of one name: {', '.join(names)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an operation is going to do, and what it saw when it decided so.

    :param summary: a few lines that say it all: from where, to which point, with what left behind.
    :param facts: what was observed and the plan stands on, (name, value); names are unique.
    """

    operation: str
    target: str
    summary: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        names = [name for name, _ in self.facts]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"two facts of one name: {', '.join(twice)}")

    def steps(self, part: int = 1) -> Iterator[tuple[str, Stage, Lane, Step]]:
        """Every step with its id, its stage and its lane, in the order of the plan."""
        for stage_number, stage in enumerate(self.stages, 1):
            for lane in stage.lanes:
                for number, step in enumerate(lane.steps, 1):
                    yield step_id(part, stage_number, lane.name, number, step.kind), stage, lane, step

    def changed_facts(
        self, now: Plan | Mapping[str, str] | Iterable[tuple[str, str]]
    ) -> list[tuple[str, str | None, str | None]]:
        """The facts that are no longer so: (name, then, now), None where one is missing; sorted by name."""
        then_facts = dict(self.facts)
        now_facts = dict(now.facts if isinstance(now, Plan) else now)
        return [
            (name, then_facts.get(name), now_facts.get(name))
            for name in sorted(then_facts.keys() | now_facts.keys())
            if then_facts.get(name) != now_facts.get(name)
        ]


def step_id(part: int, stage: int, lane: str, number: int, kind: str) -> str:
    """A step's name in the journal, the same on every resume: `1/2/pg-test-1/3-restore_data_directory`.

    :param part: the number of the plan within its run, which may go on with a further plan.
    :param stage: counted from 1, as `number` within its lane is: the plan prints the same numbers.
    """
    return f"{part}/{stage}/{lane}/{number}-{kind}"


def outline(plan: Plan) -> dict[str, Any]:
    """The plan as JSON for reading: titles, effects and commands. Only a registry can make it whole again."""
    return {
        "operation": plan.operation,
        "target": plan.target,
        "summary": list(plan.summary),
        "warnings": list(plan.warnings),
        "facts": [list(fact) for fact in plan.facts],
        "stages": [
            {
                "title": stage.title,
                "lanes": [
                    {"name": lane.name, "steps": [_step_outline(step) for step in lane.steps]}
                    for lane in stage.lanes
                ],
            }
            for stage in plan.stages
        ],
    }


def _step_outline(step: Step) -> dict[str, Any]:
    commands = [{"run_as": command.run_as, "shown": command.shown()} for command in step.commands()]
    return {"kind": step.kind, "title": step.title(), "effect": step.effect.value, "commands": commands}


class StepRegistry:
    """The kinds of step there are; turns steps and plans to JSON and back."""

    def __init__(self, *classes: type[Any]) -> None:
        self._classes: dict[str, type[Any]] = {}
        self._adapters: dict[str, Any] = {}
        for step_class in classes:
            self.register(step_class)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(sorted(self._classes))

    def register(self, step_class: StepClass) -> StepClass:
        """Make a class known by its kind; usable as a decorator.

        :raises ValueError: if its kind is taken, or it is not a frozen dataclass with a kind and an effect.
        """
        kind = getattr(step_class, "kind", None)
        if not isinstance(kind, str) or not _KIND.match(kind):
            raise ValueError(f"{step_class.__name__}: kind {kind!r} is not a lower_case word")
        if kind in self._classes:
            raise ValueError(f"step kind {kind!r} is taken by {self._classes[kind].__name__}")
        if not isinstance(getattr(step_class, "effect", None), Effect):
            raise ValueError(f"{step_class.__name__} does not say its effect")
        if not getattr(getattr(step_class, "__dataclass_params__", None), "frozen", False):
            raise ValueError(f"{step_class.__name__} is not a frozen dataclass")
        self._classes[kind] = step_class
        return step_class

    def encode(self, step: Step) -> dict[str, Any]:
        """A step as JSON: its kind and its fields.

        :raises KeyError: if its class is not registered.
        :raises TypeError: if the step would not come back equal: better now than when it is resumed.
        """
        if self._classes.get(step.kind) is not type(step):
            raise KeyError(f"{type(step).__name__} is not registered")
        from pydantic_core import PydanticSerializationError

        try:
            fields = self._adapter(step.kind).dump_python(step, mode="json", warnings="error")
            encoded = {"kind": step.kind, **fields}
            survives = self.decode(encoded) == step
        except (PydanticSerializationError, InvalidInput) as error:
            raise TypeError(f"{type(step).__name__} does not survive its journal: {error}") from error
        if not survives:
            raise TypeError(f"{type(step).__name__} does not survive its journal: {step!r}")
        return encoded

    def decode(self, encoded: Mapping[str, Any]) -> Step:
        """The step that `encode` was given.

        :raises InvalidInput: if the kind is unknown, or the fields are not those of its class: another
            version wrote the journal.
        """
        from pydantic import ValidationError

        fields = dict(encoded)
        kind = fields.pop("kind", None)
        step_class = self._classes.get(kind) if isinstance(kind, str) else None
        if step_class is None:
            raise InvalidInput(f"no step of kind {kind!r} is known; was the plan written by another version?")
        unknown = fields.keys() - {field.name for field in dataclasses.fields(step_class)}
        if unknown:  # pydantic would drop them without a word, and with them what they were to change
            raise InvalidInput(
                f"step {kind} has fields that this version does not know: {', '.join(sorted(unknown))}"
            )
        try:
            step: Step = self._adapter(step_class.kind).validate_python(fields)
        except ValidationError as error:
            raise InvalidInput(f"step {kind} cannot be read: {error}") from error
        return step

    def encode_plan(self, plan: Plan) -> dict[str, Any]:
        """A plan as JSON: its outline, with each step's fields under `step`."""
        encoded = outline(plan)
        for stage, stage_outline in zip(plan.stages, encoded["stages"], strict=True):
            for lane, lane_outline in zip(stage.lanes, stage_outline["lanes"], strict=True):
                for step, step_outline in zip(lane.steps, lane_outline["steps"], strict=True):
                    step_outline["step"] = self.encode(step)
        return encoded

    def decode_plan(self, encoded: Mapping[str, Any]) -> Plan:
        """The plan that `encode_plan` was given.

        :raises InvalidInput: as `decode` does, or if it is no plan at all.
        """
        try:
            return Plan(
                operation=encoded["operation"],
                target=encoded["target"],
                summary=tuple(encoded["summary"]),
                warnings=tuple(encoded["warnings"]),
                facts=tuple((name, value) for name, value in encoded["facts"]),
                stages=tuple(
                    Stage(
                        stage["title"],
                        tuple(
                            Lane(lane["name"], tuple(self.decode(step["step"]) for step in lane["steps"]))
                            for lane in stage["lanes"]
                        ),
                    )
                    for stage in encoded["stages"]
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"the plan cannot be read: {error!r}") from error

    def _adapter(self, kind: str) -> Any:
        # Built when it is needed: an adapter costs milliseconds, and commands that only list runs need none.
        if kind not in self._adapters:
            from pydantic import TypeAdapter

            self._adapters[kind] = TypeAdapter(self._classes[kind])
        return self._adapters[kind]
