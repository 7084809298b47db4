"""Put a run on one page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from PIL import Image
from vxp_schemas import typed

from vxp import clock, division, metrics, stats
from vxp.bundles import cite
from vxp.core import OK
from vxp.documents import store
from vxp.explainers import ORACLES
from vxp.report import concepts, counterfactuals, looked, pictures, prototypes, timeline, told
from vxp.report.pictures import band, curve_svg, data_uri, overlay, small, style
from vxp.report.read import Picture, Run, System, read
from vxp.report.standing import NOT_BETTER, cell, few, flags, standing
from vxp.report.words import ARROWS, FAMILIES, Context, columns, direction, grey, spelled
from vxp.runs import result


@clock.stage("report")
def write(of: Path | Run, out: Path | None = None) -> Path:
    """Write the report of a run folder, or of one that was read, as one self-contained HTML file; VxpError for missing or
    damaged results."""
    run = of if isinstance(of, Run) else read(of)
    environment = Environment(loader=PackageLoader("vxp.report"), autoescape=select_autoescape(default=True),
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    html = environment.get_template("page.html.j2").render(**_content(run))
    path = out or run.folder / "report.html"
    store.write_bytes(path, html.encode())
    return path


def _content(run: Run) -> Context:
    first = run.systems[0].document
    clusters = sorted(set(run.systems[0].clusters))
    inference = stats.Inference.of(first["inference"])
    return {
        "task": first["task"], "model": first["model"], "dataset": first["dataset"], "division": first["division"],
        "open_because": [r.words for r in division.of_result(first)] if first["division"] == "open" else [],
        "created": max(s.document["created"] for s in run.systems), "harness": first["harness"],
        "items": len(run.systems[0].clusters), "clusters": len(clusters), "cluster_key": _cluster_key(run),
        "not_better": NOT_BETTER, "flags": flags(run), "few": few(run), "level": f"{100 * inference.level:g}",
        "decisions": looked.decisions([(s.name, s.document) for s in _in_order(run)]),
        "corrected": inference.correction == "holm", "families": _families(run), "panels": _panels(run),
        "legend": [(s.name, *style(_place(run, s), s.reference)) for s in _in_order(run)],
        "gallery": _gallery(run), "explainers": [(s.name, s.document["explainer"]["signed"]) for s in _in_order(run)],
        "costs": [_cost(s) for s in run.systems], "signatures": [s["signature"] for s in first["scores"]],
        "settings": first["settings"], "environment": run.environment, "command": _command(run),
        "grey": grey(_kind(run), any(s.document["explainer"]["id"] in ORACLES for s in run.systems)),
        "parameters": [(s.name, s.document["explainer"]["parameters"]) for s in run.systems if not s.reference],
    }


def _in_order(run: Run) -> list[System]:
    """Methods first: what the reader came for."""
    return sorted(run.systems, key=lambda s: s.reference)


def _place(run: Run, system: System) -> int:
    """Its number among the methods, or among the references: what colour and dash go by."""
    return [s.name for s in run.systems if s.reference == system.reference].index(system.name)


def _cluster_key(run: Run) -> str:
    keys = [s["ci"]["cluster_key"] for system in run.systems for s in system.document["scores"] if "ci" in s]
    return keys[0] if keys else "cluster"


def _kind(run: Run) -> str:
    """The kind whose references a run has; regions, where there are some beside maps."""
    return next((s.kind for s in run.systems if s.kind == "regions"), run.systems[0].kind)


def _families(run: Run) -> list[Context]:
    scores = run.systems[0].scores
    heads = columns(list(scores))
    found = standing(run)
    families = []
    for family in result.families(run.systems[0].document["task"], list(scores.values())):
        wanted = [sig for sig, s in scores.items() if s["family"] == family]
        rows = [{"name": s.name, "reference": s.reference,
                 "cells": [cell(s, s.scores[sig], found) for sig in wanted]}
                for s in run.systems]
        families.append({
            "name": family, "about": FAMILIES.get(family, ""), "rows": rows,
            "columns": [{"metric": heads[sig][0], "telling": _telling(heads[sig][1], scores[sig]["level"]), "signature": sig,
                         "tie": result.TIE in scores[sig].get("flags", ()),
                         "arrow": ARROWS[scores[sig]["better"]],
                         "direction": direction(scores[sig]["better"])} for sig in wanted],
        })
    return families


def _telling(parameters: str, level: str) -> str:
    """What stands under a metric's name: the parameters that tell its columns apart, and whether it is no mean."""
    return ", ".join(filter(None, [parameters, "one number per set, no mean" if level == "set" else ""]))


