"""`python -m vxp.maintain.freeze TASK [--check]` makes a task's list of items again, byte for byte, and seals its card.

The data set's candidates are taken in their order. Where targets are predicted, a candidate is kept if the model's
prediction is one of its right classes, and the prediction is frozen as its target; where the data set has a rule of its own
(`chosen`), that rule says both; otherwise every candidate is kept. A task that admits other models as well (`also_models`)
freezes no predictions: a class of one is none of another, and each explains its own.
No cluster gives more than its share of the items. The list is stored in bytewise order of item_id. Sealing writes the
digests of data set, model and list into the card.

With `--set` it is a data set that is named, one whose list ends: all of its items are frozen, `sets/ID@VERSION.json`, and its
document gets the digest of that list.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import TextIO

import torch
import vxp_schemas
from torch import Tensor
from vxp_schemas import typed

from vxp import datasets, models
from vxp.core import VxpError
from vxp.datasets._images import pixel_sha256
from vxp.documents import Listed
from vxp.models import Model

CANDIDATES = 20
"""Candidates looked at, per item wanted, before giving up."""

Predict = Callable[[Tensor], Tensor]


def frozen(card: typed.Task, predict: Predict) -> list[Listed]:
    """The rows of a task's list of items; predict maps an image uint8 [3, H, W], or a clip [3, T, H, W], to logits
    [K]."""
    source = datasets.source(card["dataset"]["id"])
    absent = source.missing()
    if absent:
        raise VxpError(f"task {card['id']}: {absent}")
    wanted, taken = card["budget"]["items"], Counter[str]()
    rows: list[Listed] = []
    for item in islice(source.propose(card["seed"]), CANDIDATES * wanted):
        if len(rows) < wanted and taken[item.cluster] < source.share:
            row = _row(item, source, card["targets"], predict)
            if row is not None and card["targets"] == "predicted" and card.get("also_models"):
                row["target"] = None
            rows += [row] if row else []
            taken[item.cluster] += bool(row)
    if len(rows) < wanted:
        raise VxpError(f"task {card['id']}: only {len(rows)} items among {CANDIDATES * wanted} candidates, "
                       f"expected {wanted}")
    return sorted(rows, key=lambda row: str(row["item_id"]).encode())


def _row(item: datasets.Item, source: datasets.Source, targets: str, predict: Predict) -> Listed | None:
    image, target = source.load(item).image, item.target
    choose = source.chosen or (_predicted if targets == "predicted" else None)
    if choose is not None:
        target = choose(item, predict(image))
        if target is None:
            return None
    return _listed(item, image, target)


def _listed(item: datasets.Item, image: Tensor, target: int | None) -> Listed:
    return {"item_id": item.id, "cluster": item.cluster, "target": target, "label": list(item.label),
            "pixel_sha256": pixel_sha256(image), "recipe": dict(item.recipe)}


def _predicted(item: datasets.Item, logits: Tensor) -> int | None:
    """The predicted class, None where it is not one of the item's."""
    found = int(logits.argmax())
    return found if found in item.label else None


def listed(rows: list[Listed]) -> bytes:
    """The bytes of a list of items: a JSON array, one row in RFC 8785 form per line."""
    return b"[\n" + b",\n".join(vxp_schemas.canonical(row) for row in rows) + b"\n]\n"


def sealed(card: typed.Task, items: bytes | None) -> bytes:
    """The bytes of a card with the digests of its data set, models and list of items."""
    full = card.copy()
    full["dataset"] = _reference("datasets", card["dataset"])
    full["model"] = _reference("models", card["model"])
    if "also_models" in card:
        full["also_models"] = [_reference("models", model) for model in card["also_models"]]
    if items is not None:
        path = f"items/{card['id']}@{card['version']}.json"
        full["items"] = {"path": path, "digest": "sha256:" + hashlib.sha256(items).hexdigest(), "size": len(items),
                         "rows": len(json.loads(items))}
    vxp_schemas.validate(full)
    return (json.dumps(full, indent=2, ensure_ascii=False) + "\n").encode()


def whole(source: datasets.Source) -> list[Listed]:
    """The rows of all items of a data set whose list ends, of seed 0."""
    rows = [_listed(item, source.load(item).image, item.target) for item in source.propose(0)]
    return sorted(rows, key=lambda row: str(row["item_id"]).encode())


def with_items(document: typed.Dataset, items: bytes) -> bytes:
    """The bytes of a data set's document with the digest of the list of its items."""
    rows = len(json.loads(items))
    path = f"sets/{document['id']}@{document['version']}.json"
    full = document | {"items": {"path": path, "digest": "sha256:" + hashlib.sha256(items).hexdigest(), "size": len(items),
                                 "rows": rows}, "n_items": rows}
    vxp_schemas.validate(full)
    return (json.dumps(full, indent=2, ensure_ascii=False) + "\n").encode()


def _reference(kind: str, ref: typed.Ref) -> typed.Ref:
    return vxp_schemas.reference(vxp_schemas.registry_document(kind, f"{ref['id']}@{ref['version']}"))


def predictor(model: Model) -> Predict:
    """What a model says, logits [K], of an image uint8 [3, H, W], or a clip [3, T, H, W]."""

    @torch.no_grad()
    def predict(image: Tensor) -> Tensor:
        logits: Tensor = model.module(model.normalization.to_inputs(image[None].float() / 255, image.ndim - 1))
        return logits[0]

    return predict


def main(arguments: list[str], out: TextIO = sys.stdout) -> int:
    """Write, or with --check compare, the list of items and the card; 1 where they differ."""
    parser = argparse.ArgumentParser(prog="python -m vxp.maintain.freeze",
                                     description="Make a task's list of items again and seal its card.")
    parser.add_argument("task")
    parser.add_argument("--set", action="store_true", help="it is a data set that is named, and all of its items are listed")
    parser.add_argument("--check", action="store_true", help="compare with the stored list and write nothing")
    given = parser.parse_args(arguments)
    made = _set(given.task) if given.set else _task(given.task)
    differing = [path for path, content in made.items() if not path.is_file() or path.read_bytes() != content]
    for path in differing:
        if not given.check:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(made[path])
        out.write(f"{path}: {'differs' if given.check else 'written'}\n")
    if not differing:
        out.write(f"{given.task}: as stored\n")
    return 1 if given.check and differing else 0


def _registry() -> Path:
    return Path(str(files("vxp_schemas").joinpath("registry")))


def _task(id: str) -> dict[Path, bytes]:
    """The files of a task: its card, and its list unless it is a template."""
    card = vxp_schemas.registry_document("tasks", id)
    name = f"{card['id']}@{card['version']}.json"
    items = None
    if card["status"] != "template":
        items = listed(frozen(card, predictor(models.load(card["model"]["id"]))))
    return {_registry() / "tasks" / name: sealed(card, items)} | ({_registry() / "items" / name: items} if items else {})


def _set(id: str) -> dict[Path, bytes]:
    """The files of a data set with a list of its own: its document and the list."""
    document = vxp_schemas.registry_document("datasets", id)
    name, items = f"{document['id']}@{document['version']}.json", listed(whole(datasets.source(id)))
    return {_registry() / "datasets" / name: with_items(document, items), _registry() / "sets" / name: items}


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except VxpError as error:
        sys.exit(f"error: {error}")
