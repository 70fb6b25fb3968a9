"""Training a student end to end on KL against its subject: dense, then ever smaller, then with shared numbers.

Everything is tuned on *fit* text and judged on *tune* text; the best state of the last phase is kept. Training goes on
from its last checkpoint, and from the last good state where it diverges.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.base.files import sha256_text
from pellucid.base.memory import keeping
from pellucid.base.progress import track
from pellucid.base.tensors import open_tensors, save_tensors
from pellucid.base.terminal import tell
from pellucid.exact.model import Model
from pellucid.measure.distance import mean_kl
from pellucid.measure.record import compared_places, predictions
from pellucid.stages.understand import prune as pruning
from pellucid.stages.understand.begin import MOST_TERMS, first_sources, pattern_kl
from pellucid.stages.understand.kinds import first_kinds
from pellucid.stages.understand.mixed import mixed
from pellucid.stages.understand.plan import Plan, step_tokens
from pellucid.stages.understand.prune import prices, prune
from pellucid.stages.understand.share import Count, share, spare
from pellucid.stages.understand.student import Student, StudentReading, edits, features, new_student, state
from pellucid.stages.understand.ties import SharedNumbers

LEAST_SIZE = 1e-3
"""What counts as the size of numbers that are smaller."""
BETAS = (0.9, 0.99)
CLIP = 1.0
SURE, CARE = 0.9, 3.0
"""Places where the subject gives a token at least `SURE` count `CARE` times in what training lowers."""
HOLD = 0.1
"""How much the KL of heads' patterns from their own counts beside that of predictions."""
PAIRS = 1 << 22
"""How many pairs of queries and keys a step compares of a layer: of more, those of every so many-th query."""
SAVE_SECONDS = 120.0
PATTERN_SHARE = 0.08
"""Steps that the patterns of each layer are fitted by themselves, as a share of all."""
VALUE_TOKENS = 16_000
ROWS_A_TERM = 4
"""Values are fitted on so many tokens, and on no fewer than so many for each of their terms."""
REMEMBER_EVERY = 25
DIVERGED = 3.0
"""A loss of this many times its running mean counts as diverged."""

Rows = Int[Tensor, "row pos"]


@dataclass
class Training:
    """A student in training: its optimiser, how far it is, and the best state on tune text of the last phase."""

    student: Student
    optimiser: torch.optim.Adam
    step: int = 0
    rate: float = 0.0
    """How far a step goes, in sizes of what it moves; that of its plan where none is given."""
    best: tuple[float, dict[str, Tensor]] = (math.inf, {})
    losses: list[float] = field(default_factory=list)
    spare: float = 1.0
    """What numbers cost by their prices, for each number that a program then holds; and how often that was counted."""
    counted: int = 0
    seed: int = 0
    text: str = ""
    whole: float = 0.0
    """What the student cost by its prices when training began."""
    ties: dict[str, SharedNumbers] = field(default_factory=dict)
    """Which numbers of a tensor are one, once levels are joined."""
    good: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """The last good state since the student was last made smaller: by name the numbers (under ``""``) and moments."""

    def __post_init__(self) -> None:
        self.rate = self.rate or self.student.plan.rate


