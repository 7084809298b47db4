"""The few types that flow through the harness: what is explained, what a metric may look at, what it may ask for.

A metric asks with values, never with closures: a `Request` is a tuple of edits, a call and a readout, all frozen and
hashable. Two metrics that ask for the same row ask with equal values, and the engine runs that row once.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vxp.errors import OK as OK
from vxp.errors import NotWrittenError as NotWrittenError
from vxp.errors import VxpError as VxpError
from vxp.kinds import Map, of_medium
from vxp.kinds import Resample as Resample
from vxp.media import RAW, Medium, of_axes
from vxp.media import Normalization as Normalization

Better = Literal["higher", "lower"]


class VxpWarning(UserWarning):
    """What is allowed and probably not meant: says what was got, what it does to the scores and what to do."""


class NotExplainedError(Exception):
    """Raised by an explainer that has no map for a class, with the code of the registry that says why: every item of the
    batch gets the status `failed:<code>`, after it was asked for alone."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class ModelChangedError(NotExplainedError):
    """An explainer left the model, or what the model's numbers depend on, changed; it was undone."""

    def __init__(self, explainer: str, changed: Sequence[str]) -> None:
        named = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        super().__init__("changed-model", f"explainer {explainer!r} left changed: {named}. It was undone; expected everything "
                         "as it was given, so that the next explainer sees the same model")


# ---------------------------------------------------------------------------------------------------- what is explained


@dataclass(frozen=True, eq=False)
class Batch:
    """Some items of a task as the model takes them.

    inputs [B, C, *space] float, space (H, W) of images and (T, H, W) of clips; targets int64 [B], the explained class of every
    item, known and frozen before any perturbation (items of which it is not known yet are `vxp.tasks.Loaded`, and no batch);
    ids name the items (they key every random draw, so a score does not depend on an item's neighbours); clusters name what is
    resampled in statistics (photo, stamp, video); truth maps a key (mask, cells, ...) to bool or float [B, *space],
    which only the oracles and the localisation metrics look at.
    """

    ids: tuple[str, ...]
    inputs: Tensor
    targets: Tensor
    normalization: Normalization = RAW
    seed: int = 0
    truth: Mapping[str, Tensor] = field(default_factory=dict)
    clusters: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def raw(self) -> Tensor:
        """The inputs as raw pixels in [0, 1]."""
        return self.to_raw(self.inputs)

    def to_raw(self, inputs: Tensor) -> Tensor:
        """Raw pixels in [0, 1] of inputs [..., C, *space] of these items."""
        return self.normalization.to_raw(inputs, len(self.space))

    def to_inputs(self, raw: Tensor) -> Tensor:
        """Inputs of raw pixels [..., C, *space]."""
        return self.normalization.to_inputs(raw, len(self.space))

    def fill_image(self, fill: str) -> Tensor:
        """What a fill puts at every position, [B, C, *space] as inputs; VxpError for an unknown one, and for one that depends
        on what is left."""
        return self.medium.image(fill, self)

    @property
    def medium(self) -> Medium:
        """What the items are made of."""
        return of_axes(len(self.space))

    @property
    def space(self) -> tuple[int, ...]:
        """The input grid, (H, W) or (T, H, W); its product is P, the number of positions."""
        return tuple(self.inputs.shape[2:])

    @property
    def positions(self) -> int:
        return int(self.inputs[0, 0].numel())

    def select(self, index: Sequence[int], inputs: Tensor | None = None) -> Batch:
        """The items at these places, in this order; with other inputs, where they are given."""
        where = torch.tensor(list(index), dtype=torch.long, device=self.inputs.device)
        return replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            inputs=self.inputs[where] if inputs is None else inputs,
            targets=self.targets[where],
            truth={key: value[where] for key, value in self.truth.items()},
            clusters=tuple(self.clusters[i] for i in index) if self.clusters else (),
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same items on a device."""
        return replace(
            self,
            inputs=self.inputs.to(device),
            targets=self.targets.to(device),
            truth={key: value.to(device) for key, value in self.truth.items()},
        )


# -------------------------------------------------------------------------------------------------- what may be asked


@dataclass(frozen=True)
class Unchanged:
    """The item as it is."""


@dataclass(frozen=True)
class Filled:
    """Every position replaced by the fill."""

    fill: str


@dataclass(frozen=True)
class Removed:
    """The positions (or groups) of rank a <= rank < b in an order are replaced by the fill; rank 0 goes first."""

    order: str
    a: int
    b: int
    fill: str


@dataclass(frozen=True)
class Blended:
    """fill + mask*(input - fill) in input space, with a mask in [0, 1] that the case holds under this name."""

    mask: str
    fill: str


@dataclass(frozen=True)
class Redrawn:
    """An image of 8-bit levels that the case holds under this name. Where its level is that of the item, the input's value
    stays as it is."""

    image: str


@dataclass(frozen=True)
class Noised:
    """Inputs plus uniform noise in [-radius, radius], in the model's input units, drawn per value and per item."""

    stream: str
    draw: int
    radius: float


