"""`python docs/_comparison.py` fills the tables of docs/comparison.md from the records of the leaderboard, and draws its
training curves; `python docs/_comparison.py RUNS` also draws maps of the runs RUNS/shapes and RUNS/stamps.

tests/test_docs.py holds the tables to what this script gives.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import vxp_explainers
from _generate import between, code, table
from matplotlib import pyplot
from PIL import Image
from vxp import stats
from vxp.datasets import stamps_training
from vxp.report import compare, pictures, read

DOCS = Path(__file__).parent
PAGE = "comparison.md"
BOARD = DOCS / "leaderboard"
WEIGHTS = Path(vxp_explainers.__file__).parent / "weights"
TASKS = ("shapes", "stamps", "photos", "mosaic-photos")
LEARNED = ("tame", "l-cam-fm", "l-cam-img")
PEER = "grad-cam"

KEPT = {f"{short} {keep}": f"{metric}@2|keep:{keep}|"
        for short, metric in (("AD", "average-drop"), ("IC", "increase-in-confidence"), ("AG", "average-gain"))
        for keep in (100, 50, 15)}
OTHER = {"deletion": "deletion@1|", "insertion": "insertion@1|", "SRG": "srg@1|", "ROAD MoRF": "road-morf@1|",
         "ROAD LeRF": "road-lerf@1|", "energy": "energy-pointing-game@1", "pointing": "pointing-game@1|",
         "grid pointing": "grid-pointing-game@1", "relevance rank": "relevance-rank@1"}
"""The heads of columns, and how the signatures of their scores begin."""
TRAINED_FOR = ("AD 100", "IC 100", "AD 50", "AD 15")
NOT_TRAINED_FOR = ("deletion", "insertion", "SRG", "ROAD MoRF", "energy", "pointing", "relevance rank")

Found = Mapping[str, Mapping[str, Any]]


def page() -> str:
    """The page with its tables as the records have them now."""
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    tables = {t["task"]["id"]: t for t in json.loads((BOARD / "leaderboard.json").read_bytes())["tables"]}
    for task in TASKS:
        text = between(text, f"{task} kept", _scores(tables[task], KEPT))
        text = between(text, f"{task} other", _scores(tables[task], OTHER))
    for task in ("shapes", "stamps"):
        text = between(text, f"{task} ranks", _ranks(tables[task]))
    text = between(text, "differences", _differences(tables))
    return between(text, "costs", _costs(tables))


# ----------------------------------------------------------------------------------------------------------------- tables


def _scores(board: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """Means and 95 % intervals of every method, the best of the first column first, and of the references."""
    columns = {head: s for head, start in columns.items() if (s := _signature(board, start))}
    first = next(iter(columns.values()))
    sign = -1 if _better(board, first) == "higher" else 1
    methods = sorted(board["entries"], key=lambda e: (sign * _of(e)[first].get("figure", np.inf), e["explainer"]))
    rows = [[code(e["explainer"]), *(_cell(_of(e).get(s, {})) for s in columns.values())]
            for e in [*methods, *board["references"]]]
    heads = [f"{head} {_arrow(board, s)}" for head, s in columns.items()]
    return table(["method", *heads], rows)


def _cell(score: Mapping[str, Any]) -> str:
    figure, ci = (score.get(k, score.get(of)) for k, of in (("figure", "mean"), ("figure_ci", "ci")))
    if figure is None:
        return str(next(iter(score.get("statuses", {"": 0}))))
    return _shown(f"{figure:.3f}", f"{ci['lo']:.3f} to {ci['hi']:.3f}" if ci else "", score.get("tied_for_best", False))


def _shown(number: str, beneath: str, bold: bool = False) -> str:
    """A number, bold or not, with what stands beneath it in small print."""
    return (f"**{number}**" if bold else number) + (f"<br><small>{beneath}</small>" if beneath else "")


def _ranks(board: Mapping[str, Any]) -> str:
    """Place by the figure, and the interval of ranks that the paired tests of all pairs leave (7.4.4)."""
    columns = {head: _signature(board, (KEPT | OTHER)[head]) for head in (*TRAINED_FOR, *NOT_TRAINED_FOR)}
    scores = {e["explainer"]: _of(e) for e in board["entries"]}
    # of the families that are shown, whose p are adjusted together
    shown = {_family(board, s) for s in columns.values()}
    of = {s["signature"] for s in board["scores"] if s["family"] in shown}
    samples = (_samples(board, e["explainer"]) for e in board["entries"])
    compared = compare.group([replace(own, references={}, values={s: v for s, v in own.values.items() if s in of})
                              for own in samples], intervals=False)
    ranks = {s.signature: s.ranks for s in compared.scores}
    rows = []
    for method in (*LEARNED, PEER):
        cells = []
        for s in columns.values():
            figures = {name: found[s]["figure"] for name, found in scores.items() if "figure" in found[s]}
            low = _better(board, s) == "lower"
            place = 1 + sum((m < figures[method]) if low else (m > figures[method]) for m in figures.values())
            first, last = ranks[s][method]
            cells.append(_shown(str(place), f"{first} to {last}"))
        rows.append([code(method), *cells])
    return table(["method", *columns], rows)


def _differences(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Paired differences to Grad-CAM, positive where the learned method is better; Holm over the cells of a task."""
    columns = ("AD 100", "AD 15", "IC 100", "deletion", "SRG", "ROAD MoRF", "energy", "pointing")
    rows = []
    for task in ("shapes", "stamps"):
        board = tables[task]
        signatures = [_signature(board, (KEPT | OTHER)[head]) for head in columns]
        samples = {name: _samples(board, name) for name in (*LEARNED, PEER)}
        items = np.array(samples[PEER].items)
        unseen = np.isin([i.rpartition("/")[0] for i in items], stamps_training.held_out())
        parts = {task: np.full(len(items), True)}
        if task == "stamps":
            parts |= {"stamps, stamp seen in training": ~unseen, "stamps, stamp not seen": unseen}
        found = [(part, method, [_paired(board, samples[method], samples[PEER], s, where) for s in signatures])
                 for part, where in parts.items() for method in LEARNED]
        adjusted = iter(stats.holm([p.p for _, _, cells in found for p in cells]))
        for part, method, cells in found:
            shown = []
            for p in cells:
                separated = stats.STANDARD.separated(next(adjusted), p.n_clusters)
                shown.append(_shown(f"{p.delta:+.3f}", f"{p.ci.lo:+.3f} to {p.ci.hi:+.3f}" if p.ci else "", separated))
            rows.append([part, str(cells[0].n), code(method), *shown])
    return table(["task", "items", "method", *columns], rows)


