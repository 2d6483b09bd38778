"""What real Ansible hands over to the playbook's plugin: templates filled in, vaults opened, the rest left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(sys.executable).parent
HIDDEN = "open-to-pgbackrest-alone"

ROOT = Path(__file__).parents[2]

# The project's own plugin, which shows what it was given instead of resetting anything.
PLUGIN = """\
import importlib.util

from pgdolly.domain.errors import PgdollyError
from pgdolly.inventory.fleet import fleet_from_variables

specification = importlib.util.spec_from_file_location("pgdolly_pitr", {path!r})
pgdolly_pitr = importlib.util.module_from_spec(specification)
specification.loader.exec_module(pgdolly_pitr)


def repository(cluster, revealed):
    try:
        found = cluster.repository
    except PgdollyError as error:
        return str(error)
    return dict(found.revealed() if revealed else found.masked())


class ActionModule(pgdolly_pitr.ActionModule):
    def _reset(self, task_vars):
        fleet = fleet_from_variables(self._host_variables(task_vars["hostvars"]), "here")
        return {{
            kind: {{
                name: [str(cluster.members[0].data_directory), repository(cluster, kind == "revealed")]
                for name, cluster in fleet.clusters.items()
            }}
            for kind in ("masked", "revealed")
        }}
"""
PLAY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - {show: , register: shown}
    - ansible.builtin.copy: {dest: "{{ dest }}", content: "{{ shown.revealed | to_json }}"}
    - ansible.builtin.debug: {msg: "{{ shown.masked | to_json }}"}
"""
INVENTORY = """\
all:
  hosts: {{localhost: {{ansible_connection: local, ansible_python_interpreter: {python}}}}}
  vars:
    below: /data
    bucket_of: {{pg-one: first}}
    pgbackrest_repo:
      local: {{path: "{{{{ below }}}}/backup"}}
      store:
        type: s3
        s3_bucket: "{{{{ bucket_of[pg_cluster] }}}}"
        cipher_pass: {encrypted}
      broken: {{path: "{{{{ nowhere }}}}"}}
  children:
    pg-one:
      hosts: {{10.7.0.1: {{pg_seq: 1}}}}
      vars: {{pg_cluster: pg-one, pg_data: "{{{{ below }}}}/one", pgbackrest_method: store}}
    pg-two:
      hosts: {{10.7.0.2: {{pg_seq: 1}}}}
      vars: {{pg_cluster: pg-two, pgbackrest_method: "{{{{ 'lo' ~ 'cal' }}}}"}}
    pg-three:
      hosts: {{10.7.0.3: {{pg_seq: 1}}}}
      vars: {{pg_cluster: pg-three, pgbackrest_method: broken}}
"""


def ansible(*argv: str, directory: Path) -> str:
    done = subprocess.run(
        (PROGRAMS / argv[0], *argv[1:]),
        cwd=directory,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_ACTION_PLUGINS": str(directory),
            "ANSIBLE_HOME": str(directory / "home"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text("open sesame\n")
    encrypted = ansible(
        "ansible-vault", "encrypt_string", "--vault-password-file=password", HIDDEN, directory=tmp_path
    )
    (tmp_path / "hosts.yml").write_text(INVENTORY.format(encrypted=encrypted, python=sys.executable))
    (tmp_path / "play.yml").write_text(PLAY)
    plugin = ROOT / "plugins" / "action" / "pgdolly_pitr.py"
    (tmp_path / "show.py").write_text(PLUGIN.format(path=str(plugin)))
    return tmp_path


def play(directory: Path, *argv: str) -> tuple[dict[str, Any], str]:
    """The clusters as the library sees them, and what Ansible printed."""
    dest = directory / "clusters.json"
    shown = ansible(
        "ansible-playbook", "-i", "hosts.yml", "play.yml", "-e", f"dest={dest}", *argv, directory=directory
    )
    found: dict[str, Any] = json.loads(dest.read_text())
    return found, shown


def test_templates_are_filled_in_and_vaults_are_opened(directory: Path) -> None:
    found, shown = play(directory, "--vault-password-file=password")
    assert found["pg-one"] == [
        "/data/one",
        {"repo1-type": "s3", "repo1-s3-bucket": "first", "repo1-cipher-pass": HIDDEN},
    ]
    assert found["pg-two"] == ["/pg/data", {"repo1-path": "/data/backup"}]
    assert "pgbackrest_repo.broken.path: 'nowhere' is undefined" in found["pg-three"][1]
    assert HIDDEN not in shown and "***" in shown


def test_a_vault_without_its_password_matters_to_who_needs_the_repository(directory: Path) -> None:
    found, _ = play(directory)
    assert "pgbackrest_repo.store.cipher_pass: " in found["pg-one"][1]
    assert "no vault secrets" in found["pg-one"][1]
    assert found["pg-two"] == ["/pg/data", {"repo1-path": "/data/backup"}]
