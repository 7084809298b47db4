"""Ask an explainer for the maps of a batch: one that fails costs only the items that it fails on, when it explains and when a
metric asks it again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vxp import clock
from vxp.core import Batch, ModelChangedError, NotExplainedError, VxpError

log = logging.getLogger("vxp")


@clock.stage("explaining")
def attempted(
    explain: Callable[[nn.Module, Batch], Tensor], model: nn.Module, batch: Batch, name: str
) -> tuple[Tensor, dict[int, str]]:
    """Maps [B, *grid], NaN for an item that has none, and by its place the status of every such item.

    An explainer that fails is asked item by item. Items that failed do not know the grid, and have that of the others.
    VxpError where maps have different grids; a VxpError of the explainer, and lack of memory, are no failures of items.
    """
    try:
        return explain(model, batch), {}
    except (VxpError, torch.OutOfMemoryError):
        raise
    except ModelChangedError as error:
        log.warning("%s. Its items %s ... have no map", error, ", ".join(batch.ids[:3]))
        return _nothing(batch), dict.fromkeys(range(len(batch)), f"failed:{error.code}")
    except Exception as error:  # third-party code: its failure is a status of its items, not the end of a run
        if len(batch) == 1:
            if not isinstance(error, NotExplainedError):
                log.exception("explainer %r failed on item %s", name, batch.ids[0])
            code = error.code if isinstance(error, NotExplainedError) else "explainer-error"
            return _nothing(batch), {0: f"failed:{code}"}
    parts = [attempted(explain, model, batch.select([i]), name) for i in range(len(batch))]
    maps = on_one_grid(name, [(maps, not lost) for maps, lost in parts], float("nan"))
    return maps, {i: lost[0] for i, (_, lost) in enumerate(parts) if lost}


def on_one_grid(name: str, parts: Sequence[tuple[Tensor, bool]], empty: float) -> Tensor:
    """Maps one after another. Those that hold no map, which is said beside them, do not know the grid, and have this value on
    the grid of the others. VxpError where maps have different grids."""
    grids = sorted({tuple(maps.shape[1:]) for maps, made in parts if made})
    if len(grids) > 1:
        raise VxpError(f"explainer {name!r} returned maps of different grids {grids}: expected one grid per set")
    grid = grids[0] if grids else parts[0][0].shape[1:]
    return torch.cat([maps if made else maps.new_full((len(maps), *grid), empty) for maps, made in parts])


def _nothing(batch: Batch) -> Tensor:
    return torch.full((len(batch), *batch.space), float("nan"), device=batch.inputs.device)


__all__ = ["attempted", "on_one_grid"]
