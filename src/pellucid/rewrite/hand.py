"""Edits by hand: a source that a person changed becomes an edit, with what it was before as its base.

Until then a changed source is a refinement: a better description, which the residual follows, so that the program does
what it did. As an edit its part puts out raw + (source − base), or the source alone where the part was raw before, or
has no residual.
"""

from __future__ import annotations

import ast
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pellucid.base.address import Address
from pellucid.base.errors import PellucidError
from pellucid.base.files import write_text
from pellucid.base.trusted import PROGRAM, write_own
from pellucid.corpus.packing import row_tokens
from pellucid.corpus.rows import sample_rows
from pellucid.listing.content import imported_kinds
from pellucid.listing.edits import HEAD, PAGE
from pellucid.listing.language import definitions, reachable
from pellucid.listing.pages import raw
from pellucid.listing.parse import Listing, StatementPage, digest, read_listing, read_page, read_record
from pellucid.listing.revise import revise
from pellucid.listing.statement import Statement, is_described
from pellucid.listing.word import word_of
from pellucid.listing.written import FILE as WRITTEN
from pellucid.listing.written import read_written
from pellucid.program import prelude
from pellucid.project.project import Project
from pellucid.rewrite.edit import FOLDER, Record, next_number, read_records, today, write_record
from pellucid.rewrite.source import importing
from pellucid.rewrite.workbench import text_of

ROWS = 64
"""Rows of text that an edit by hand is measured on."""


def commit(project: Project, part: str, against: Path | None = None) -> Record:
    """Record the source of `part`, which a person changed, as an edit.

    What it was before is taken from the directory `against`, from what emission wrote, or from the last commit of git.
    Raises `PellucidError` for what is not one part, for one that is raw, that nobody changed, or whose base is not to
    be found; then nothing is written.
    """
    directory, listing = project.directory, project.listing()
    address, *others = listing.decoder.addresses.match(part)
    if others:
        raise PellucidError(f"{part!r} names {1 + len(others):,} parts; an edit by hand is of one, such as {address}")
    statement = listing[address]
    if statement.asks or statement.terms:
        raise PellucidError(
            f"{address} reads named values; sources that do so cannot be edited yet, only refined, or run by "
            'residual = "dropped" in parts.toml'
        )
    if statement.form not in ("source", "fires", "constants"):
        raise PellucidError(_not_a_source(address, statement))
    if listing.edits and str(address) in listing.edits.based:
        number = listing.edits.based[str(address)]
        raise PellucidError(
            f"{address} is edit {number} already, and runs as it stands; to start anew: --undo {number}"
        )
    before = _before(project, listing, address, statement, against)
    number = next_number(read_records(directory))
    text, base = _based(before, address, number)
    record = Record(
        number, "hand", f"Runs the source of {address} as a person changed it.", f"--commit {address}", today(),
        (str(address),), text=statement.text, base=base,
    )  # fmt: skip
    held = listing.edits.text if listing.edits else HEAD
    old = project.program()
    try:
        write_record(directory, record)
        write_own(directory, f"{PROGRAM}/{PAGE}", _merged(held, text))
        record = replace(record, measurement=_measured(project, old, project.program()))
        write_record(directory, record)
    except BaseException:
        _put_back(directory, listing, record)
        raise
    return record


def restore(directory: Path, record: Record) -> None:
    """Let a part say again what it said before an edit by hand."""
    listing = read_listing(directory / "program")
    (key,) = record.parts
    page = listing.pages[listing.statements[key].file.name]
    before = record.base or (None if is_described(page.name) else raw(key))
    write_own(directory, f"{PROGRAM}/{page.name}", revise(page, {key: before}, listing.kinds).text)


def _put_back(directory: Path, listing: Listing, record: Record) -> None:
    """Undo what was written of an edit that does not run."""
    (directory / FOLDER / f"{record.name}.json").unlink(missing_ok=True)
    path = directory / "program" / PAGE
    if listing.edits:
        write_text(path, listing.edits.text)
    else:
        path.unlink(missing_ok=True)


def _not_a_source(address: Address, statement: Statement) -> str:
    """Why a part cannot be an edit."""
    if statement.form == "raw":
        return (
            f"{address} is raw ({statement.at}): it runs from the weights, so there is no source to record; write "
            f'one in the place of raw("{address}"), or lift it (`pellucid decompile`), then commit. '
            "`pellucid edit --fact` and `--when` edit raw parts, by what they add to them"
        )
    return f"{address} is {statement.form} ({statement.at}), which is data; only sources are recorded as edits by hand"


# --- what was before --------------------------------------------------------------------------------------------------


def _before(
    project: Project, listing: Listing, address: Address, statement: Statement, against: Path | None
) -> tuple[StatementPage, Statement] | None:
    """The statement of `address` before a person changed it, with its page; None where it was raw."""
    if against is not None:
        other = read_listing(against / "program")
        said = other[address]
        return _told(other.pages[said.file.name], said, statement)
    hashes = read_record(listing.program).get(statement.record_key, set())
    if not hashes or digest(raw(str(address))) in hashes:
        if not statement.by_person:
            raise PellucidError(f"{address} is as it was written; nobody changed it")
        return None
    if not statement.by_person:
        raise PellucidError(f"{address} is as it was written ({statement.at}); change it first, then commit")
    page = was(listing, statement)
    if page is None:
        raise PellucidError(
            f"what {address} was before it was changed is not to be found: {project.directory} is not in git, nor has "
            f"it {WRITTEN}; name a copy of the directory as it was: --against DIR2"
        )
    old = next((s for s in page.statements if s.key == statement.key), None)
    return _told(page, old, statement) if old else None