@dataclass(frozen=True)
class Scattered:
    """n positions drawn at random."""

    stream: str
    draw: int
    n: int


@dataclass(frozen=True)
class Square:
    """A square of 1 to `side` pixels a side, its size and its place drawn at random, inside the image."""

    stream: str
    draw: int
    side: int


@dataclass(frozen=True)
class Cell:
    """The cell of this index in a regular grid of grid x grid cells, row-major: position (y, x) lies in cell
    (floor(y*grid/H), floor(x*grid/W))."""

    grid: int
    index: int


@dataclass(frozen=True)
class SomeCells:
    """n cells of that grid, drawn at random."""

    grid: int
    stream: str
    draw: int
    n: int


Part = Scattered | Square | Cell | SomeCells
"""Positions that no map decides (see vxp.core.perturb.part)."""


@dataclass(frozen=True)
class Without:
    """The positions of a part are replaced by the fill. Depends on no map: metrics of one
    explanation that ask for the same part share its rows; every explanation of a run has its own."""

    part: Part
    fill: str


@dataclass(frozen=True)
class Translated:
    """The image moved down and across by whole pixels (negative: up, left); what it leaves carries the fill."""

    down: int
    across: int
    fill: str


@dataclass(frozen=True)
class Offset:
    """Inputs plus one number at every value, in the model's input units."""

    amount: float


Edit = Unchanged | Filled | Removed | Blended | Redrawn | Noised | Without | Translated | Offset


@dataclass(frozen=True)
class Randomised:
    """Parameters of the model drawn anew from their initial distribution (see vxp.models.randomised).

    `all` of them; or by stages counted from the output, of `stages` in all: `cascading` every stage up to this one,
    `independent` this one only.
    """

    stream: str
    mode: Literal["all", "cascading", "independent"] = "all"
    stage: int = 1
    stages: int = 1


@dataclass(frozen=True)
class Compensated:
    """The model that subtracts this number from every input value first: f'(x) = f(x - amount)."""

    amount: float


@dataclass(frozen=True)
class Relabelled:
    """The model of the same architecture that was trained on randomly permuted labels."""


State = Randomised | Compensated | Relabelled


@dataclass(frozen=True)
class Predict:
    """Run the model."""


@dataclass(frozen=True)
class Explain:
    """Run the explainer again and take its map on the input grid; `other` explains another class of the same item."""

    state: State | None = None
    other: str | None = None


@dataclass(frozen=True)
class Segment:
    """Cut the item into about n regions of similar colour; answered by labels 0, 1, ... [B, K, *space]."""

    n: int


Call = Predict | Explain | Segment
Readout = Literal["probability", "log-probability", "log-complement", "logit", "argmax", "output", "representation", "map"]


@dataclass(frozen=True)
class Request:
    """K variants of every item; answered by a tensor [B, K], by [B, K, D] for `output` (all logits) and
    `representation` (the input of the model's last linear layer), or by [B, K, *space] for maps and labels."""

    edits: tuple[Edit, ...]
    call: Call = Predict()
    readout: Readout = "probability"


# --------------------------------------------------------------------------------------------- what a metric looks at


@dataclass(frozen=True, eq=False)
class Outcome:
    """One score per item: values float64 [B], NaN where there is none, and a status per item.

    curve [B, S+1] and its x (fractions) are what was averaged, kept for the report. statistics [B, D] are what a
    metric of the set keeps of each item; its values are then what one item says by itself, if anything.
    """

    values: Tensor
    status: tuple[str, ...]
    curve: Tensor | None = None
    x: tuple[float, ...] = ()
    statistics: Tensor | None = None


