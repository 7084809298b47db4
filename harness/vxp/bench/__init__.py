"""`vxp bench`: the harness against its bound, the same number of plain model passes measured in the same run.

Every ratio is taken from pairs of measurements that alternate, A B A B ..., and the median pair is printed, so that a
machine whose speed drifts does not drift into the figures. Times are CPU seconds of the process on a CPU and seconds
between synchronisations on a GPU.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from vxp import models
from vxp.bench.catalogue import over_the_bound, whole_catalogue
from vxp.bench.clips import by_late_fusion
from vxp.bench.imputation import imputation
from vxp.bench.measure import Line, photo_like
from vxp.bench.peers import beside_peers
from vxp.bench.suite import against_bound, map_only, own_cost, sharing
from vxp.bench.validator import against_one_read
from vxp.bench.whole import against_items, against_plain_passes
from vxp.engine import best_batch_size
from vxp.machine import computing

__all__ = ["Line", "Setup", "main", "memory", "validator", "whole_run"]


@dataclass(frozen=True)
class Setup:
    """What is measured with: the model whose passes are the bound, where, and on how many items at a time."""

    model: str
    device: str
    threads: int
    precision: Any
    items: int


def validator(console: Console, json_path: Path | None = None) -> list[Line]:
    """Measure the validator, on a bundle of 0.5 GB."""
    return _said(console, against_one_read(), json_path)


def whole_run(console: Console, items: int, threads: int, json_path: Path | None = None) -> list[Line]:
    """Measure a whole run against its passes."""
    return _said(console, against_plain_passes(items, threads), json_path)


def memory(console: Console, json_path: Path | None = None) -> list[Line]:
    """Measure the memory of runs against the number of their items."""
    return _said(console, against_items(), json_path)


def main(
    console: Console, setup: Setup, json_path: Path | None = None, *, every: bool = False, peers: bool = False,
) -> list[Line]:
    """Measure the core suite, print the tables, and return the figures; `every` times the whole catalogue and curves of clips,
    `peers` the public libraries beside it, each in minutes more."""
    model, device, threads, precision, items = (setup.model, setup.device, setup.threads, setup.precision, setup.items)
    with computing(threads):
        loaded = models.load(model, device=device)
        batch = photo_like(loaded.image_size, items, device)
        size = best_batch_size(loaded.module, batch.inputs[:1], limit=1024 if device == "cuda" else 64)
        card = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU, {threads} thread(s)"
        console.print(f"{model} on {card}, {precision}, torch {torch.__version__}, best batch size {size}", highlight=False)
        lines = sharing(device)
        lines += whole_catalogue(device)
        lines += own_cost(device)
        lines += map_only(device)
        lines += imputation(device)
        lines += against_bound(loaded.module, batch, size, precision)
        if every:
            lines += over_the_bound(loaded.module, size, items, precision, device)
            lines += by_late_fusion(loaded.module, loaded.image_size, precision, device)
        if peers:
            lines += beside_peers(loaded.module, size, items, device)
    return _said(console, lines, json_path)


def _said(console: Console, lines: list[Line], json_path: Path | None) -> list[Line]:
    _print(console, lines)
    if json_path is not None:
        json_path.write_text(json.dumps([dataclasses.asdict(line) for line in lines], indent=2) + "\n")
    return lines


def _print(console: Console, lines: Sequence[Line]) -> None:
    for group in dict.fromkeys(line.group for line in lines):
        table = Table("measured", title=group, title_justify="left", box=None)
        table.add_column("value", justify="right")
        table.add_column("goal", justify="right")
        table.add_column("note")
        for line in (x for x in lines if x.group == group):
            table.add_row(line.what, f"{line.value:.3f} {line.unit}".strip(), line.goal, line.note)
        console.print(table)