@keeping()
def train(
    model: Model,
    plan: Plan,
    fit: Rows,
    tune: Int[Tensor, "tuned pos"],
    token_numbers: Float[Tensor, " vocab"],
    checkpoint: Path,
    seed: int = 0,
    count: Count | None = None,
    text: str = "",
    others: Sequence[Path] = (),
) -> tuple[Student, float]:
    """The trained student and its KL on `tune` rows, in nats per token. Goes on from `checkpoint` where that fits.

    Where one of `others` holds what a larger student of the same subject became on the same `text` (which says what is
    fit, tune and held-out text), training begins with the first of these.
    `count` says how many numbers the program of a student with levels holds; by itself that is known by prices alone.
    """
    about = sha256_text(repr((plan, model.subject.weights_sha256, fit.shape, int(fit.sum()), seed)))
    token_numbers = token_numbers.to(model.device)
    training = resume(model, plan, checkpoint, about)
    if training is None:
        student = next(filter(None, (larger(model, plan, path, text) for path in others)), None)
        training = Training(student, optimiser(student)) if student else begin(model, plan, fit, seed)
        training.whole = pruning.held(training.student, prices(training.student, token_numbers))
        save(training, checkpoint, about)
    training.seed, training.text = 1_000_003 * seed, text
    batch, saved = max(1, step_tokens(model.decoder, plan.steps) // fit.shape[1]), time.monotonic()
    for _ in track(range(training.step, plan.steps), "understanding"):
        reshape(training, token_numbers, count)
        at = training.step * batch % max(1, len(fit) - batch + 1)
        advance(training, fit[at : at + batch].to(model.device))
        judge(training, tune)
        if time.monotonic() - saved > SAVE_SECONDS:
            save(training, checkpoint, about)
            saved = time.monotonic()
    save(training, checkpoint, about)
    kl, best = training.best
    tensors = best or {name: tensor.detach() for name, tensor in training.student.tensors.items()}
    student = replace(training.student, tensors=tensors)
    return student, kl if best else kl_of(student, tune)


@keeping()
def begin(model: Model, plan: Plan, fit: Rows, seed: int) -> Training:
    """A student whose patterns and values are fitted layer by layer."""
    kinds = first_kinds(model.embedding, fit, plan.kinds)
    student = new_student(model, plan, kinds, seed)
    terms = features(plan, model.decoder.sizes.head, model.decoder.layers - 1)
    tokens = max(VALUE_TOKENS, ROWS_A_TERM * min(terms, MOST_TERMS))
    first_sources(student, fit, max(1, int(PATTERN_SHARE * plan.steps)), tokens, seed)
    return Training(student, optimiser(student))


def optimiser(student: Student) -> torch.optim.Adam:
    """Adam over all of a student's tensors."""
    for tensor in student.tensors.values():
        tensor.requires_grad_()
    return torch.optim.Adam(list(student.tensors.values()), lr=LEAST_SIZE, betas=BETAS)


def reshape(training: Training, token_numbers: Float[Tensor, " vocab"], count: Count | None = None) -> None:
    """Prune, or join levels, where the plan says so for this step."""
    plan, step, student = training.student.plan, training.step, training.student
    if step == plan.levelled_at and student.groups is None:
        with torch.no_grad():
            shared, training.ties = share(student, squares_of(training), prices(student, token_numbers), count)
        student.tensors, student.masks, student.groups = shared.tensors, shared.masks, shared.groups
        training.optimiser = optimiser(student)
        training.losses, training.good = [], {}
    elif plan.dense_until < step <= plan.pruned_at and (step % plan.prune_every == 0 or step == plan.pruned_at):
        with torch.no_grad():
            price, squares = prices(student, token_numbers), squares_of(training)
            if count and training.counted < sum(step >= at for at in plan.counted_at):
                training.counted += 1
                training.spare = spare(student, squares, price, count)
            prune(student, squares, price, allowed(training))
        training.losses, training.good = [], {}  # what pruning costs is no divergence


def allowed(training: Training) -> float:
    """What a student may cost at this step: its plan's `first_budgets` when pruning begins, one when it ends.

    It falls by the same share at every step in between.
    """
    plan = training.student.plan
    budget = plan.budget * training.spare
    most = max(1.0, min(plan.first_budgets, training.whole / budget))
    left = 1 - (training.step - plan.dense_until) / max(1, plan.pruned_at - plan.dense_until)
    share: float = most ** min(1.0, max(0.0, left))
    return budget * share


def squares_of(training: Training) -> dict[str, Tensor]:
    """The running means of squared gradients, by tensor."""
    held = training.optimiser.state
    return {name: held[tensor]["exp_avg_sq"] for name, tensor in training.student.tensors.items() if tensor in held}


def advance(training: Training, ids: Int[Tensor, "batch pos"]) -> None:
    """One step of Adam; where it diverges, back to the last good state, with half the rate from then on."""
    student, plan = training.student, training.student.plan
    loss = loss_of(student, ids, training.seed + training.step)
    found, recent = float(loss.detach()), training.losses[-50:]
    if not math.isfinite(found) or (recent and found > DIVERGED * sum(recent) / len(recent)):
        training.rate /= 2
        restore(training)
        tell(f"step {training.step}: the loss was {found:.3g}; undone, the rate is halved")
    else:
        if not training.good or training.step % REMEMBER_EVERY == 0:
            remember(training)
        training.optimiser.param_groups[0]["lr"] = training.rate * schedule(training.step, plan)
        training.optimiser.zero_grad()
        torch.autograd.backward(loss)
        for name, tied in training.ties.items():
            slope = student.tensors[name].grad
            if slope is not None:
                slope.copy_(tied.share(slope))
        torch.nn.utils.clip_grad_norm_(list(student.tensors.values()), CLIP)
        take_step(training)
        training.losses.append(found)
    training.step += 1


@torch.no_grad()
def take_step(training: Training) -> None:
    """A step of Adam in units of what it moves (as in Adafactor; Shazeer & Stern, ICML 2018, section 8).

    Terms of values are of very different sizes, so each has its own; of other tensors all numbers are alike.
    """
    student = training.student
    before = {name: tensor.clone() for name, tensor in student.tensors.items()}
    sizes = {name: size(student, name) for name in before}
    training.optimiser.step()
    for name, tensor in student.tensors.items():
        tensor.sub_(before[name]).mul_(sizes[name]).add_(before[name])
        if name in training.ties:
            tensor.copy_(training.ties[name].share(tensor))


def size(student: Student, name: str) -> Float[Tensor, "#*shape"]:
    """The root mean square of what is left of a tensor; of each term, where it holds what values sum."""
    kept = student[name]
    within = (1,) if name.partition(".")[2] in ("values", "late") else tuple(range(kept.ndim))
    count = (kept != 0).sum(within, keepdim=True).clamp(min=1)
    return (kept.square().sum(within, keepdim=True) / count).sqrt().clamp(min=LEAST_SIZE)


def remember(training: Training) -> None:
    """Keep a copy of the numbers and of the optimiser's moments."""
    held = training.optimiser.state
    training.good = {
        name: {"": tensor.detach().clone(), **{key: value.clone() for key, value in held.get(tensor, {}).items()}}
        for name, tensor in training.student.tensors.items()
    }


@torch.no_grad()
def restore(training: Training) -> None:
    """Go back to what was remembered."""
    for name, kept in training.good.items():
        tensor = training.student.tensors[name]
        tensor.copy_(kept[""])
        training.optimiser.state[tensor] = {key: value.clone() for key, value in kept.items() if key}


def loss_of(student: Student, ids: Int[Tensor, "batch pos"], seed: int) -> Float[Tensor, ""]:
    """Mean KL of the predictions from the subject's, and `HOLD` times that of the heads' patterns from their own.

    Places where the subject is at least `SURE` of the next token count `CARE` times: there rules decide. Of a large
    vocabulary the predictions at a sample of places are compared, drawn from `seed`.
    """
    at = compared_places(student.model, ids, seed)
    names = [f"L{layer:02d}.pattern" for layer in range(student.model.decoder.layers)]
    reading = StudentReading(student, ids)
    with mixed(student.model):
        with torch.no_grad():
            own = student.model.run(ids, ["final", *names])
        final = student.engine.run(ids, ("final",), edits=edits(reading, range(len(names))))["final"]
    right = predictions(student.model, own["final"], at).detach()  # logits may be large: not rounded
    said = predictions(student.model, final, at)
    weight = 1 + (CARE - 1) * (right.amax(-1) > math.log(SURE))
    loss = (weight * (right.exp() * (right - said)).sum(-1)).sum() / weight.sum()
    for layer, name in enumerate(names):
        some = queries(own[name], seed)
        loss = loss + HOLD / len(names) * pattern_kl(own[name][:, :, some], reading.patterns[layer][:, :, some])
    return loss


def queries(pattern: Float[Tensor, "batch head query key"], seed: int) -> slice:
    """The queries of a pattern that a step compares; where they begin is drawn from `seed`."""
    every = -(-pattern.numel() // PAIRS)
    return slice(seed % every, None, every)


def schedule(step: int, plan: Plan) -> float:
    """The share of the rate at a step: a short rise, then a fall to zero at the end, begun anew with shared levels."""
    rise = min(1.0, (step + 1) / 20)
    if step < plan.levelled_at:
        return rise * (1 - 0.7 * step / plan.levelled_at)
    rest = (plan.steps - step) / max(1, plan.steps - plan.levelled_at)
    return 0.5 * rest * min(1.0, (step - plan.levelled_at + 1) / 20)


def judge(training: Training, tune: Rows) -> None:
    """In the last phase, now and then: keep the student if it is the best so far on tune text."""
    plan, every = training.student.plan, training.student.plan.judge_every
    last = training.step == plan.steps
    if training.student.groups is None or not (last or (plan.steps - training.step) % every == 0):
        return
    kl = kl_of(training.student, tune[: math.ceil(plan.judged * len(tune))])
    if kl < training.best[0]:
        copied = {name: tensor.detach().clone() for name, tensor in training.student.tensors.items()}
        training.best = (kl, copied)


def kl_of(student: Student, rows: Rows) -> float:
    """Mean KL of the student's predictions from the subject's on `rows`, in nats per token."""
    return mean_kl(student.model, student.logits, rows)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def save(training: Training, path: Path, about: str) -> None:
    """Store everything that `resume` needs, atomically."""
    held = dict(state(training.student))
    for name, tensor in training.student.tensors.items():
        moments = training.optimiser.state.get(tensor, {})
        held |= {f"adam.{key}.{name}": torch.as_tensor(value) for key, value in moments.items()}
    held |= {f"best.{name}": tensor for name, tensor in training.best[1].items()}
    for name, tied in training.ties.items():
        held |= {f"tie.{name}.{what}": each for what, each in vars(tied).items()}
    best, losses = training.best[0], training.losses[-50:]
    facts = {"step": training.step, "rate": training.rate, "best": best, "losses": losses}
    facts |= {"spare": training.spare, "counted": training.counted, "whole": training.whole}
    model, budget = training.student.model, training.student.plan.budget
    facts |= {"subject": model.subject.weights_sha256, "budget": budget, "text": training.text}
    facts["ended"] = training.step == training.student.plan.steps
    facts["order"] = list(training.student.tensors)
    tensors = {name: value.detach().contiguous().cpu() for name, value in held.items()}
    save_tensors(path, tensors, {"about": about, "facts": json.dumps(facts)})


def resume(model: Model, plan: Plan, path: Path, about: str) -> Training | None:
    """The training that was stored at `path`, if it is `about` the same subject, text and plan."""
    facts, held = stored(path, model.device, lambda said, _: said == about)
    if not held:
        return None
    tensors = _below(held, "tensor.")
    ordered = [name for name in facts.get("order", ()) if name in tensors]  # sums over all come out as they did
    tensors = {name: tensors[name] for name in (*ordered, *tensors)}
    student = Student(model, plan, tensors, _below(held, "mask."), held.get("groups"))
    training = Training(student, optimiser(student), facts["step"], facts["rate"], losses=facts["losses"])
    training.best = (facts["best"], _below(held, "best."))
    training.spare, training.counted, training.whole = facts["spare"], facts["counted"], facts["whole"]
    for name, tensor in student.tensors.items():
        if f"tie.{name}.places" in held:
            training.ties[name] = SharedNumbers(held[f"tie.{name}.places"], held[f"tie.{name}.groups"])
        if f"adam.step.{name}" in held:
            training.optimiser.state[tensor] = {
                key: held[f"adam.{key}.{name}"].cpu() if key == "step" else held[f"adam.{key}.{name}"]
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
    return training


def larger(model: Model, plan: Plan, path: Path, text: str = "") -> Student | None:
    """What a student of a larger budget became on the same `text`, stored at `path`; its kinds without levels."""
    about = {"subject": model.subject.weights_sha256, "text": text, "ended": True}

    def fits(_: str, facts: Mapping[str, Any]) -> bool:
        return {name: facts.get(name) for name in about} == about and facts["budget"] > plan.budget

    facts, held = stored(path, model.device, fits)
    best, masks = _below(held, "best."), _below(held, "mask.")
    if not sound(best | {"groups": held.get("groups", torch.zeros(()))}, masks, model, plan):
        return None
    found = Student(model, plan, best, masks, held["groups"])
    tensors = {name: found[name] for name in best if name != "levels"} | {"kinds": found.kinds()[:-1]}
    student = Student(model, plan, tensors, {name: (tensor != 0).to(tensor) for name, tensor in tensors.items()})
    tell(f"begins with sources of {facts['budget']:,} numbers, KL {facts['best']:.3f} on tune text")
    return student


def sound(found: Mapping[str, Tensor], masks: Mapping[str, Tensor], model: Model, plan: Plan) -> bool:
    """Whether tensors and masks from a file are those of a student with levels, of the shapes that `plan` has."""
    wanted = dict(new_student(model, plan, torch.zeros(model.n_vocab, plan.kinds)).tensors)
    wanted |= {"groups": wanted.pop("kinds"), "levels": torch.zeros(pruning.MOST_LEVELS, plan.kinds)}
    shapes = {name: tensor.shape for name, tensor in wanted.items()}
    if {name: tensor.shape for name, tensor in found.items()} != shapes:
        return False
    if any(mask.shape != shapes.get(name) for name, mask in masks.items()):
        return False
    groups = found["groups"]
    if groups.dtype != torch.long or int(groups.min()) < 0 or int(groups.max()) > pruning.MOST_LEVELS:
        return False
    numbers = [*masks.values(), *(tensor for name, tensor in found.items() if name != "groups")]
    return all(tensor.dtype == model.dtype and bool(tensor.isfinite().all()) for tensor in numbers)


def stored(
    path: Path, device: torch.device, fits: Callable[[str, Mapping[str, Any]], bool]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and tensors that are stored at `path`; nothing where there are none, or they do not fit.

    Tensors are copies: where they lie in a file, products of matrices are rounded otherwise than in PyTorch's memory.
    """
    try:
        with open_tensors(path, "pt", device=str(device)) as file:
            said = file.metadata() or {}
            facts = json.loads(said["facts"])
            if not isinstance(facts, dict) or not fits(said["about"], facts):
                return {}, {}
            return facts, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError):
        return {}, {}


def _below(held: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in held.items() if name.startswith(start)}