def outcome(
    values: Tensor,
    undefined: Mapping[str, Tensor] | None = None,
    *,
    curve: Tensor | None = None,
    x: Sequence[float] = (),
    statistics: Tensor | None = None,
    failed: Tensor | None = None,
) -> Outcome:
    """An outcome from values [B] and, per code, a bool tensor [B] of the items where it is undefined for that reason.

    The first code that holds is the item's status. A value that is not finite without a stated reason becomes
    `failed:non-finite-score`, and so does an item of `failed` [B], where a comparison made a number of what was none: a status
    is never silently a number.
    """
    numbers = values.detach().to(torch.float64).cpu().clone()
    status = [OK] * len(numbers)
    for code, where in (undefined or {}).items():
        for i in torch.nonzero(where.cpu()).flatten().tolist():
            if status[i] == OK:
                status[i] = f"undefined:{code}"
    # a metric of the set has its numbers in the statistics, and may have nothing to say of one item
    judged = numbers if statistics is None else statistics.detach().cpu().double().flatten(1).sum(1)
    wrong = ~torch.isfinite(judged) if failed is None else ~torch.isfinite(judged) | failed.cpu()
    for i in torch.nonzero(wrong).flatten().tolist():
        if status[i] == OK:
            status[i] = "failed:non-finite-score"
    numbers[torch.tensor([s != OK for s in status], dtype=torch.bool)] = float("nan")
    kept = None if curve is None else curve.detach().to(torch.float64).cpu()
    return Outcome(numbers, tuple(status), kept, tuple(x), None if statistics is None else statistics.detach().cpu())


Plan = Generator[Request, Tensor, Outcome]


