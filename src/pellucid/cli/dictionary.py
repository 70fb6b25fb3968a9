"""`pellucid dictionary`: sparse features of what passes in a model, trained, and written in other tools' formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pellucid.base.defaults import LARGEST_SEED
from pellucid.base.terminal import say
from pellucid.cli.options import AsJson, Corpus, finite
from pellucid.cli.output import plain_errors, print_json

Format = Annotated[
    Literal["pellucid", "saelens", "sparsify", "circuit-tracer"], typer.Option("--format", help="Whose files to write.")
]


def train(
    subject: Annotated[str, typer.Argument(help="A checkpoint directory, a hub name, or zoo:NAME.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The folder that it is written to.")],
    at: Annotated[
        list[str], typer.Option(metavar="PLACE", help="L12.mlp, L12.resid_post, L12.attn_out, all. May be repeated.")
    ],
    kind: Annotated[
        Literal["sae", "transcoder", "skip-transcoder", "crosslayer"], typer.Option(help="What features are for.")
    ] = "sae",
    firing: Annotated[
        Literal["topk", "batchtopk", "jumprelu", "matryoshka"], typer.Option(help="Which features fire.")
    ] = "batchtopk",
    width: Annotated[
        str, typer.Option(metavar="N|Nx", help="Features of a layer, or how many times what is read.")
    ] = "8x",
    k: Annotated[int, typer.Option("-k", min=1, help="Features that fire at a position, on average.")] = 32,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens that it learns from.")] = 1_000_000,
    batch: Annotated[int, typer.Option(min=1, help="Positions of a step.")] = 1024,
    rate: Annotated[float, typer.Option(callback=finite, min=0, help="The learning rate.")] = 1e-3,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="What is drawn by.")] = 0,
    corpus: Corpus = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep activations there, for other trainings on this text.")
    ] = None,
    format_: Format = "pellucid",
    json_: AsJson = False,
) -> None:
    """Train dictionaries of SUBJECT, all in one pass over the model; the same command goes on with a killed one.

    Without --corpus the text is the subject's own. Several places make a folder each in OUT.
    """
    with plain_errors():
        import pellucid
        from pellucid.corpus.packing import row_tokens
        from pellucid.corpus.rows import sample_rows
        from pellucid.dictionary.opening import FORMATS
        from pellucid.dictionary.places import places
        from pellucid.dictionary.recipe import Recipe, width_in
        from pellucid.dictionary.sound import site_of, width_of
        from pellucid.dictionary.stream import ActivationStream
        from pellucid.dictionary.train import summary
        from pellucid.dictionary.train import train as trained
        from pellucid.project.manifest import CorpusEntry
        from pellucid.project.texts import open_texts

        model = pellucid.load(subject)
        of = [pair for place in at for pair in places(model, place, kind)]
        names = tuple(dict.fromkeys(name for reads, writes in of for name in (*reads, *writes)))
        wide = width_in(width, width_of(model, site_of(model, of[0][0][0])))
        recipe = Recipe(kind, firing, wide, k, tokens, batch, rate, seed=seed).checked()
        split = open_texts(CorpusEntry("", tuple(map(str, corpus or ())), (), tokens), model, seed).fit
        length = row_tokens(model)
        rows = sample_rows(split, model.tokenizer, length, -(-tokens // length), seed)
        found = trained(model, ActivationStream(model, rows, names, seed, cache=cache), of, recipe, output)
        folders = [output if len(of) == 1 else output / one.writes[0] for one in found.dictionaries]
        for one, folder in zip(found.dictionaries, folders, strict=True):
            FORMATS[format_](one, folder)
        told = [summary(found, number, str(folder)) for number, folder in enumerate(folders)]
        print_json(told) if json_ else say("\n".join(one["text"] for one in told))


def score(
    subject: Annotated[str, typer.Argument(help="A checkpoint directory, a hub name, or zoo:NAME.")],
    source: Annotated[str, typer.Argument(metavar="DICTIONARY", help="A folder, a file, or hub:OWNER/NAME/FOLDER.")],
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of held-out text that it is scored on, at most.")] = 50_000,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="What text is drawn by.")] = 0,
    corpus: Corpus = None,
    reads: Annotated[
        str | None, typer.Option(help="Of a file that does not say so, the activation or hook that features read.")
    ] = None,
    writes: Annotated[str | None, typer.Option(help="Of such a file, where they write.")] = None,
    json_: AsJson = False,
) -> None:
    """Score a dictionary of SUBJECT on held-out text: L0, what is missed, what is kept where it stands in, dead ones.

    Beside it stand principal components of equal number, and the mean.
    """
    with plain_errors():
        from dataclasses import asdict

        import pellucid
        from pellucid.corpus.packing import packed_rows, row_tokens
        from pellucid.dictionary.opening import open_dictionary
        from pellucid.dictionary.score import score as scored
        from pellucid.dictionary.score import score_lines
        from pellucid.dictionary.sound import fitting_sites
        from pellucid.project.manifest import CorpusEntry
        from pellucid.project.texts import open_texts

        model, one = pellucid.load(subject), open_dictionary(source, reads, writes)
        fitting_sites(one, model)
        split = open_texts(CorpusEntry("", tuple(map(str, corpus or ())), (), 8 * tokens), model, seed).heldout
        found = scored(model, one, packed_rows(split, model, max(1, tokens // row_tokens(model)), seed))
        print_json(asdict(found)) if json_ else say("\n".join(score_lines(found)))


def convert(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A folder, a file, or hub:OWNER/NAME/FOLDER.")],
    target: Annotated[Path, typer.Argument(metavar="TO", help="The folder that it is written to.")],
    format_: Format = "pellucid",
    reads: Annotated[
        str | None, typer.Option(help="Of a file that does not say so, the activation or hook that features read.")
    ] = None,
    writes: Annotated[str | None, typer.Option(help="Of such a file, where they write.")] = None,
) -> None:
    """Read a dictionary of any format and write it in another one, so that both say the same."""
    with plain_errors():
        from pellucid.dictionary.opening import FORMATS, open_dictionary

        one = open_dictionary(source, reads, writes)
        FORMATS[format_](one, target)
        say(f"{one.kind} of {one.width * one.layers:,} features, {', '.join(one.reads)}, in {target}")
