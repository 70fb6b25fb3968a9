"""The program of a run: raw at first, arranged whenever it changed, with a line in `symbols.tsv` for each part."""

from __future__ import annotations

from pellucid.base.address import Address
from pellucid.base.effort import Effort
from pellucid.base.terminal import tell
from pellucid.listing.arrange import arranged
from pellucid.listing.emit import emit
from pellucid.project.project import Project
from pellucid.project.symbols import Symbol, merge, write_symbols
from pellucid.stages.first.sources import stored_effects
from pellucid.stages.lift.means import Extras, fit_extras
from pellucid.stages.tune.tuned import named_tuned, read_tuned


def write_program(project: Project, effort: Effort, *, lifts: bool = True) -> Extras:
    """Write or complete `program/`, `weights.safetensors`, `parts.toml` and `symbols.tsv`; people's work is kept.

    Returns the means over fit text that stand in for parts without a source, and the vectors of lifted parts, none
    where nothing `lifts`.
    """
    extras = fit_extras(project, effort, lifts=lifts)
    vectors = named_tuned(project.model, extras.vectors, read_tuned(project))
    emission = emit(project.subject, project.directory, extras.means, vectors)
    if emission.kept:
        tell(f"kept as you wrote them: {', '.join(emission.kept)}")
    write_parts_of(project, project.dropped())
    write_names(project, {})
    return extras


def write_parts_of(project: Project, dropped: frozenset[Address]) -> None:
    """Bring what runs without residual to its place in the program, and print it, with `parts.toml` as it stands."""
    project.take(arranged(project.listing(), dropped, stored_effects(project)), dropped)
    project.print_program()


def write_names(project: Project, found: dict[str, Symbol]) -> None:
    """Write `symbols.tsv`: `found` names where no higher rung stands, and a line for every part but raw neurons."""
    listing = project.listing()
    shape = listing.decoder.addresses
    listed = [a for a in shape.addresses() if a.kind not in ("IN", "OUT") or listing.form(a) != "raw"]
    default = {str(address): Symbol(str(address), "", address.kind) for address in listed}
    symbols = merge(merge(default, project.symbols()), found)
    write_symbols(project.directory / "symbols.tsv", symbols)