def _panels(run: Run) -> list[Context]:
    """A panel per score that has curves, the area's own definition of x beneath it."""
    systems = _in_order(run)
    panels = []
    for signature in run.systems[0].scores:
        lines = []
        for system in systems:
            if signature in system.curves:
                x, curve = system.curves[signature]
                good = np.isfinite(system.values[signature])
                if good.any():
                    kept = [c for c, g in zip(system.clusters, good, strict=True) if g]
                    lines.append((system.name, system.reference, _place(run, system), x, *band(curve[good], kept)))
        if lines:
            label = _axis(signature)
            panels.append({"signature": signature, "svg": Markup(curve_svg(signature, lines, label))})
    return panels


def _axis(signature: str) -> str:
    """What the x of a score's curve counts."""
    known = metrics.catalogue().get(signature.partition("@")[0])
    return "share removed" if known is None else known.axis


def _gallery(run: Run) -> list[Context]:
    if not run.gallery:
        return []
    rows = []
    for picture in run.gallery:
        if picture.concepts:
            rows.append(_named(run, picture))
            continue
        if run.systems[0].kind in told.KINDS:
            rows.append(_told(run, picture))
            continue
        if run.systems[0].kind in prototypes.KINDS:
            rows.append(_prototypes(run, picture))
            continue
        if picture.timeline is not None:
            rows.append(_video(run, picture, picture.timeline))
            continue
        if picture.frames:
            rows.append(_clip(run, picture))
            continue
        if picture.foil is not None:
            rows.append(_changed(run, picture, picture.foil))
            continue
        photo = small(picture.png)
        cells = [(s.name, *_map(s, picture.row, photo)) for s in _in_order(run)]
        rows.append({"item": picture.item_id, "target": picture.target_name, "photo": data_uri(photo), "cells": cells})
    return rows


def _clip(run: Run, picture: Picture) -> Context:
    """A clip with a strip of frames and a looping picture for every map, and where in time relevance lies."""
    frames = pictures.frames(picture.png, picture.frames)
    rows: list[Context] = [{"name": "input", "strip": data_uri(pictures.side_by_side(frames)),
                                   "loop": pictures.looping(frames), "words": ""}]
    lines = []
    for system in _in_order(run):
        values, status = system.map(picture.row)
        if status != OK:
            rows.append({"name": system.name, "words": spelled(status)})
            continue
        values, labels = pictures.split(values, system.kind)
        shown = pictures.overlays(frames, values, system.document["explainer"]["signed"], labels)
        rows.append({"name": system.name, "strip": data_uri(pictures.side_by_side(shown)), "loop": pictures.looping(shown),
                     "words": ""})
        lines.append((system.name, system.reference, _place(run, system), pictures.over_time(values, picture.frames)))
    title = f"relevance over time, {picture.item_id}"
    curve = Markup(pictures.time_svg(title, picture.truth_frames, lines)) if lines else ""
    return {"item": picture.item_id, "target": picture.target_name, "rows": rows, "curve": curve,
            "truth": bool(picture.truth_frames)}


def _changed(run: Run, picture: Picture, foil: counterfactuals.Foil) -> Context:
    """An image with its counterfactuals, and what the model says of each."""
    item = counterfactuals.pixels(picture.png)
    cells = []
    for system in _in_order(run):
        values, status = system.map(picture.row)
        said = foil.sets.get(system.set_folder.name)
        cells.append(counterfactuals.cell(system.name, item, values.astype(np.uint8), status, (said, foil.name)))
    return {"item": picture.item_id, "foil": foil.name, "said": foil.item.words, "photo": counterfactuals.enlarged(item),
            "cells": cells}


