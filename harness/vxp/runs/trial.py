"""Try an explainer before anything long runs: a wrong layer or a map of the wrong shape is said at once."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import nn

from vxp import explainers, outputs
from vxp.core import Batch, ModelChangedError, NotExplainedError, VxpError
from vxp.engine import Engine, Precision
from vxp.explainers import BoundExplainer
from vxp.kinds import Map
from vxp.models import Model
from vxp.tasks import Task

FEW = 4
"""Forward passes of an installed method that asks for many: what is wrong with a layer or the model shows in the first."""


class _Enough(BaseException):
    """The passes that a trial may take are used up. No Exception, so that no explainer takes it for one of its own."""


def tried(bound: BoundExplainer, task: Task, model: Model, *, device: str = "cpu", precision: Precision = "fp32") -> None:
    """Explain one item; VxpError where the explainer refuses, or returns a map that cannot be scored.

    Another error is the item's fault until a second item has it too. An explainer of few passes is also asked for both
    at once, since a run asks for several. What it changes is undone (`guard.kept`), so that nothing of a run depends on
    its trial.
    """
    module = model.module
    batch = _batch(task, model, module, device)
    heavy = bound.passes > FEW and explainers.catalogue().get(bound.id) is bound.explainer

    def on(places: Sequence[int]) -> Exception | None:
        """The error on these items that a run would take for theirs."""
        with Engine(module, 1, precision).arithmetic(batch.inputs.device), _at_most(FEW, module) if heavy else nullcontext():
            return _error(lambda: _explained(bound, module, batch.select(places)))

    first = on([0])
    if first is not None and (len(batch) == 1 or on([1]) is not None):
        raise VxpError(f"explainer {bound.name!r} fails on {_named(batch)}: {_told(first, bound)}. Nothing was started: mend "
                       "it, or leave it out") from first
    if first is None and len(batch) > 1 and bound.passes <= FEW:
        on([0, 1])


def _explained(bound: BoundExplainer, module: nn.Module, batch: Batch) -> None:
    maps = bound(module, batch)
    try:
        kind = bound.makes(outputs.of(module), batch)
        if isinstance(kind, Map):
            kind.resampled(maps, batch.space, bound.explainer.resample, batch.parts)
    except VxpError as error:
        raise VxpError(f"explainer {bound.name!r}: {error}") from None


def _error(explain: Callable[[], None]) -> Exception | None:
    """What an explainer raised that a run takes for the fault of an item; VxpError for what would end the run."""
    try:
        explain()
    except (VxpError, torch.OutOfMemoryError):
        raise
    except ModelChangedError as error:  # of every item, so that nothing would be left of the run
        raise VxpError(f"{error}. Nothing was started: mend it, or leave it out") from None
    except (NotExplainedError, _Enough):
        return None
    except Exception as error:  # third-party code
        return error
    return None


def _batch(task: Task, model: Model, module: nn.Module, device: str) -> Batch:
    """The first two items, or the only one; targets that are not known are what the model says."""
    loaded = task.load(0, min(2, len(task.items)), model)
    with torch.no_grad():
        inputs, output = loaded.inputs.to(device), outputs.of(module)
        said = output.predicted(output.checked(module(inputs), inputs))
    return loaded.batch(loaded.targets(said)).to(device)


@contextmanager
def _at_most(calls: int, module: nn.Module) -> Iterator[None]:
    """Raise _Enough in the model's forward pass after so many."""
    left = calls

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _Enough

    handle = module.register_forward_pre_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _named(batch: Batch) -> str:
    return f"item {batch.ids[0]}" + (f" and on item {batch.ids[1]}" if len(batch) > 1 else "")


def _told(error: Exception, bound: BoundExplainer) -> str:
    """The error, and the deepest line of the explainer's own file that led to it."""
    frames, own = traceback.extract_tb(error.__traceback__), None
    with suppress(TypeError):  # a builtin has no file
        own = inspect.getsourcefile(inspect.unwrap(bound.explainer.explain))
    frame = next((f for f in reversed(frames) if f.filename == own), frames[-1])
    words = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}{': ' if words else ''}{words} (line {frame.lineno} of {frame.filename})"


__all__ = ["tried"]
