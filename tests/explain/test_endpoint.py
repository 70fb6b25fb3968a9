"""An endpoint may be slow, busy, wrong or hostile: it is asked again, never paid twice, and no key is ever shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pellucid.base.errors import PellucidError
from pellucid.explain.endpoint import LONGEST_WAIT, TRIES, Endpoint

KEY = "sk-very-secret"
BODY = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 10}
Reply = tuple[int, dict[str, str], bytes]


def completion(text: str) -> Reply:
    return 200, {}, json.dumps({"choices": [{"message": {"content": text}}]}).encode()


class Server:
    """A server that gives what it is told, the last reply again and again, and remembers what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply] = [completion("yes")]
        self.asked: list[tuple[str, dict[str, Any], str | None]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.asked.append((self.path, body, self.headers["Authorization"]))
                status, headers, content = owner.replies.pop(0) if len(owner.replies) > 1 else owner.replies[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def ask(server: Server, tmp_path: Path, waits: list[float]) -> Callable[..., Endpoint]:
    def made(**more: Any) -> Endpoint:
        return Endpoint(server.url, "some-model", tmp_path / "cache.json", sleep=waits.append, **more)

    return made


def test_what_was_answered_is_kept_and_not_asked_again(server: Server, ask: Callable[..., Endpoint]) -> None:
    assert ask().ask(BODY) == "yes"
    assert ask().ask(BODY) == "yes"
    assert len(server.asked) == 1
    path, body, key = server.asked[0]
    assert (path, body["model"], key) == ("/v1/chat/completions", "some-model", None)
    ask().ask(BODY, again=True)
    ask().ask({**BODY, "max_tokens": 11})
    assert len(server.asked) == 3


def test_a_busy_endpoint_is_asked_again_later(server: Server, ask: Callable[..., Endpoint], waits: list[float]) -> None:
    server.replies = [
        (429, {"Retry-After": "7"}, b""),
        (503, {}, b""),
        (429, {"Retry-After": "9999"}, b""),
        completion("ok"),
    ]
    assert ask().ask(BODY) == "ok"
    assert len(waits) == 3
    assert waits[0] == 7
    assert waits[2] == LONGEST_WAIT


def test_an_endpoint_that_stays_busy_is_one_line(server: Server, ask: Callable[..., Endpoint]) -> None:
    server.replies = [(500, {}, b"<html>trace</html>")]
    with pytest.raises(PellucidError, match=r"^http://127.0.0.1:\d+ answers 500 Internal Server Error$"):
        ask().ask(BODY)
    assert len(server.asked) == TRIES


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b'{"choices": 3}', b'{"choices": [{"message": {"content": 3}}]}', b"\xff" * 100]
)
def test_an_answer_of_another_shape_is_one_line(server: Server, ask: Callable[..., Endpoint], content: bytes) -> None:
    server.replies = [(200, {}, content)]
    with pytest.raises(PellucidError, match="the answer of http://"):
        ask().ask(BODY)


def test_a_huge_answer_is_not_read_to_its_end(server: Server, ask: Callable[..., Endpoint]) -> None:
    server.replies = [(200, {}, b" " * (1 << 21) + completion("late")[2])]
    with pytest.raises(PellucidError, match="the answer of"):
        ask().ask(BODY)


def test_the_key_goes_to_the_endpoint_and_nowhere_else(
    server: Server, ask: Callable[..., Endpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    other = Server()
    server.replies = [completion("yes"), (302, {"Location": f"{other.url}/v1/chat/completions"}, b""), (401, {}, b"")]
    ask().ask(BODY)
    assert server.asked[0][2] == f"Bearer {KEY}"
    for said in ("answers 302", "answers 401 Unauthorized; a key is read from PELLUCID_API_KEY"):
        with pytest.raises(PellucidError, match=said) as failed:
            ask().ask(BODY, again=True)
        assert KEY not in str(failed.value)
    assert other.asked == []
    other.server.shutdown()
    other.server.server_close()
    assert all(KEY not in path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file())


def test_nothing_costs_more_than_was_allowed(server: Server, ask: Callable[..., Endpoint]) -> None:
    endpoint = ask(budget=60)
    endpoint.ask(BODY)
    with pytest.raises(PellucidError, match="the budget of 60 tokens is used up"):
        endpoint.ask({**BODY, "max_tokens": 50})
    assert endpoint.ask(BODY) == "yes", "what was answered costs nothing"
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["localhost:8000", "file:///etc/passwd", "http://", "ftp://host/"])
def test_what_is_no_endpoint_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(PellucidError, match="is no endpoint"):
        Endpoint(url, "m", tmp_path / "cache.json")


def test_a_key_in_the_url_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(PellucidError, match="put no key into the URL") as failed:
        Endpoint(f"http://user:{KEY}@host/", "m", tmp_path / "cache.json")
    assert KEY not in str(failed.value)


def test_an_endpoint_that_is_not_there_is_named(tmp_path: Path, waits: list[float]) -> None:
    with pytest.raises(PellucidError, match=r"http://127.0.0.1:9 cannot be reached: "):
        Endpoint("http://127.0.0.1:9", "m", tmp_path / "cache.json", sleep=waits.append).ask(BODY)
    assert len(waits) == TRIES - 1