def _prototypes(run: Run, picture: Picture) -> Context:
    """An item with the prototypes that add most to its target by every explanation."""
    photo, cells = small(picture.png), []
    for system in _in_order(run):
        values, status = system.map(picture.row)
        words = "" if status == OK else spelled(status)
        explainer, model = system.document["explainer"]["id"], system.document["model"]["id"]
        found = [] if words else prototypes.planes(photo, values, explainer, model)
        cells.append({"name": system.name, "planes": found, "words": words or ("" if found else "none speaks for it")})
    return {"item": picture.item_id, "target": picture.target_name, "photo": data_uri(photo), "prototypes": cells}


def _named(run: Run, picture: Picture) -> Context:
    """An item with the scores of its concepts by every explanation."""
    columns = []
    for system in _in_order(run):
        values, status = system.map(picture.row)
        words = "" if status == OK else spelled(status)
        columns.append(concepts.Column(system.name, system.reference, values.astype(float), words))
    drawn = concepts.svg(f"scores of concepts of {picture.item_id}", picture.concepts, columns)
    return {"item": picture.item_id, "target": picture.target_name, "bars": Markup(drawn),
            "photo": data_uri(small(picture.png)) if picture.png else ""}


def _told(run: Run, picture: Picture) -> Context:
    """An item with what every explanation says of it in words or as a rule: of a video its shots and the model's scores, else
    its picture."""
    classes = store.read_document(run.folder / "model.json", typed.Model)["classes"].get("names", ())
    cells = [{"name": s.name, "reference": s.reference} | told.cell(s.kind, *s.map(picture.row), classes)
             for s in _in_order(run)]
    found: Context = {"item": picture.item_id, "target": picture.target_name, "told": cells, "kind": run.systems[0].kind,
                      "photo": "", "timeline": ""}
    if picture.timeline is not None:
        return found | {"timeline": _drawn(picture, picture.timeline, ())}
    return found | ({"photo": data_uri(small(picture.png))} if picture.png else {})


def _video(run: Run, picture: Picture, video: timeline.Timeline) -> Context:
    """A video with its shots, the model's scores and what every explanation says of its parts."""
    rows = []
    for system in _in_order(run):
        values, status = system.map(picture.row)
        words = "" if status == OK else spelled(status)
        rows.append(timeline.Row(system.name, system.reference, values.astype(float), system.segments(picture.row), words))
    return {"item": picture.item_id, "timeline": _drawn(picture, video, rows)}


def _drawn(picture: Picture, video: timeline.Timeline, rows: Sequence[timeline.Row]) -> Markup:
    """A video from left to right."""
    shots = Image.open(io.BytesIO(picture.png)).convert("RGB") if picture.png else None
    return Markup(timeline.svg(f"timeline of {picture.item_id}", video, shots, rows))


def _map(system: System, row: int, photo: Image.Image) -> tuple[str, str]:
    """The overlay as a data URI, or why there is no map: the zeros stored in its place are not shown as one."""
    values, status = system.map(row)
    if status != OK:
        return "", spelled(status)
    (values, labels), signed = pictures.split(values, system.kind), system.document["explainer"]["signed"]
    return data_uri(overlay(photo, values, signed) if labels is None else pictures.regions(photo, values, labels, signed)), ""


def _cost(system: System) -> Context:
    explain, score = system.document["cost"]["explain"], system.document["cost"]["score"]
    maps = max(explain["maps"], 1)
    return {"name": system.name, "reference": system.reference, "forward": explain["forward_rows"] / maps,
            "backward": explain["backward_rows"] / maps, "ms": 1000 * explain["seconds"] / maps,
            "asked": score["rows_asked"], "run": score["rows_run"], "again": score["explain_rows"], "seconds": score["seconds"],
            "frames": score.get("frames_run"), "peak": system.document["cost"].get("peak_memory_bytes")}


def _command(run: Run) -> str:
    """The command that makes this run again."""
    document = run.document
    return cite.command(
        task=document["task"], model=document["model"], metrics=document["metrics"], scored="set" in document,
        systems=[store.read_document(run.folder / "systems" / f"{s.document['result_id']}.json", typed.System)
                 for s in run.systems if not s.reference], settings=document["settings"])
