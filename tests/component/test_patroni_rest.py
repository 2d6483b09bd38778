"""How a node's programs call the node's own Patroni."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_node_programs import program


class Patroni(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        said = {"method": self.command, "authorization": self.headers.get("Authorization"), "body": body}
        status, text = (404, "not json") if self.path == "/nowhere" else (200, json.dumps(said))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def configuration(tmp_path: Path) -> Iterator[Path]:
    """patroni.yml of a Patroni that answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Patroni) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield written(tmp_path, server.server_port)
        server.shutdown()


def written(directory: Path, port: int) -> Path:
    path = directory / "patroni.yml"
    path.write_text(
        f"restapi:\n  connect_address: 127.0.0.1:{port}\n"
        "  authentication: {username: admin, password: 'pass:word'}\n"
    )
    return path


def test_what_changes_something_comes_with_the_password(configuration: Path) -> None:
    asked = program("rest", patroni_config=configuration, method="GET", path="/cluster", body=None)
    told = program("rest", patroni_config=configuration, method="PATCH", path="/config", body={"a": 1})
    assert asked == {"status": 200, "body": {"method": "GET", "authorization": None, "body": ""}}
    assert told["body"] == {
        "method": "PATCH",
        "authorization": "Basic YWRtaW46cGFzczp3b3Jk",
        "body": '{"a": 1}',
    }


def test_an_answer_that_is_no_json_comes_as_it_is(configuration: Path) -> None:
    answer = program("rest", patroni_config=configuration, method="GET", path="/nowhere", body=None)
    assert answer == {"status": 404, "body": "not json"}


def test_the_nodes_proxy_is_not_asked(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may need one to reach the world; its own Patroni it reaches without."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    answer = program("rest", patroni_config=configuration, method="GET", path="/cluster", body=None)
    assert answer["status"] == 200, answer


def test_one_that_does_not_answer_has_status_0(tmp_path: Path) -> None:
    nobody = written(tmp_path, 1)
    answer = program("rest", patroni_config=nobody, method="GET", path="/cluster", body=None)
    assert answer["status"] == 0
    assert "ConnectionRefusedError" in answer["body"]
