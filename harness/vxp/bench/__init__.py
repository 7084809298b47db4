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

import torch
from rich.console import Console
from rich.table import Table

from vxp import models
from vxp.bench.catalogue import over_the_bound, whole_catalogue
from vxp.bench.clips import by_late_fusion
from vxp.bench.devices import beside_cpu
from vxp.bench.imputation import imputation
from vxp.bench.measure import Line, photo_like
from vxp.bench.peers import beside_peers
from vxp.bench.suite import against_bound, map_only, own_cost, sharing
from vxp.bench.validator import against_one_read
from vxp.bench.whole import against_items, against_plain_passes
from vxp.engine import Engine, Precision, best_batch_size
from vxp.machine import computing

SIZES = "Batch size of the best throughput"

__all__ = ["SIZES", "Line", "Setup", "main", "memory", "validator", "whole_run"]


@dataclass(frozen=True)
class Setup:
    """What is measured with: the model whose passes are the bound, where, how, and on how many items at a time."""

    model: str
    device: str
    threads: int
    precisions: tuple[Precision, ...]
    items: int
    compile: bool = False
    channels_last: bool | None = None


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
    `peers` the public libraries beside it, each in minutes more. What depends on the model is measured at every precision,
    unless that is fp32 on a CPU with its scores beside those of such a CPU."""
    device, threads, items = setup.device, setup.threads, setup.items
    with computing(threads):
        loaded = models.load(setup.model, device=device, channels_last=setup.channels_last)
        batch = photo_like(loaded.image_size, items, device)
        card = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU, {threads} thread(s)"
        how = [*setup.precisions, *(["compiled"] if setup.compile else []),
               *(["channels-last"] if models.lies_channels_last(loaded.module) else [])]
        console.print(f"{setup.model} on {card}, {', '.join(how)}, torch {torch.__version__}", highlight=False)
        lines = sharing(device)
        lines += whole_catalogue(device)
        lines += own_cost(device)
        lines += map_only(device)
        lines += imputation(device)
        for precision in setup.precisions:
            engine = Engine(loaded.module, precision=precision, compile=setup.compile)
            with engine.arithmetic(batch.inputs.device):
                engine.batch_size = best_batch_size(engine.forward, batch.inputs[:1], limit=256 if device == "cuda" else 64)
            lines.append(Line(SIZES, precision, engine.batch_size, "rows"))
            lines += against_bound(engine, batch)
            if (device, precision) != ("cpu", "fp32"):
                lines += beside_cpu(device, precision)
            if every:
                lines += over_the_bound(engine, items, device)
                lines += by_late_fusion(loaded.module, loaded.image_size, precision, device)
        if peers:
            lines += beside_peers(loaded.module, engine.batch_size, items, device)
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
