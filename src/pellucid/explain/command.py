"""`pellucid explain`: explanations found and scored, asked of readers through files or an endpoint, and printed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.progress import track
from pellucid.base.terminal import tell
from pellucid.explain.activity import unit_of
from pellucid.explain.answers import explanation_in, numbers_in, read_lines
from pellucid.explain.endpoint import CHARACTERS, Endpoint
from pellucid.explain.kept import load
from pellucid.explain.requests import TOKENS, ReaderRequest
from pellucid.explain.scores import mean_scores
from pellucid.explain.work import Taken, chosen, explain, explain_requests, score_requests, take
from pellucid.project.explanations import Explained, Told
from pellucid.project.project import Project

CACHE: Final = "scratch/answers-of-endpoints.json"
READER: Final = "reader"
"""What stands for a model in requests that anybody may answer."""
PRINTED: Final = 20
SCORES: Final = ("simulation", "detection", "fuzzing", "intruder", "detection, read", "fuzzing, read")


def found(project: Project, names: Collection[str], count: int, seed: int) -> dict[str, Explained]:
    """Explain parts by rules, score them, and keep both; what is known of these parts."""
    units = chosen(project, names, count, seed)
    explain(project, units, seed)
    known = load(project)
    return {unit.name: known[unit.name] for unit in units}


def written(project: Project, path: Path, names: Collection[str], count: int, seed: int, *, score: bool) -> int:
    """Write requests to readers: to explain parts, or with `score` to mark the explanations that there are."""
    units = _units(project, names, count, seed, score=score)
    requests = score_requests(project, units, (), seed) if score else explain_requests(project, units, seed)
    write_text(path, "".join(json.dumps(one.line(READER), ensure_ascii=False) + "\n" for one in requests))
    return len(requests)


def _units(project: Project, names: Collection[str], count: int, seed: int, *, score: bool) -> list[Any]:
    """The parts that readers are asked about; for marks those that have explanations."""
    if names or not score:
        return list(chosen(project, names, count, seed))
    return [unit_of(name, project.model) for name in load(project)][:count]


def taken(project: Project, path: Path, by: str) -> Taken:
    """Keep the answers in a file."""
    return take(project, read_lines(path), by)


def through(project: Project, endpoint: Endpoint, names: Collection[str], count: int, seed: int) -> tuple[Taken, Taken]:
    """Have an endpoint explain parts, then mark its own explanations on held-out text."""
    units = list(chosen(project, names, count, seed))
    told = take(project, _answers(endpoint, explain_requests(project, units, seed)), endpoint.model)
    marks = score_requests(project, units, {endpoint.model}, seed)
    return told, take(project, _answers(endpoint, marks), endpoint.model)


def _answers(endpoint: Endpoint, requests: Sequence[ReaderRequest]) -> dict[str, str]:
    """The answers to requests; one that has not the shape that was asked for is asked for once more."""
    cost = sum(len(one.prompt) // CHARACTERS + TOKENS for one in requests)
    tell(f"{len(requests):,} requests to {endpoint.model}, about {cost:,} tokens at most")
    found = {}
    for request in track(list(requests), "asking"):
        body = request.line(endpoint.model)["body"]
        answer = endpoint.ask(body)
        if explanation_in(answer) is None and numbers_in(answer, 1000) is None:
            answer = endpoint.ask(body, again=True)
        found[request.id] = answer
    return found


def summary(known: Mapping[str, Explained]) -> dict[str, Any]:
    """Mean scores by kind of part and by who explained, beside a token table and other parts' explanations."""
    result: dict[str, Any] = {}
    for kind, mark in (("heads", ".H"), ("neurons", ".N")):
        own = {name: one for name, one in known.items() if mark in name}
        if not own:
            continue
        rows: dict[str, Any] = {}
        for by in dict.fromkeys(told.by for one in own.values() for told in one.told):
            told = [told for one in own.values() for told in one.told if told.by == by]
            rows[by] = _means([one.scores for one in told])
            rows[f"{by}, of another part"] = _means([one.shuffled for one in told])
        baselines = [one.baseline for one in own.values() if one.baseline]
        if baselines:
            rows["token table"] = _means(baselines)
        result[kind] = {"parts": len(own), "scores": rows}
    return result


def _means(scores: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    return mean_scores([{name: one.get(name) for name in SCORES} for one in scores])


def details(known: Mapping[str, Explained]) -> dict[str, Any]:
    """All of it for JSON."""
    return {"means": summary(known), "parts": {name: asdict(one) for name, one in known.items()}}


def lines(known: Mapping[str, Explained]) -> Iterator[str]:
    """What is known, for the terminal: means, then parts."""
    if not known:
        raise PellucidError("nothing was explained: no part carries any effect")
    for kind, means in summary(known).items():
        names = [name for name in SCORES if any(row[name] for row in means["scores"].values())]
        yield f"{means['parts']} {kind}"
        yield f"  {'':28}" + "".join(f"{name:>24}" for name in names)
        for who, row in means["scores"].items():
            yield f"  {who:28}" + "".join(f"{_interval(row[name]):>24}" for name in names)
    yield ""
    for name, one in list(known.items())[:PRINTED]:
        best = one.best
        if best is not None:
            yield f"{name}  {_score(best)}  {best.text}"
    if len(known) > PRINTED:
        yield f"… and {len(known) - PRINTED} more: --json has all, `pellucid show DIR PART` one"


def _interval(found: Mapping[str, float] | None) -> str:
    return "–" if found is None else f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _score(told: Told) -> str:
    return "detects –   " if told.detects is None else f"detects {told.detects:.2f}"
