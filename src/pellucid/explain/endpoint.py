"""An endpoint that speaks OpenAI's protocol: asked again where it is slow or busy, and only as much as was allowed.

The key is read from the environment when a request is made; it stands in no file, message or cache. What was answered
is kept by the hash of what was asked, so that a run that was killed pays for nothing twice.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pellucid.base.errors import PellucidError
from pellucid.base.files import read_text, sha256_text, write_text
from pellucid.base.schema import parsed
from pellucid.explain.answers import MOST, Completion

KEYS: Final = ("PELLUCID_API_KEY", "OPENAI_API_KEY")
"""Variables of the environment that may hold a key, the first that is set counts."""
CHAT: Final = "/chat/completions"
TRIES, WAIT, LONGEST_WAIT, TIMEOUT = 4, 1.0, 60.0, 120.0
LARGEST: Final = 1 << 20
"""Bytes of an answer that are read."""
BUSY: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
CHARACTERS: Final = 4
"""Of a token, about: what a request costs is told before it is made."""


class _Stays(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: a key is for one host."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse; the answer then is an error of its own number."""


_OPENER = urllib.request.build_opener(_Stays)


@dataclass
class Endpoint:
    """Answers requests at `url` by `model`, for at most `budget` tokens in all (None: any number)."""

    url: str
    model: str
    cache: Path
    budget: int | None = None
    sleep: Callable[[float], None] = time.sleep
    spent: int = 0
    requests: int = 0
    _kept: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PellucidError(f"{self.url!r:.100} is no endpoint; expected something like http://localhost:8000")
        if parts.username or parts.password:
            raise PellucidError(f"put no key into the URL of an endpoint, but into {KEYS[0]}")
        if self.cache.exists():
            self._kept = parsed(dict[str, str], read_text(self.cache), str(self.cache))

    def ask(self, body: Mapping[str, Any], *, again: bool = False) -> str:
        """The text that the model answers to a request's body; what was answered before costs nothing.

        With `again` it is asked although it has answered. Raises `PellucidError` where the budget is used up, or the
        endpoint cannot be reached, refuses, or answers in no known shape.
        """
        text = json.dumps({**body, "model": self.model}, ensure_ascii=False, sort_keys=True)
        name = sha256_text(f"{self.url}\0{text}\0{again}")
        if name not in self._kept:
            cost = len(text) // CHARACTERS + int(body.get("max_tokens", 0))
            if self.budget is not None and self.spent + cost > self.budget:
                raise PellucidError(f"the budget of {self.budget:,} tokens is used up; what was answered is kept")
            self.spent += cost
            self._kept[name] = self._sent(text)[:MOST]
            write_text(self.cache, json.dumps(self._kept, ensure_ascii=False))
        return self._kept[name]

    def _sent(self, text: str) -> str:
        """What the endpoint answers, asked some times if it is busy."""
        wait = WAIT
        for tried in range(1, TRIES + 1):
            self.requests += 1
            try:
                with _OPENER.open(self._request(text), timeout=TIMEOUT) as response:
                    return parsed(Completion, response.read(LARGEST), f"the answer of {self._where}").content
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in BUSY or tried == TRIES:
                    said_no = f"{self._where} answers {error.code} {error.reason}{self._hint(error)}"
                    raise PellucidError(said_no) from None
                after = error.headers.get("Retry-After", "") if error.headers else ""
                wait = float(after) if after.isdigit() else wait
            except (OSError, TimeoutError) as error:
                if tried == TRIES:
                    reason = getattr(error, "reason", error)
                    raise PellucidError(f"{self._where} cannot be reached: {reason}") from None
            self.sleep(min(wait, LONGEST_WAIT))
            wait *= 2
        raise AssertionError("unreachable")

    def _request(self, text: str) -> urllib.request.Request:
        headers = {"Content-Type": "application/json"}
        if key := next((os.environ[name] for name in KEYS if os.environ.get(name)), None):
            headers["Authorization"] = f"Bearer {key}"
        path = self.url.rstrip("/")
        if not path.endswith(CHAT):
            path += CHAT if path.endswith("/v1") else f"/v1{CHAT}"
        return urllib.request.Request(path, text.encode(), headers, method="POST")

    @property
    def _where(self) -> str:
        """The endpoint in messages, without anything that may be secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"

    @staticmethod
    def _hint(error: urllib.error.HTTPError) -> str:
        return f"; a key is read from {KEYS[0]} or {KEYS[1]}" if error.code in (401, 403) else ""