def _paired(board: Mapping[str, Any], method: compare.Samples, peer: compare.Samples, signature: str,
            where: np.ndarray) -> stats.Paired:
    """How much better the method is than the peer on these items."""
    a, b = (x.values[signature][where] for x in (method, peer))
    clusters = [c for c, w in zip(peer.clusters, where, strict=True) if w]
    return stats.paired(b, a, clusters) if _better(board, signature) == "lower" else stats.paired(a, b, clusters)


def _costs(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Passes and milliseconds a map of every method on every task."""
    of = {(task, e["explainer"]): e["cost"] for task in TASKS for e in tables[task]["entries"]}
    methods = sorted({name for _, name in of}, key=lambda m: (of["stamps", m]["ms_per_map"], m))
    rows = []
    for m in methods:
        cost = of["stamps", m]
        rows.append([code(m), f"{cost['forward_per_map']:.4g}", f"{cost['backward_per_map']:.4g}",
                     *(f"{of[t, m]['ms_per_map']:,.4g}" if (t, m) in of else "" for t in TASKS)])
    return table(["method", "forward passes", "backward passes", *(f"ms, {t}" for t in TASKS)], rows)


def _signature(board: Mapping[str, Any], start: str) -> str:
    return next((s["signature"] for s in board["scores"] if s["signature"].startswith(start)), "")


def _family(board: Mapping[str, Any], signature: str) -> str:
    return str(next(s["family"] for s in board["scores"] if s["signature"] == signature))


def _better(board: Mapping[str, Any], signature: str) -> str:
    return str(next(s["better"] for s in board["scores"] if s["signature"] == signature))


def _arrow(board: Mapping[str, Any], signature: str) -> str:
    return "↓" if _better(board, signature) == "lower" else "↑"


def _of(entry: Mapping[str, Any]) -> Found:
    return {s["signature"]: s for s in entry["scores"]}


def _samples(board: Mapping[str, Any], method: str) -> compare.Samples:
    entry = next(e for e in board["entries"] if e["explainer"] == method)
    return compare.read(BOARD / "records" / entry["record"] / "bundle" / "results" / entry["result_id"])


# --------------------------------------------------------------------------------------------------------------- pictures


def curves() -> None:
    """The three terms of the loss after every epoch, and how often the masked image keeps its class, from the cards."""
    terms = {"cross_entropy": "cross-entropy", "area": "area", "variation": "variation",
             "still_predicted": "share of masked images\nthat keep their class"}
    models = {"efficientnet-lite0-stamps": "EfficientNet-Lite0 on stamps-training", "shapes-cnn": "shapes classifier"}
    figure, axes = pyplot.subplots(len(models), len(terms), figsize=(11, 5), layout="constrained")
    for row, (weights, title) in zip(axes, models.items(), strict=True):
        for method in LEARNED:
            log = json.loads((WEIGHTS / f"{method}-{weights}.json").read_bytes())["log"]
            for axis, (term, label) in zip(row, terms.items(), strict=True):
                axis.plot([e["epoch"] + 1 for e in log], [e[term] for e in log], label=method, marker=".")
                axis.set_title(label, fontsize=9)
        for axis in row:
            axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
            axis.set_xlabel("epoch", fontsize=8)
            axis.tick_params(labelsize=8)
            axis.grid(alpha=0.25)
        row[0].set_ylabel(title, fontsize=9)
    axes[0, 0].legend(fontsize=8)
    figure.savefig(DOCS / "img" / "training.png", dpi=130)


def maps(folder: Path, items: int, methods: Sequence[str], out: Path) -> None:
    """A sheet of the first items of a run's gallery: a row per item, first its image, then its map by every method."""
    run = read.read(folder)
    systems = {s.document["explainer"]["id"]: s for s in run.systems}
    found = {m: systems[m].maps()[0] for m in methods}
    figure, axes = pyplot.subplots(items, 1 + len(methods), figsize=(1.25 * (1 + len(methods)), 1.3 * items),
                                   layout="constrained", squeeze=False)
    for i, (row, picture) in enumerate(zip(axes, run.gallery, strict=False)):
        photo = pictures.small(picture.png)
        sheet = [photo, *(pictures.overlay(photo, found[m][picture.row], systems[m].document["explainer"]["signed"])
                          for m in methods)]
        for axis, image, name in zip(row, sheet, ["", *methods], strict=True):
            axis.imshow(image)
            axis.set_axis_off()
            if i == 0:
                axis.set_title(name.replace("integrated-gradients", "int.-gradients"), fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    Image.open(buffer).convert("RGB").save(out, "WEBP", quality=82)


SHEETS = {"shapes": 5, "stamps": 6}
"""How many items of the gallery a sheet shows."""
PICTURED = (*LEARNED, PEER, "lrp", "integrated-gradients", "rise", "lime", "extremal-perturbation", "oracle")


def main(arguments: Sequence[str]) -> None:
    (DOCS / PAGE).write_text(page(), encoding="utf-8")
    curves()
    for task, items in SHEETS.items() if arguments else ():
        maps(Path(arguments[0]) / task, items, PICTURED, DOCS / "img" / f"maps-{task}.webp")


if __name__ == "__main__":
    main(sys.argv[1:])
