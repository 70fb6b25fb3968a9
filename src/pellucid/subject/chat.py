"""Conversations: the template that says how a subject is asked, and the text that it makes of messages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pellucid.base.errors import PellucidError, SubjectError

TEMPLATE = "chat_template.jinja"
LONGEST = 200_000
"""The longest template that is read, in characters."""
_CHILD = Path(__file__).with_name("chat_child.py")
_SECONDS = 15
"""How long a child may take until it is ended; it bounds itself to less."""

Messages = str | Sequence[Mapping[str, str]]
"""What a user says, or messages with `role` and `content`."""


@dataclass(frozen=True)
class Chat:
    """A template, and the tokens that it may name, such as `bos_token`."""

    template: str
    tokens: Mapping[str, str] = field(default_factory=dict)

    def text(self, messages: Messages) -> str:
        """The text of a conversation, to the point where the subject is to speak.

        Raises `PellucidError` for messages that are none, and where the template refuses them, fails, or is not done
        in time.
        """
        told = [{"role": "user", "content": messages}] if isinstance(messages, str) else _checked(messages)
        asked = json.dumps({"template": self.template, "messages": told, "tokens": dict(self.tokens)})
        run = [sys.executable, "-I", str(_CHILD)]
        try:
            done = subprocess.run(run, input=asked, capture_output=True, text=True, timeout=_SECONDS, check=False)
            said = json.loads(done.stdout or "{}")
        except (subprocess.TimeoutExpired, ValueError):
            said = {}
        if "text" in said:
            return str(said["text"])
        reason = said.get("error", "it was not done in time, or needed too much memory")
        raise PellucidError(f"the chat template of the subject cannot be used: {reason}")


def _checked(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    told = [dict(message) for message in messages if isinstance(message, Mapping)]
    if len(told) != len(messages) or not told or any(_is_wrong(message) for message in told):
        raise PellucidError(
            f"{messages!r:.200} is no conversation; expected a text, or messages such as "
            "{'role': 'user', 'content': 'Hello'}"
        )
    return told


def _is_wrong(message: Mapping[str, Any]) -> bool:
    return not all(isinstance(message.get(key), str) for key in ("role", "content"))


def read_chat(directory: Path, settings: Mapping[str, Any], tokens: Mapping[str, str]) -> Chat | None:
    """The template in `directory`: in a file of its own, or in `settings`, its tokenizer_config.json; None without one.

    Raises `SubjectError` for a template that is too long, or no text.
    """
    path = directory / TEMPLATE
    found = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else settings.get("chat_template")
    if isinstance(found, list):
        named = {str(one.get("name")): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    if found is None:
        return None
    if not isinstance(found, str) or len(found) > LONGEST:
        raise SubjectError(f"{directory}: its chat template is no text of at most {LONGEST:,} characters")
    return Chat(found, dict(tokens))
