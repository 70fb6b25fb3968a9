"""Renders a chat template that may come from anybody: in a process of its own, in Jinja's sandbox, bounded.

Standard input is JSON with `template`, `messages` and `tokens`; standard output JSON with `text`, or `error`. What a
template may ask for is what Transformers gives it.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS, BYTES, LONGEST = 2, 1 << 30, 1_000_000
"""How long rendering may take, how much memory it may have, and how many characters may come out."""


class Generation(Extension):
    """`{% generation %}` marks what the model says, and changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """What stands between the marks."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def raise_exception(message: str) -> None:
    """What templates refuse a conversation with."""
    raise TemplateError(message)


def tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
    """JSON, without escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more)


def rendered(template: str, messages: list[dict[str, str]], tokens: dict[str, str]) -> str:
    """The text of a conversation in which the model is to speak next."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda layout: datetime.now().strftime(layout)
    return made.from_string(template).render(messages=messages, add_generation_prompt=True, **tokens)


def bound() -> None:
    """Limit this process, where the system can."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def main() -> None:
    """Answer one request."""
    asked = json.load(sys.stdin)
    bound()
    try:
        text = rendered(asked["template"], asked["messages"], asked["tokens"])
        said = {"text": text} if len(text) <= LONGEST else {"error": f"it writes {len(text):,} characters"}
    except (TemplateError, SecurityError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        said = {"error": f"{type(error).__name__}: {error}"[:500]}
    except (MemoryError, RecursionError) as error:
        said = {"error": f"it needs too much: {type(error).__name__}"}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
