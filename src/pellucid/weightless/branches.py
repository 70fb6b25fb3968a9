"""A tree of questions as the lines of functions, of any depth: what would be nested too deep becomes early returns.

Of a question's two sides one is indented and the other follows. A side that is itself nested deep follows, its question
negated; where both are, one becomes a function of its own.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pellucid.weightless.tree import DecisionNode

WIDTH = 118
DEEPEST = 4
"""No line is indented more often."""


@dataclass
class Branches:
    """Writes `tree` over `questions` and `choices`, expressions over `arguments`; `functions` are split off."""

    tree: DecisionNode
    questions: Sequence[str]
    choices: Sequence[str]
    arguments: Sequence[str]
    functions: list[list[str]] = field(default_factory=list)

    @cached_property
    def body(self) -> list[str]:
        """The lines of the function that answers."""
        return self._lines(self.tree, 1)

    @cached_property
    def _plain(self) -> bool:
        """Whether no question need be negated."""
        return 1 + _as_asked(self.tree) <= DEEPEST

    def _lines(self, node: DecisionNode, depth: int) -> list[str]:
        if node.above is None or node.below is None:
            return [f"{'    ' * depth}return {self.choices[node.leaf]}"]
        asked = question_text(self.questions[node.feature], node.threshold)
        yes, no = node.above, node.below
        if self._plain or needed(yes) <= needed(no):
            return [*if_lines(asked, depth), *self._inner(yes, depth), *self._lines(no, depth)]
        return [*if_lines(negated(asked), depth), *self._inner(no, depth), *self._lines(yes, depth)]

    def _inner(self, node: DecisionNode, depth: int) -> list[str]:
        """The indented side of a question that is asked at `depth`."""
        if depth + 1 + needed(node) <= DEEPEST:
            return self._lines(node, depth + 1)
        body = self._lines(node, 1)
        number = len(self.functions) + 1
        names = [name for name in self.arguments if re.search(rf"\b{name}\b", "\n".join(body))]
        called = f"answer_{number}({', '.join(names)})"
        said = '    """What comes next where the questions that call this have led."""'
        self.functions.append([f"def {called}:", said, *body])
        return [f"{'    ' * (depth + 1)}return {called}"]


def needed(node: DecisionNode) -> int:
    """How many questions lie within one another at least, the better side of each being indented."""
    if node.above is None or node.below is None:
        return 0
    low, high = sorted((needed(node.above), needed(node.below)))
    return max(low + 1, high)


def _as_asked(node: DecisionNode) -> int:
    """How many questions lie within one another where no question is negated."""
    if node.above is None or node.below is None:
        return 0
    return max(_as_asked(node.above) + 1, _as_asked(node.below))


def if_lines(question: str, depth: int) -> list[str]:
    """The head of a branch, over several lines where one would be too long."""
    indent, inner = "    " * depth, "    " * (depth + 1)
    if len(line := f"{indent}if {question}:") <= WIDTH:
        return [line]
    pieces = textwrap.wrap(question, WIDTH - len(inner), break_long_words=False, break_on_hyphens=False)
    return [f"{indent}if (", *(inner + piece for piece in pieces), f"{indent}):"]


def question_text(text: str, threshold: float) -> str:
    """A question: an expression that is true or false as it is, a number compared with its threshold."""
    return text if is_condition(text) else f"{text} > {number_repr(threshold)}"


def negated(question: str) -> str:
    """The same question with yes and no exchanged; what is not a number stays neither more nor less than another."""
    if re.fullmatch(r"[^=!<>()&|]+ == [^=!<>()&|]+", question):
        return question.replace("==", "!=")
    return f"not {question}" if re.fullmatch(r"[^&|]+", question) else f"not ({question})"


def number_repr(value: float) -> str:
    """A threshold, shortest exact text."""
    return repr(int(value)) if value == int(value) else repr(value)


def is_condition(text: str) -> bool:
    """Whether an expression is true or false."""
    return bool(re.search(r"(==|!=|>=|<=|>|<)", text))