def written(listing: Listing, statement: Statement) -> str | None:
    """What emission wrote in the place of a person's statement; None where that is not kept."""
    hashes = read_record(listing.program).get(statement.record_key, set())
    if digest(raw(statement.key)) in hashes:
        return raw(statement.key)
    page = was(listing, statement) if hashes else None
    return next((old.text for old in page.statements if old.key == statement.key), None) if page else None


def was(listing: Listing, statement: Statement) -> StatementPage | None:
    """The page of `statement` as emission wrote that, or as the last commit of git has it; None for neither."""
    written = read_written(listing.program)
    name = statement.file.name
    for key in read_record(listing.program).get(statement.record_key, ()):
        if key in written:
            return revise(listing.pages[name], {statement.key: written[key]}, listing.kinds)
    command = ["git", "show", f"HEAD:./{name}"]
    try:
        said = subprocess.run(command, cwd=listing.program, capture_output=True, check=False)
    except OSError:
        return None
    return None if said.returncode else read_page(Path(name), {}, said.stdout.decode("utf-8", "replace"))


def _told(page: StatementPage, old: Statement, new: Statement) -> tuple[StatementPage, Statement] | None:
    """A statement with its page, None where it is raw. Raises `PellucidError` where it is the same."""
    if old.text == new.text:
        raise PellucidError(f"{new.key} says there what it says here ({old.at}); nobody changed it")
    if old.form == "raw":
        return None
    if old.key.endswith((".B", "EMB.TOK", "EMB.POS")):
        raise PellucidError(
            f"{old.key} had a source before ({old.at}), and what embeddings and biases change to can only be "
            'recorded where they were raw; write residual = "dropped" into its entry of parts.toml to let it run'
        )
    if (old.function is None and _as_function(old, "", "") is None) or old.asks:
        raise PellucidError(f"{old.key} was {old.form} ({old.at}), not a function; it can be refined, not edited")
    return page, old


def _as_function(old: Statement, decorator: str, name: str) -> str | None:
    """What a row says, as a function; None for what is one, or cannot be one."""
    word = word_of(old)
    return word.function(old, decorator, name) if word else None


def _based(before: tuple[StatementPage, Statement] | None, address: Address, number: int) -> tuple[str, str | None]:
    """What `edits.py` says of a base, and the text of the statement that it was."""
    if before is None:
        return f'base("{address}", {number})', None
    page, old = before
    if row := _as_function(old, f'@base("{address}", {number})', f"before_{number:04d}"):
        return row, old.text
    defined = definitions(page.tree)
    assert old.function is not None
    names = [*reversed(reachable(old.function, defined))]
    new = {name: f"before_{number:04d}_{name}" for name in names}
    pieces = []
    for name in names:
        node = _Renamed(new).visit(ast.parse(ast.unparse(defined[name]))).body[0]
        if name == old.function:
            node.decorator_list = [ast.parse(f'base("{address}", {number})', mode="eval").body]
        pieces.append(ast.unparse(node))
    used = {n.id for piece in pieces for n in ast.walk(ast.parse(piece)) if isinstance(n, ast.Name)}
    kinds = sorted(imported_kinds(page.tree) & used)
    lines = [f"from .words import {', '.join(kinds)}\n"] if kinds else []
    return "\n\n\n".join([*lines, *pieces]), old.text


class _Renamed(ast.NodeTransformer):
    """Gives definitions other names wherever they are used."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)


def _merged(held: str, text: str) -> str:
    """The page with a base at its end, importing what it uses."""
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    used = sorted(names & set(prelude.__all__))
    imports = [line for line in text.split("\n") if line.startswith("from .words")]
    body = "\n".join(line for line in text.split("\n") if line not in imports).strip("\n")
    whole = importing(f"{held.rstrip()}\n\n\n{body}\n", used)
    for line in imports:
        whole = whole.replace("from .prelude", f"{line}\nfrom .prelude", 1)
    return whole


def _measured(project: Project, old: Any, new: Any) -> dict[str, Any]:
    """How often the program says something else, and how far it is from what it was, on held-out text."""
    model, seed = project.model, project.manifest.settings.seed
    text = text_of(sample_rows(project.texts.heldout, model.tokenizer, row_tokens(model), ROWS, seed))
    logits = [torch.from_numpy(program.logits(text.ids.numpy())).double().log_softmax(-1) for program in (old, new)]
    kl = (logits[0].exp() * (logits[0] - logits[1])).sum(-1)[text.inside]
    changed = (logits[0].argmax(-1) != logits[1].argmax(-1))[text.inside]
    return {"positions": int(text.inside.sum()), "changed": int(changed.sum()), "kl": float(kl.mean())}


def refined(listing: Listing) -> list[Statement]:
    """The statements that a person wrote and that are not recorded as edits."""
    based = listing.edits.based if listing.edits else {}
    return [s for s in listing.statements.values() if s.by_person and s.key not in based]