@dataclass(frozen=True, eq=False)
class Order:
    """In which order positions go: positions [B, P], and for groups that go together where each begins, starts
    [B, R + 1]; without starts every position goes by itself."""

    positions: Tensor
    starts: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """All that a metric may look at: one batch and the stored maps of one explainer for it.

    native [B, h, w] or [B, t, h, w] is the payload as read back; map [B, *space] is the evaluation map, resampled by the set's
    rule.
    A map with a value that is not finite is replaced by zeros here and its items get `undefined:non-finite-map`
    from the engine, so that the others are untouched.
    """

    batch: Batch
    native: Tensor
    resample: Resample = "bilinear"
    signed: bool = True
    masks: dict[str, Tensor] = field(default_factory=dict)
    images: dict[str, Tensor] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)

    @property
    def kind(self) -> Map:
        """What the explanations are."""
        return of_medium(self.batch.medium)

    def on_input_grid(self, native: Tensor) -> Tensor:
        """Maps [B, *grid] on the input grid, by the set's rule."""
        return self.kind.resampled(native, self.batch.space, self.resample)

    @cached_property
    def finite(self) -> Tensor:
        """bool [B]: maps without NaN or infinity."""
        return torch.isfinite(self.native).flatten(1).all(1)

    @cached_property
    def clean(self) -> Tensor:
        """The native map as float32, zeros where the item's map is not finite."""
        shape = (-1, *[1] * (self.native.ndim - 1))
        return torch.where(self.finite.view(shape), self.native, torch.zeros_like(self.native)).float()

    @cached_property
    def map(self) -> Tensor:
        """The evaluation map [B, *space] float32."""
        return self.on_input_grid(self.clean)

    @cached_property
    def constant(self) -> Tensor:
        """bool [B]: evaluation maps with one value everywhere."""
        flat = self.map.flatten(1)
        return flat.amax(1) == flat.amin(1)

    @cached_property
    def key(self) -> str:
        """Digest of the maps: names their order in requests, so that equal maps share rows."""
        return hashlib.sha256(self.map.cpu().contiguous().numpy().tobytes()).hexdigest()

    @cached_property
    def order(self) -> Tensor:
        """int64 [B, P]: positions from the most to the least relevant; ties by row-major index (clause [order])."""
        return self.map.flatten(1).argsort(dim=1, descending=True, stable=True)

    def mask(self, name: str, make: Callable[[], Tensor]) -> str:
        """Keep a mask [B, *space] in [0, 1] under a name and return the name that requests use."""
        full = f"{self.key}:{name}"
        if full not in self.masks:
            self.masks[full] = make()
        return full

    def image(self, name: str, make: Callable[[], Tensor]) -> str:
        """Keep images uint8 [B, C, H, W] under a name and return the name that requests use."""
        full = f"{self.key}:{name}"
        if full not in self.images:
            self.images[full] = make()
        return full

    def grouped(self, name: str, ranks: Callable[[], Tensor]) -> str:
        """Keep the order in which groups of positions go, under a name that `removed` takes.

        ranks() gives int64 [B, P]: the rank of the group of each position, 0 the first to go; an item may have fewer
        groups than another.
        """
        full = f"{self.key}:{name}"
        if full not in self.orders:
            of = ranks()
            groups = int(of.max()) + 1
            sizes = torch.zeros(len(of), groups, dtype=torch.long, device=of.device).scatter_add_(1, of, torch.ones_like(of))
            self.orders[full] = Order(of.argsort(dim=1, stable=True), F.pad(sizes.cumsum(1), (1, 0)))
        return full

    def ordered(self, name: str) -> Order:
        """The order that a request names: by position where the name is the case's key, else by groups."""
        return Order(self.order) if name == self.key else self.orders[name]

    def unchanged(self, readout: Readout = "probability") -> Request:
        return Request((Unchanged(),), readout=readout)

    def removed(
        self, counts: Sequence[int], fill: str, *, first: Literal["most", "least"] = "most",
        readout: Readout = "probability", order: str | None = None,
    ) -> Request:
        """Remove the k most (or least) relevant positions, or groups of an order, for each k of counts."""
        last = self._groups(order)
        spans = [(0, k) if first == "most" else (last - k, last) for k in counts]
        return self.removed_spans(spans, fill, readout=readout, order=order)

    def removed_spans(
        self, spans: Sequence[tuple[int, int]], fill: str, *, readout: Readout = "probability", order: str | None = None
    ) -> Request:
        """Remove the positions (or groups) of rank a <= rank < b, for each (a, b) of spans."""
        return Request(tuple(self._removal(a, b, fill, order) for a, b in spans), readout=readout)

    def _groups(self, order: str | None) -> int:
        starts = None if order is None else self.orders[order].starts
        return self.batch.positions if starts is None else starts.shape[1] - 1

    def _removal(self, a: int, b: int, fill: str, order: str | None) -> Edit:
        # nothing removed and everything removed do not depend on the order: say so, and all orders share these rows
        if a == b:
            return Unchanged()
        if b - a == self._groups(order):
            return Filled(self.batch.medium.fill(fill).whole)
        return Removed(order or self.key, a, b, fill)


# ----------------------------------------------------------------------------------------------------- declarations


Limits = Mapping[str, tuple[float | None, float | None] | tuple[str, ...]]
"""Per parameter its least and greatest value (None: no bound), or the words it may be."""

