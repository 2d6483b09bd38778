"""`pgdolly runs` and `pgdolly show` over real journals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pgdolly.cli.main import cli
from pgdolly.cli.outcome import next_commands
from pgdolly.domain.errors import InvalidInput
from pgdolly.engine.home import controller_home, runs_directory
from pgdolly.engine.journal import Journal

PLAN: dict[str, Any] = {
    "stages": [
        {
            "title": "Restore",
            "lanes": [
                {
                    "name": name,
                    "steps": [
                        {
                            "kind": "restore",
                            "title": "restore",
                            "effect": "destroy",
                            "commands": [{"run_as": "dbsu", "shown": "pgbackrest restore"}],
                        },
                        {"kind": "start", "title": "start", "effect": "change", "commands": []},
                    ],
                }
                for name in ("pg-test-1", "pg-test-2")
            ],
        }
    ]
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PGDOLLY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def failed_run() -> Journal:
    """One lane has done its first step and is in the second, the other has failed."""
    with Journal.create(
        runs_directory(), operation="reset", target="pg-test", request={"time": "t"}
    ) as journal:
        journal.record_plan(1, PLAN)
        journal.append("step_begun", id="1/1/pg-test-1/1-restore")
        journal.append("step_begun", id="1/1/pg-test-2/1-restore")
        journal.append("step_finished", id="1/1/pg-test-1/1-restore", result=None, seconds=62.0)
        journal.append("step_begun", id="1/1/pg-test-1/2-start")
        error = {"type": "CommandFailed", "message": "restore failed", "stderr_end": "ERROR: [039]\nno space"}
        error["next_command"] = "pgdolly resume"
        journal.append("step_failed", id="1/1/pg-test-2/1-restore", error=error, seconds=3.0)
        journal.note("1/1/pg-test-1/2-start", "replica was rebuilt from the leader")
        journal.end("failed", "restore failed")
    return journal


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_home_is_where_the_environment_says_or_in_the_users_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert controller_home() == home
    monkeypatch.delenv("PGDOLLY_HOME")
    monkeypatch.setenv("HOME", "/home/dba")
    assert runs_directory() == Path("/home/dba/.pgdolly/runs")
    monkeypatch.setenv("PGDOLLY_HOME", "~/elsewhere")
    assert controller_home() == Path("/home/dba/elsewhere")


def test_runs_lists_the_last_first_with_its_state(home: Path) -> None:
    assert printed("runs") == f"no runs in {home}/runs\n"
    assert json.loads(printed("runs", "--output=json")) == []
    assert not home.exists()  # looking leaves nothing behind
    failed = failed_run()
    (damaged := home / "runs" / "19990101-000000-old-0000").mkdir()
    (damaged / "journal.jsonl").write_text("nonsense\n")
    with Journal.create(runs_directory(), operation="cleanup", target="pg-finished", request={}) as running:
        lines = printed("runs").splitlines()
    running.close()
    assert lines[0].split() == ["RUN", "STATE", "OPERATION", "TARGET", "STARTED", "TOOK"]
    assert [line.split()[:4] for line in lines[1:]] == [
        [running.run_id, "running", "cleanup", "pg-finished"],
        [failed.run_id, "failed", "reset", "pg-test"],
        ["19990101-000000-old-0000", "damaged", "-", "-"],
    ]
    assert re.search(r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  \d\.\d s$", lines[-2])


def test_runs_as_json_has_what_the_table_has(home: Path) -> None:
    journal = failed_run()
    [run] = json.loads(printed("runs", "--output=json"))
    assert run["run_id"] == journal.run_id
    assert (run["state"], run["error"], run["request"]) == ("failed", "restore failed", {"time": "t"})
    assert run["started_at"].endswith("+00:00")


def test_show_tells_what_came_of_each_step() -> None:
    journal = failed_run()
    lines = printed("show", journal.run_id[:20]).splitlines()
    assert lines[0] == f"{journal.run_id}: reset pg-test"
    assert lines[1] == "  state:    failed"
    assert lines[5:] == [
        "",
        "1. Restore",
        "   pg-test-1",
        "     1.1 DESTROY restore  done in 1 min 02 s",
        "     1.2 change  start  begun",
        "   pg-test-2",
        "     1.1 DESTROY restore  FAILED after 3.0 s",
        "          restore failed",
        "            | ERROR: [039]",
        "            | no space",
        "          next: pgdolly resume",
        "     1.2 change  start  not begun",
        "",
        "Notes",
        "  pg-test-1  replica was rebuilt from the leader",
        "",
        "error: restore failed",
        "",
        f"next: pgdolly resume {journal.run_id}",
    ]


def test_show_prints_commands_when_asked() -> None:
    journal = failed_run()
    assert printed("show", journal.run_id, "--commands").count("          dbsu:  pgbackrest restore\n") == 2
    assert "pgbackrest restore" not in printed("show", journal.run_id)


def test_show_of_a_live_run_says_who_conducts_it() -> None:
    failed_id = failed_run().run_id
    with Journal.resume(runs_directory(), failed_id) as journal:
        shown = printed("show", failed_id)
    assert f"  state:    running (process {journal.run.pid} on {journal.run.controller})\n" in shown
    assert "1.2 change  start  going on\n" in shown
    assert "next:" not in shown.splitlines()[-1]


def test_show_as_json_has_the_plan_and_the_steps() -> None:
    journal = failed_run()
    shown = json.loads(printed("show", journal.run_id, "--output=json"))
    assert shown["parts"] == [{"part": 1, "plan": PLAN}]
    assert shown["steps"]["1/1/pg-test-2/1-restore"]["details"]["stderr_end"] == "ERROR: [039]\nno space"
    assert shown["notes"][0]["text"] == "replica was rebuilt from the leader"


def test_show_of_an_unknown_run_is_refused() -> None:
    run_id = failed_run().run_id
    with pytest.raises(InvalidInput, match=f"there is no run 'pg-meta'; the last: {run_id}"):
        printed("show", "pg-meta")


@pytest.mark.parametrize(
    "inventory", ["/gone/pigsty.yml", ["/gone/pigsty.yml"], ["one,", "/gone/pigsty.yml"]]
)
def test_a_run_is_taken_up_with_the_inventories_that_it_was_begun_with(inventory: str | list[str]) -> None:
    with Journal.create(
        runs_directory(), operation="reset", target="pg-test", request={"inventory": inventory}
    ) as journal:
        run = journal.run_id
    with pytest.raises(InvalidInput, match=r"there is no inventory /gone/pigsty\.yml"):
        CliRunner().invoke(cli, ["resume", run], catch_exceptions=False)


@pytest.mark.parametrize(
    ("begun", "said"),
    [
        (
            "1/2/pg-new-1/1-found_standby",
            "pgdolly drop pg-new   # removes what there is of it; then clone again",
        ),
        (
            "1/5/pg-new-1/2-promote_standby",
            "pgdolly promote pg-new   # ends what this run has begun",
        ),
    ],
)
def test_a_clone_that_is_given_up_is_dropped_unless_it_may_have_a_history_of_its_own(
    begun: str, said: str
) -> None:
    with Journal.create(runs_directory(), operation="clone", target="pg-new", request={}) as journal:
        journal.record_plan(1, PLAN)
        journal.append("step_begun", id=begun)
        journal.end("abandoned")
    assert next_commands(journal.run) == [said]
