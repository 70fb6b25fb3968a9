"""What a program does, in words: docstrings for its functions and one line for a table."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.weightless.branches import is_condition
from pellucid.weightless.language import Look, WeightlessProgram
from pellucid.weightless.mechanism import Interchange

_STRONG = 0.3


def docstrings(program: WeightlessProgram, tried: Sequence[Interchange], layers: int) -> dict[str, str]:
    """What each function replaces, and how well."""
    found = {entry.value: entry for entry in tried}
    notes = {look.name: _of_look(look, found.get(look.name)) for look in program.looks}
    if program.walk:
        learned = "Learned from what the model says, not found in it: it stands for all of it, and for no part."
        return {"state": f"The state after every token.\n\n{learned}", "answer": "What comes next."}
    replaced = " ".join(f"L{layer:02d}.N*.IN L{layer:02d}.N*.OUT" for layer in range(layers))
    inputs = "".join(f" {_evidence(entry)}" for entry in tried if entry.value in ("token", "position"))
    notes["answer"] = f"What comes next.\n\nReplaces {replaced} LNF and the unembedding.{inputs}"
    return notes


def _of_look(look: Look, entry: Interchange | None) -> str:
    first = f"Looks {where(look)}."
    fit = (
        f"Replaces {' '.join(look.addresses())}: leaves {look.divergence:.2g} nats of their mean pattern unexplained "
        f"(looking everywhere alike leaves {look.uniform:.2g})."
    )
    return "\n\n".join([first, fit + (f" {_evidence(entry)}" if entry else "")])


def _evidence(entry: Interchange) -> str:
    if not entry.agree.n:
        return f"No intervention on {entry.value} changed an answer."
    share = 100 * entry.agree.hits / entry.agree.n
    return (
        f"Set alike here and at {_short(entry.addresses)}, it agrees in {share:.1f} % of {entry.agree.n} interventions."
    )


def _short(addresses: str) -> str:
    return addresses if addresses.startswith("EMB") else "these heads"


def where(look: Look) -> str:
    """Where a look looks, in words: its strongest comparison."""
    if not look.terms:
        return "everywhere alike"
    terms = sorted(look.terms, key=lambda term: -abs(term.weight))
    strong = [term for term in terms if abs(term.weight) > _STRONG * abs(terms[0].weight)][:3]
    return ", ".join(_clause(term.text, term.weight) for term in strong)


def _clause(text: str, weight: float) -> str:
    if is_condition(text) and " * " not in text:
        return f"{'where' if weight > 0 else 'away from where'} {text}"
    return f"{'more' if weight > 0 else 'less'} with {text}"


def summary(program: WeightlessProgram) -> str:
    """One line for a table."""
    if program.walk:
        return f"an automaton of {len(program.walk.says)} states, learned from what the model says"
    looks = "; ".join(f"{look.name} looks {where(look)}" for look in program.looks)
    asked = len(program.questions)
    plural = "" if asked == 1 else "s"
    answer = (
        f"{asked} question{plural} decide{'s' if asked == 1 else ''}"
        if asked
        else f"says {program.choices[program.tree.leaf]}"
    )
    return f"{looks + '; ' if looks else ''}{answer}"