Reduce = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The set's number from statistics [N, D], clusters int64 [N] and how often each item counts, float64 [R, N]: float64 [R],
NaN where there is none. R resamples of the clusters are R rows of counts."""


@dataclass(frozen=True, eq=False)
class Metric:
    """A declared metric: its plan and the facts that the registry, the result and the report print."""

    id: str
    family: str
    better: Better
    range: tuple[float | None, float | None]
    plan: Callable[..., Plan | Outcome]
    parameters: Mapping[str, Any]
    truth: tuple[str, ...] = ()
    re_explains: int | str = 0
    undefined: tuple[str, ...] = ()
    source: str = ""
    caveats: tuple[str, ...] = ()
    binary: bool = False
    version: int = 1
    reduce: Reduce | None = None
    needs_relabelled: bool = False
    limits: Limits = field(default_factory=dict)
    fills: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("heatmap2d",)

    @property
    def name(self) -> str:
        return f"{self.id}@{self.version}"

    @property
    def level(self) -> Literal["sample", "set"]:
        """Whether it gives a number to every item, or one to the set."""
        return "sample" if self.reduce is None else "set"


def metric(
    id: str, *, family: str, better: Better, range: tuple[float | None, float | None], truth: Sequence[str] = (),
    re_explains: int | str = 0, undefined: Sequence[str] = (), source: str = "", caveats: Sequence[str] = (),
    binary: bool = False, version: int = 1, reduce: Reduce | None = None, needs_relabelled: bool = False,
    limits: Limits | None = None, fills: Sequence[str] = (), kinds: Sequence[str] = ("heatmap2d",),
) -> Callable[[Callable[..., Plan | Outcome]], Metric]:
    """Declare a metric. Its keyword-only arguments with their defaults are the protocol's parameters; limits says for
    each what it may be, and a value outside is refused before anything runs.

    truth: keys of which the task must have one. re_explains: how many times per item the explainer runs again, as a
    number or the name of the parameter that says it (the budget of a task bounds it). caveats: what is known against
    the metric, and what it does not show. binary: every score is 0 or 1, so that its mean is a proportion. reduce makes
    it a metric of the set: its outcome's `statistics` go in, one number per set comes out. needs_relabelled: it asks for
    the model that was trained on permuted labels. fills: those that it uses whatever its parameter `fill` says.
    kinds: the explanations that it is defined for.
    """

    def declare(plan: Callable[..., Plan | Outcome]) -> Metric:
        return Metric(id, family, better, range, plan, keyword_defaults(plan), tuple(truth), re_explains,
                      tuple(undefined), source, tuple(caveats), binary, version, reduce, needs_relabelled,
                      limits or {}, tuple(fills), tuple(kinds))

    return declare


@dataclass(frozen=True, eq=False)
class Training:
    """How an explainer is trained, and how its weights are found.

    run(model, images, session, recipe) trains (see vxp.runs.fitting). recipes: dataclasses of its parameters, by the
    backbone that they were published for; choose(model) names the one for a model. resolve(model, **parameters) gives the
    parameters with the weights of this model named, VxpError where there are none. components(**parameters) is what was
    trained, as the document of a system lists it.
    """

    run: Callable[..., Any]
    recipes: Mapping[str, Any]
    choose: Callable[[Any], str]
    resolve: Callable[..., Mapping[str, Any]]
    components: Callable[..., list[dict[str, Any]]]


@dataclass(frozen=True, eq=False)
class Explainer:
    """A declared explainer: (model, batch, *, parameters) -> maps [B, h, w] on the native grid, [B, t, h, w] of clips.

    signed: negative values mean evidence against. needs: of {"gradients", "activations", "layer", "truth", "training_data"}.
    reference: one of the fixed references, which are never re-explained. passes: nominal model passes per map
    (forward plus backward), as a number or a function of the parameters; the budget of a task bounds it.
    training: how it is trained, where it is.
    """

    id: str
    explain: Callable[..., Tensor]
    parameters: Mapping[str, Any]
    signed: bool
    resample: Resample = "bilinear"
    target_specific: bool = True
    needs: frozenset[str] = frozenset()
    reference: bool = False
    passes: int | Callable[..., int] = 1
    family: str = "other"
    source: str = ""
    training: Training | None = None
    kinds: tuple[str, ...] = ("heatmap2d",)


def explainer(
    id: str, *, signed: bool, resample: Resample = "bilinear", target_specific: bool = True,
    needs: Sequence[str] = (), reference: bool = False, passes: int | Callable[..., int] = 1, family: str = "other",
    source: str = "", training: Training | None = None, kinds: Sequence[str] = ("heatmap2d",),
) -> Callable[[Callable[..., Tensor]], Explainer]:
    """Declare an explainer. Its keyword-only arguments with their defaults are recorded and can be set by name. kinds: what it
    makes, by the medium of the items."""

    def declare(explain: Callable[..., Tensor]) -> Explainer:
        return Explainer(id, explain, keyword_defaults(explain), signed, resample, target_specific, frozenset(needs),
                         reference, passes, family, source, training, tuple(kinds))

    return declare


def keyword_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only parameters of a function with their defaults, in order of definition."""
    named = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    missing = [p.name for p in named if p.default is p.empty]
    if missing:
        raise VxpError(f"{function.__name__}: the parameters {missing} have no default; every protocol parameter has one")
    return {p.name: p.default for p in named}
