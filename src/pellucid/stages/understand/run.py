"""From first sources to sources that know content: the stage of a decompilation that trains, prints and proves them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.memory import release
from pellucid.base.terminal import tell
from pellucid.exact.model import Model
from pellucid.family.blocks import Decoder
from pellucid.forms.forms import token_texts
from pellucid.listing.change import with_content
from pellucid.listing.count import count_program
from pellucid.listing.draft import Revision
from pellucid.listing.numbers import literal
from pellucid.listing.outline import outline
from pellucid.listing.parse import Listing
from pellucid.project.evidence import Measurement
from pellucid.project.inventory import statement_state
from pellucid.project.project import SIZES, Project
from pellucid.project.rows import first_tokens, rows_for
from pellucid.project.symbols import Symbol
from pellucid.stages.first.token_table import table_scores
from pellucid.stages.prove import tested
from pellucid.stages.understand.plan import TOKENS_A_NUMBER, Plan, plan_for, readable, step_tokens
from pellucid.stages.understand.prove import SourceProof, prove, worst_contexts
from pellucid.stages.understand.spread import spread
from pellucid.stages.understand.stray import strayed
from pellucid.stages.understand.student import Student, of_model
from pellucid.stages.understand.told import told
from pellucid.stages.understand.train import train
from pellucid.stages.understand.trim import printed
from pellucid.stages.understand.write import Printed, write_up

CHECKPOINT = "scratch/understanding-{}.safetensors"
"""Where training is stored, for each size."""
FIT_TOKENS = 3_000_000
"""The most tokens of fit text that training reads, unless the budget asks for more; then it reads them again."""
TUNE_TOKENS = 20_000
TABLE_TOKENS = 100_000
"""Tokens of fit text behind the tables of means by token, the baseline of every neuron's score."""
SENTENCE_TOKENS = 8_192
"""Tokens of held-out text that sentences are tested on by themselves."""
SPREAD_TOKENS = 4_096
"""Tokens of fit text over which it is measured how much terms vary."""
ESTIMATED = "second-order estimate"
SYNTAX = 0.99
"""The share of the budget that training is given; the rest is left so that no rounding exceeds it."""


@dataclass(frozen=True)
class Understanding:
    """What training found: the student as it is printed, its texts, and its KL on tune text (nats per token)."""

    student: Student
    texts: Printed
    tune_kl: float

    @property
    def addresses(self) -> set[Address]:
        """All that it has a statement for."""
        return set(self.texts.statements)


def understand(project: Project, trainer: Model, steps: int, taken: int) -> Understanding:
    """Train a student for `steps` within the project's budget less the `taken` numbers of other sources.

    Steps run where `trainer` is, the same subject.
    As much of fit text strays as the settings say; kinds, first values and all training see it so.
    Raises `CorpusError` where fit text is too short. Training goes on where an earlier run was killed.
    """
    model, seed = project.model, project.manifest.settings.seed
    plan, fit = planned(project, steps, taken)
    tune = rows_for(project, "tune", TUNE_TOKENS)
    if plan.budget < bound(project, taken):
        tell(
            f"{steps:,} steps read {steps * step_tokens(model.decoder, steps):,} tokens: sources may hold "
            f"{plan.budget:,} numbers, of the {project.budget:,} that --size {project.manifest.settings.size} allows"
        )
    few = first_tokens(fit, SPREAD_TOKENS)
    fit = strayed(fit, model.n_vocab, project.manifest.settings.stray, seed)

    def count(found: Student) -> int:
        return numbers_of(model.decoder, texts_of(printed(of_model(found, model)), few))

    checkpoint, *others = checkpoints(project)
    texts = project.texts
    text = " ".join(split.sha256 for split in (texts.fit, texts.tune, texts.heldout))
    student, kl = train(trainer, plan, fit, tune, token_numbers(project), checkpoint, seed, count, text, others)
    student = printed(of_model(student, model))
    return Understanding(student, texts_of(student, few), kl)


def planned(project: Project, steps: int, taken: int = 0) -> tuple[Plan, Int[Tensor, "row pos"]]:
    """The plan of a training beside the `taken` numbers of other sources, and the fit text that it reads.

    Raises `CorpusError` where that is too short.
    """
    decoder, most = project.model.decoder, bound(project, taken)
    enough = TOKENS_A_NUMBER * min(most, readable(decoder, steps))
    fit = rows_for(project, "fit", min(max(FIT_TOKENS, enough), steps * step_tokens(decoder, steps)))
    return plan_for(decoder, most, steps, fit.numel()), fit


