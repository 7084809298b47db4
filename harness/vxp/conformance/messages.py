"""The conformance vectors and the lines of the protocol as types (spec/09-conformance.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from vxp_schemas import typed

Message = Mapping[str, Any]
"""A line of the protocol: a JSON object of the driver's, or whatever a stranger's implementation says."""


class Reference(TypedDict):
    """A tensor in a file of the vectors."""

    file: str
    tensor: str


class EditWords(TypedDict):
    """The protocol's words for an edit of the input: its kind, and what that kind is told by."""

    edit: Literal["unchanged", "noise", "offset", "translation", "masked"]
    draw: NotRequired[int]
    radius: NotRequired[float]
    amount: NotRequired[float]
    down: NotRequired[int]
    across: NotRequired[int]
    keep: NotRequired[int]
    fill: NotRequired[str]


class StateWords(TypedDict):
    """The protocol's words for a state of the model other than its own."""

    state: Literal["randomised", "compensated", "relabelled"]
    stream: NotRequired[str]
    mode: NotRequired[str]
    stage: NotRequired[int]
    stages: NotRequired[int]
    amount: NotRequired[float]


class Given(TypedDict):
    """What a call beside the model answers: an explanation of an edited input, or a segmentation into n regions."""

    call: Literal["explain", "segment"]
    input: NotRequired[EditWords]
    target: NotRequired[int]
    state: NotRequired[StateWords | None]
    n: NotRequired[int]
    answer: Reference


class Item(TypedDict):
    """An item of a case, with its map, or what its kind of explanation has in place of one, and what the calls beside the model
    answer. kind: where it is no map of the item's axes.
    foil: the class that a counterfactual is to reach. concepts: the names of what truths list."""

    id: str
    cluster: str
    target: int
    input: Reference
    map: Reference
    resample: typed.Resample
    signed: bool
    truth: dict[str, Reference]
    given: list[Given]
    parts: NotRequired[dict[str, Reference]]
    segments: NotRequired[Reference]
    labels: NotRequired[list[int]]
    kind: NotRequired[typed.ExplanationKind]
    foil: NotRequired[int]
    concepts: NotRequired[list[str]]


class Channels(TypedDict):
    """Mean and standard deviation per channel."""

    mean: list[float]
    std: list[float]


class Asked(TypedDict):
    """What an implementation is shown of a case."""

    id: str
    metric: str
    version: int
    level: Literal["sample", "set"]
    clause: str
    truth: list[str]
    undefined: list[str]
    seed: int
    normalization: Channels
    parameters: dict[str, Any]
    model: str
    items: list[Item]


class Expected(TypedDict):
    """The scores of a case: per item, or one of the set; a curve's points where it has one."""

    values: list[float | None] | None
    status: list[str]
    set: float | None
    curves: NotRequired[list[list[float] | None]]


class ComputedBy(TypedDict):
    """The oracle's file, and what ran it."""

    file: str
    digest: str
    python: str
    numpy: str


class Library(TypedDict):
    """A public library that gives the same numbers."""

    library: str
    version: str


class Case(Asked):
    """A conformance vector: what is asked, and what is expected within its tolerance."""

    expected: Expected
    tolerance: float
    computed_by: ComputedBy
    agrees_with: list[Library]


class Operation(TypedDict):
    """A layer of a model of the vectors; weight and bias name tensors of its file."""

    op: str
    weight: NotRequired[str]
    bias: NotRequired[str]
    stride: NotRequired[int]
    padding: NotRequired[int]
    grid: NotRequired[list[int]]


class Network(TypedDict):
    """A model of the vectors: its operations in order, the file of its weights, and what it says where that is no logits."""

    operations: list[Operation]
    weights: str
    output: NotRequired[Literal["sequence"]]


__all__ = ["Asked", "Case", "EditWords", "Expected", "Given", "Item", "Message", "Network", "Operation", "Reference",
           "StateWords"]
