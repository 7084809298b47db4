"""What a model says of an input, and which numbers of it are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from vxp.core import Readout, VxpError
from vxp.core.declarations import Says as Id


@dataclass(frozen=True, eq=False)
class Output:
    """A kind of output.

    readouts: the numbers that are kept of every row; `probability` is read from `log-probability` and not listed.
    level: which of them is stored as the score of an unchanged item. targets: whether one number of the output is explained,
    which a target names; of an output without targets every target is -1.
    checked(raw, inputs) is what a model returned as float [N, K], VxpError where it is something else. read(raw, targets) are
    the readouts, float64 [N, R], NaN where what they are made of is not finite. predicted(raw) int64 [N] is the target that the
    model chooses. doubts(raw, what) says what is allowed and probably not meant, VxpError for what cannot be meant; what: how
    messages call the model.
    """

    id: Id
    readouts: tuple[Readout, ...]
    level: Readout
    targets: bool
    checked: Callable[[object, Tensor], Tensor]
    read: Callable[[Tensor, Tensor], Tensor]
    predicted: Callable[[Tensor], Tensor]
    doubts: Callable[[Tensor, str], list[str]]

    def admitted(self, outputs: Sequence[str]) -> bool:
        """Whether what is defined for these outputs is defined for this one. What is said of one class of many is said of one
        frame of many: every readout of classes has its meaning for events."""
        return self.id in outputs or (self.id == "events" and "classes" in outputs)

    def of(self, rows: Tensor, readout: Readout) -> Tensor:
        """One readout [...] of what `read` gave, [..., R]."""
        if readout == "probability":
            return rows[..., self.readouts.index("log-probability")].exp()
        return rows[..., self.readouts.index(readout)]

    def broken(self, rows: Tensor) -> Tensor:
        """bool [...]: whether what was read, [..., R], is of an output that is not finite."""
        return self.of(rows, self.level).isnan()


@dataclass(frozen=True)
class PerStep:
    """How messages call an output of one number for every step of an input: the numbers, what the steps are, how many of them
    there are, and the inputs."""

    numbers: str
    step: str
    n: str
    inputs: str

    def checked(self, raw: object, inputs: Tensor) -> Tensor:
        """The numbers [N, n] as they are, of [N, n, 1] without the last axis; VxpError for another type or shape."""
        n = inputs.shape[2]
        if not isinstance(raw, Tensor):
            raise VxpError(f"the model returned a {type(raw).__name__}, expected a tensor of {self.numbers} [B, {self.n}], one "
                           f"per {self.step}: wrap it in a module that returns the {self.numbers} alone")
        found = raw[..., 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw
        if tuple(found.shape) != (len(inputs), n):
            raise VxpError(f"the model returned a tensor {tuple(raw.shape)} for {len(inputs)} {self.inputs} of {n} "
                           f"{self.step}s, expected {self.numbers} [{len(inputs)}, {n}]: one number per {self.step}")
        return found


class Says(nn.Module):
    """A module whose output is no logits of classes: `says` is the id of what it is."""

    says: Id = "classes"


__all__ = ["Id", "Output", "PerStep", "Says"]