def bound(project: Project, taken: int) -> int:
    """The numbers that training may use of the project's budget, beside `taken` ones, in whole percents of it."""
    whole = max(1, project.budget // 100)
    return int(SYNTAX * (project.budget - taken)) // whole * whole


def checkpoints(project: Project) -> list[Path]:
    """Where training is stored for the project's size, and for larger ones, the next one first."""
    sizes = list(SIZES)
    sizes = sizes[sizes.index(project.manifest.settings.size) :]
    return [project.directory / CHECKPOINT.format(size) for size in sizes]


def texts_of(student: Student, rows: Int[Tensor, "row pos"]) -> Printed:
    """The texts of a `printed` student, whose terms are named by what they do on `rows`."""
    return write_up(student, token_texts(student.model.tokenizer), spread(student, rows))


def numbers_of(decoder: Decoder, texts: Printed) -> int:
    """How many numbers the sources hold that `texts` make of a program for a subject of this shape."""
    release()  # a program of a large model takes GiB to read
    statements = {str(address): text for address, text in texts.statements.items()}
    counted = count_program(outline(decoder, texts.words, [values.values() for values in texts.values], statements))
    release()
    return sum(counted.values())


def token_numbers(project: Project) -> torch.Tensor:
    """How many numbers the text of every token counts as."""
    text = token_texts(project.model.tokenizer)
    return torch.tensor([float(literal(text(token))) for token in range(project.model.n_vocab)])


def write_understanding(project: Project, found: Understanding, chosen: Collection[Address]) -> None:
    """Let the program say what was found about the `chosen` addresses; what a person wrote stays."""
    project.take(with_understanding(project.listing(), found.texts, chosen))


def with_understanding(listing: Listing, texts: Printed, chosen: Collection[Address]) -> Revision:
    """The program with what `texts` say about the `chosen` addresses."""
    return with_content(
        listing,
        words=texts.words,
        values={layer: list(values.values()) for layer, values in enumerate(texts.values)},
        statements={address: text for address, text in texts.statements.items() if address in chosen},
    )


def prove_understanding(
    project: Project, found: Understanding, chosen: Collection[Address], effort: Effort
) -> tuple[list[Measurement], str]:
    """Evidence about the `chosen` statements on held-out text, and the worst places of each as JSON."""
    heldout = rows_for(project, "heldout", effort.proof_tokens)
    proof = prove(found.student, heldout, project.manifest.settings.seed)
    fit = rows_for(project, "fit", TABLE_TOKENS)
    table = table_scores(project.model, fit, heldout)
    short = told(found.student, spread(found.student, first_tokens(fit, SPREAD_TOKENS)))
    sentences = first_tokens(heldout, SENTENCE_TOKENS)
    said = prove(short, sentences, project.manifest.settings.seed).scores
    worst = worst_contexts(found.student, rows_for(project, "heldout", effort.context_tokens), chosen)
    rows = evidence(project, proof, table, chosen, heldout.numel())
    rows += told_rows(project, said, chosen, sentences.numel())
    return rows, json.dumps({str(address): said for address, said in worst.items()})


def evidence(
    project: Project, proof: SourceProof, table: Mapping[Address, float | None], chosen: Collection[Address], n: int
) -> list[Measurement]:
    """The rows of a proof: isolated scores, beside those of tables of means by token, and what each source costs alone.

    Costs are second-order estimates.
    """
    listing, corpus = project.listing(), project.texts.heldout.sha256
    rows = []
    for address in sorted(chosen):
        name, about = str(address), (statement_state(listing[address]), "heldout", corpus, "overall")
        score, cost = proof.scores[address], proof.costs[address]
        rows.append(Measurement(name, "isolated", "score", *about, score, None, None, n))
        if address in table:
            rows.append(Measurement(name, "isolated", "token_table", *about, table[address], None, None, n))
        rows.append(
            Measurement(name, "swapped_in", "kl_estimate", *about, cost, None, None, n, "second-order estimate")
        )
    return rows


def told_rows(
    project: Project, said: Mapping[Address, float], chosen: Collection[Address], n: int
) -> Iterator[Measurement]:
    """What the sentences of the `chosen` statements score by themselves."""
    listing, corpus = project.listing(), project.texts.heldout.sha256
    for address in sorted(chosen):
        about = (statement_state(listing[address]), "heldout", corpus, "overall")
        yield Measurement(str(address), "isolated", "sentence", *about, said[address], None, None, n)


def understood_names(project: Project, found: Understanding, chosen: Collection[Address]) -> dict[str, Symbol]:
    """Symbols of the `chosen` parts: named where the rule passed its test on held-out text."""
    return tested(project, {address: found.texts.names[address][0] for address in chosen})
