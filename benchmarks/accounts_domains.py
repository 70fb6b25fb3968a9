"""Accounts of a model of many kinds of text: what they cover of each kind, beside lists of n-grams of equal symbols.

Every domain of held-out text is measured apart. Rules count as covering where the lower bound of their precision on
check text is at least 95 %, as in the meter. Beside them, counted on the fit text that accounts are found on:

- *certain n-grams*: those of up to three tokens seen 20 times or more with 98 % one answer, the commonest first, as
  many as have no more symbols than the accounts; n tokens and an answer are n + 1 symbols;
- *pruned trigrams*: n-grams of up to three tokens that say more than the shorter ones, the most places gained a symbol
  first, as many as have --symbols symbols; where none of them is, the commonest token of all is said.

The front says what more n-grams would cover, and how often they are right there, whatever their symbols.

Top-1 of accounts is measured with such a pruned list behind them, of so many symbols as the accounts leave of
--symbols: their own back-off is a table that nobody counted.

    python benchmarks/accounts_domains.py DIR [--positions 20000] [--symbols 50000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from accounts import about, percent
from pellucid.accounts.count import symbols
from pellucid.accounts.folder import Folder
from pellucid.accounts.language import Accounts
from pellucid.accounts.measure import likeliest, read, spoken
from pellucid.accounts.meter import NOBODY, Proportion, reliable, rule_shares
from pellucid.accounts.ngrams import LONGEST, SEEN, SURE
from pellucid.base.errors import CorpusError
from pellucid.base.progress import track
from pellucid.corpus.packing import packed_rows, row_tokens
from pellucid.project.project import Project

FIT = 400_000
"""Tokens of fit text that n-grams are counted on: as many as accounts are found on."""
FRONT = ((20, 0.98), (10, 0.98), (10, 0.95), (10, 0.9), (5, 0.98))
"""How often n-grams of the front were seen, and the share of one answer, at least."""
Gram = tuple[int, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--positions", type=int, default=20_000, help="of each domain, at most (20,000)")
    parser.add_argument("--symbols", type=int, default=50_000, help="of accounts and list, or of the list (50,000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it there")
    options = parser.parse_args()
    project = Project.open(options.directory, trust=True)
    found = {**about(options), **measured(project, options.positions, options.symbols)}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines(found)))


def measured(project: Project, positions: int, most: int) -> dict[str, Any]:
    """The figures of accounts and of both lists, by domain."""
    folder = Folder(project)
    accounts, size = folder.accounts(), symbols(folder)
    if not folder.files:
        raise SystemExit(f"{project.directory} has no accounts; `pellucid accounts {project.directory}` finds some")
    check = read(project, "check")
    covering = reliable(rule_shares(spoken(accounts, check.ids), check.own, len(accounts.rules)))
    fit = read(project, "fit", FIT)
    counts = counted(fit.ids.tolist(), fit.own.tolist())
    commonest = int(fit.own.flatten().bincount().argmax())
    lists = {"certain": certain(counts, size), "pruned": pruned(counts, most)}
    behind = pruned(counts, max(0, most - size))
    domains, read_rows = {}, []
    for name in project.texts.heldout.domains:
        if (ids := rows_of(project, name, positions)) is not None:
            own = likeliest(project.model, ids, f"reading {name}")
            read_rows.append((ids, own))
            domains[name] = {
                **by_accounts(accounts, ids, own, covering, said_by(behind, ids), commonest),
                **{label: by_list(grams, ids, own, commonest) for label, grams in lists.items()},
            }
    all_ids, all_own = (torch.cat(parts) for parts in zip(*read_rows, strict=True))
    return {
        "symbols": size,
        "most": most,
        "rules": len(accounts.rules),
        "covering": int(covering.sum()),
        "lists": {label: len(grams) for label, grams in lists.items()},
        "domains": domains,
        "front": [front(counts, seen, share, all_ids, all_own, commonest) for seen, share in FRONT],
    }


def front(
    counts: Sequence[Mapping[Gram, Counter[int]]], seen: int, share: float, ids: Tensor, own: Tensor, commonest: int
) -> dict[str, Any]:
    """What all n-grams cover that were seen so often with such a share of one answer."""
    grams = certain(counts, math.inf, seen, share)
    return {"seen": seen, "share": share, "grams": len(grams), **by_list(grams, ids, own, commonest)}


def rows_of(project: Project, domain: str, positions: int) -> Tensor | None:
    """Rows of the held-out text of one domain; None where it does not fill one."""
    split = project.texts.heldout
    own = replace(split.corpus, read=lambda: (doc for doc in split.corpus.read() if doc.domain == domain))
    count = max(1, positions // row_tokens(project.model))
    try:
        return packed_rows(replace(split, corpus=own), project.model, count, project.manifest.settings.seed)
    except CorpusError:
        return None


# --- accounts and lists -----------------------------------------------------------------------------------------------


def by_accounts(
    accounts: Accounts, ids: Tensor, own: Tensor, covering: Tensor, behind: Tensor, commonest: int
) -> dict[str, Any]:
    """What the covering rules cover, how often they are right, and top-1 with what a list says `behind` them."""
    said = spoken(accounts, ids)
    speaks = said.rule != NOBODY
    covers = speaks & covering[said.rule.clamp(min=0)]
    program = torch.where(speaks, said.token, torch.where(behind != NOBODY, behind, commonest))
    return {"accounts": figures(covers, said.token == own, program == own)}


def by_list(grams: Mapping[Gram, int], ids: Tensor, own: Tensor, commonest: int) -> dict[str, Any]:
    """The same of a list of n-grams: the longest that is in it speaks."""
    token = said_by(grams, ids)
    speaks = token != NOBODY
    return figures(speaks, token == own, torch.where(speaks, token, commonest) == own)


def said_by(grams: Mapping[Gram, int], ids: Tensor) -> Tensor:
    """What a list says behind every token, `NOBODY` where nothing."""
    said = [[longest(grams, row[max(0, at + 1 - LONGEST) : at + 1]) for at in range(len(row))] for row in ids.tolist()]
    return torch.tensor([[NOBODY if answer is None else answer for answer in row] for row in said])


def longest(grams: Mapping[Gram, int], before: Sequence[int]) -> int | None:
    """The answer of the longest n-gram that a text ends in."""
    tails = (tuple(before[-length:]) for length in range(min(LONGEST, len(before)), 0, -1))
    return next((grams[tail] for tail in tails if tail in grams), None)


def figures(covers: Tensor, right: Tensor, program: Tensor) -> dict[str, Any]:
    """Shares with their intervals."""
    covered = int(covers.sum())
    return {
        "covered": Proportion(covered, covers.numel()).to_dict(),
        "precision": Proportion(int((covers & right).sum()), covered).to_dict(),
        "top1": Proportion(int(program.sum()), program.numel()).to_dict(),
    }


def counted(rows: Sequence[Sequence[int]], own: Sequence[Sequence[int]]) -> list[dict[Gram, Counter[int]]]:
    """How often the model says what behind every n-gram, by length."""
    found: list[dict[Gram, Counter[int]]] = [{} for _ in range(LONGEST)]
    for row, said in track(list(zip(rows, own, strict=True)), "counting n-grams", len(rows)):
        for at, answer in enumerate(said):
            for length in range(1, min(LONGEST, at + 1) + 1):
                found[length - 1].setdefault(tuple(row[at + 1 - length : at + 1]), Counter())[answer] += 1
    return found


def certain(
    counts: Sequence[Mapping[Gram, Counter[int]]], size: float, seen: int = SEEN, share: float = SURE
) -> dict[Gram, int]:
    """The n-grams `seen` so often with such a `share` of one answer, most places a symbol first, of `size` symbols."""
    sure = []
    for gram, answers in entries(counts):
        answer, most = answers.most_common(1)[0]
        if answers.total() >= seen and most >= share * answers.total():
            sure.append((most / (len(gram) + 1), gram, answer))
    return within(sure, size)


def pruned(counts: Sequence[Mapping[Gram, Counter[int]]], size: int) -> dict[Gram, int]:
    """N-grams by what they gain over the next shorter one for each symbol, of at most `size` symbols."""
    gains = []
    for gram, answers in entries(counts):
        answer, most = answers.most_common(1)[0]
        shorter = counts[len(gram) - 2][gram[1:]].most_common(1)[0][0] if len(gram) > 1 else None
        gained = most - (answers[shorter] if shorter is not None else 0)
        if gained > 0 and answer != shorter:
            gains.append((gained / (len(gram) + 1), gram, answer))
    return within(gains, size)


def entries(counts: Sequence[Mapping[Gram, Counter[int]]]) -> Iterator[tuple[Gram, Counter[int]]]:
    """All n-grams with what was said behind them."""
    for table in counts:
        yield from table.items()


def within(ranked: Sequence[tuple[float, Gram, int]], size: float) -> dict[Gram, int]:
    """The first entries by rank that have at most `size` symbols together."""
    order = sorted(ranked, key=lambda entry: (-entry[0], entry[1]))
    costs = np.cumsum([len(gram) + 1 for _, gram, _ in order])
    return {gram: answer for (_, gram, answer), cost in zip(order, costs, strict=True) if cost <= size}


# --- printing ---------------------------------------------------------------------------------------------------------


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A table, one line a domain."""
    yield f"{found['directory']}, {found['machine']}, {found['date']}, commit {found['commit']}"
    sizes = found["lists"]
    yield (
        f"{found['rules']} rules of {found['symbols']:,} symbols, {found['covering']} of them covering; "
        f"as many have {sizes['certain']:,} certain n-grams; {sizes['pruned']:,} have {found['most']:,}"
    )
    yield ""
    yield "| domain | covered, right there | certain n-grams | top-1 | trigrams alone |\n|---|---:|---:|---:|---:|"
    for name, row in found["domains"].items():
        covered = [
            f"{percent(row[who]['covered']['value'])}, {percent(row[who]['precision']['value'])}"
            for who in ("accounts", "certain")
        ]
        tops = [percent(row[who]["top1"]["value"]) for who in ("accounts", "pruned")]
        yield f"| {name} | {' | '.join([*covered, *tops])} |"
    yield ""
    yield "| all domains, n-grams seen | with one answer, at least | n-grams | covered | right there |"
    yield "|---:|---:|---:|---:|---:|"
    for row in found["front"]:
        shares = (percent(row[name]["value"]) for name in ("covered", "precision"))
        yield f"| {row['seen']} | {row['share']:.0%} | {row['grams']:,} | {' | '.join(shares)} |"


if __name__ == "__main__":
    main()
