"""`python -m oracles.make_vectors` (from tests/) writes spec/vectors from the oracles, never from the harness.

The same call gives the same bytes; on another machine, whose last digits may differ, it leaves what is there. An expected
value of a metric's version that is locked is not changed, and then nothing is written: raise the version, or, as long as
the standard is a draft, say --allow-draft-change.
"""

import argparse
import hashlib
import itertools
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from oracles import edits, implementation, references, references_objects, references_parts, references_told
from oracles.stock import CLASSES, MEAN, STD, Stock, drawn, made_map, made_segments, normalised, target
from oracles.stock_clips import clips, timed
from oracles.stock_concepts import concepts, examples
from oracles.stock_counterfactuals import counterfactuals, foil
from oracles.stock_images import images
from oracles.stock_objects import objects
from oracles.stock_parts import parted
from oracles.stock_prototypes import prototypes
from oracles.stock_rules import rules
from oracles.stock_sequences import sequences
from oracles.stock_texts import texts_of_images, texts_of_sequences

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "spec" / "vectors"
REGISTRY = ROOT / "schemas" / "vxp_schemas" / "registry" / "metrics"
SEED = 7
TOLERANCE = 1e-5
"""Where an oracle states none: float32 models differ by about 1e-7, and sums of them by a little more."""
SAME = 1e-9
"""Two numbers closer than this (over their size, above 1) are one number, computed on two machines."""
QUICK: Mapping[str, Any] = {"steps": 13, "samples": 3, "stages": 3, "least": 0.0}
"""13 steps divide neither the 768 positions of an image nor the 3072 of a clip."""
CLUSTERS = {"random": "a", "native": "b", "ties": "a", "explained": "b"}
"""Two items each; the other maps are clusters of their own."""
Items = list[tuple[str, int | None]]
"""Items: the name of the map, and the truth where it is not the image's own, 3 the empty and 4 the full one."""
TRUTHS: Items = [("random", 3), ("random", 4), ("negative", 3), ("zeros", 3)]
SHOWN: Mapping[str, tuple[Mapping[str, Any], str, tuple[str, ...]]] = {
    "class-changed": ({}, "touchy", ("flat",)), "constant-scores": ({"explanandum": "rank-order"}, "constant", ("random",)),
    "empty-summary": ({"dialect": "ca-sum"}, "cnn", ("unfit", "random")), "single-class": ({}, "single", ("random",)),
    "saturated": ({"rows": "filled"}, "constant", ("ties",)), "too-few-regions": ({}, "cnn", ("flat",)),
    "zero-difference": ({"fill": "mean"}, "cnn", ("flat",)),
    "zero-variance": ({"similarity": "spearman-abs"}, "cnn", ("signs", "flat", "native")),
}
"""What shows a status that no other case has, for every metric that declares it: parameters (those that the metric has),
model and items."""
FACTS = ("id", "parameters", "model", "items", "tolerance", "expected")
"""What is locked of a case: what it asks and expects, not who computed it."""
STOCKS = {("heatmap3d", "sequence"): objects, ("heatmap2d", "classes"): images,
          ("heatmap3d", "classes"): clips, ("temporal", "classes"): timed,
          ("temporal", "sequence"): sequences, ("text", "classes"): texts_of_images,
          ("text", "sequence"): texts_of_sequences, ("rules", "classes"): rules,
          ("counterfactual", "classes"): counterfactuals, ("concepts", "classes"): concepts,
          ("prototypes", "classes"): prototypes}
"""What there is of every kind of explanation, by what the models say."""
DIVIDED = {"part-deletion": parted}
"""What there is for metrics that look at parts of images, in place of what there is for all others."""


# ----------------------------------------------------------------------------------------------------- clips of references


def small_clips() -> dict[str, np.ndarray]:
    """Two clips in input space, the second of one frame, and a mask of the first: what references are made of."""
    raw = [drawn("clip/0", 3, 5, 6, 7), drawn("clip/1", 3, 1, 6, 7)]
    noisy = [(clip - np.array(MEAN)[:, None, None, None]) / np.array(STD)[:, None, None, None] for clip in raw]
    mask = np.zeros((5, 6, 7), bool)
    mask[1:4, 2:5, :3] = mask[4, 0, 6] = True
    return {"clip/0": noisy[0].astype(np.float32), "clip/1": noisy[1].astype(np.float32), "clip-mask/0": mask}


# ---------------------------------------------------------------------------------------------------------------- cases


def item(
    stock: Stock, name: str, model: str, keys: Sequence[str], *, truth: int | None = None, labelled: bool = False,
) -> dict[str, Any]:
    """One item of a case with its truths of these keys, and its labels; the ids are such that their bytes as JSON matter."""
    i, rule, _ = stock.maps[name]
    ids = {0: "0", 1: "éléphant/\"b\"", 2: "photo c", 3: "3", 4: "4"}
    suffix = {None: "", 3: " (empty)", 4: " (full)"}[truth]
    row = i if stock.parts else {3: 5}.get(i, i) if truth is None else truth
    # other people's fixations are judged beside those on the image itself
    wanted = {*keys, *stock.always, *(["fixations"] if "other-fixations" in keys else [])}
    found: dict[str, Any] = {
        "id": f"{ids[i]}|{name}{suffix}", "cluster": CLUSTERS.get(name, name), "target": target(stock, model, i),
        "input": reference(f"input/{stock.prefix}{i}"), "map": reference(f"map/{stock.prefix}{name}"),
        "resample": rule, "signed": True,
        "truth": {key: reference(f"{key}/{stock.prefix}{row}") for key in stock.truths if key in wanted}, "given": [],
    }
    if stock.parts:
        found["parts"] = {unit: reference(f"{unit}/{stock.prefix}{i}") for unit in stock.parts[i]}
        if "users" in keys:
            found["segments"] = reference(f"segments/{stock.prefix}{i}")
    if labelled:
        found["labels"] = labels(stock, model, i)
    if stock.kind is not None:
        found["kind"] = stock.kind
    if stock.kind == "counterfactual":
        found["foil"] = foil(model, i, name, found["target"])
    if stock.concepts:
        found["concepts"] = list(stock.concepts)
    return found


def labels(stock: Stock, model: str, i: int) -> list[int]:
    """The correct classes of an input: the predicted one, two others for the second, none for the third."""
    if i == 2:
        return []
    predicted = target(stock, model, i)
    return [(predicted + 1) % CLASSES, (predicted + 2) % CLASSES] if i == 1 else [predicted]


def reference(tensor: str) -> dict[str, str]:
    return {"file": "data.safetensors", "tensor": tensor}


def cases(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cases of a metric without their answers, of every kind of explanation that it takes."""
    module = implementation.module_of(document["id"])
    found: dict[str, dict[str, Any]] = {}
    said = document.get("outputs", ["classes"])
    for kind, output in itertools.product(document["kinds"], said):
        stock = DIVIDED.get(document["id"], STOCKS[kind, output])()
        for parameters, model, items, keys in questions(document, stock):
            asked = {"parameters": parameters, "model": f"models/{stock.prefix}{model}.json",
                     "items": [item(stock, name, model, keys, truth=truth, labelled=takes(document, "labels"))
                               for name, truth in items]}
            # the same question about fewer items says nothing more
            apart = [name for name, _ in items if name in stock.apart]
            of = kind if output == said[0] else f"{kind} {output}"
            found.setdefault(json.dumps([of, parameters, model, keys, apart], sort_keys=True), {
                "id": f"{document['id']}@{document['version']}/{len(found) + 1}", "metric": document["id"],
                "version": document["version"], "level": document["level"], "clause": document["clause"],
                "truth": document["truth"], "undefined": document["undefined"], "seed": SEED,
                "normalization": stock.normalization, "tolerance": tolerance(module, parameters), **asked,
            })
    return list(found.values())


def questions(document: Mapping[str, Any], stock: Stock) -> Iterator[tuple[dict[str, Any], str, Items, list[str]]]:
    """Parameters, model, items and kinds of truth: quick parameters on all maps, the oracle's variants, the defaults, further
    kinds of truth, and the models on which some scores are not defined."""
    variants = getattr(implementation.module_of(document["id"]), "VARIANTS", [])
    defaults = {p["name"]: p["default"] for p in document["parameters"]}
    quick = defaults | {key: value for key, value in QUICK.items() if key in defaults}
    every: Items = [(name, None) for name in stock.maps if name not in stock.apart]
    # what the items are together matters to a metric of the set
    sound: Items = every if document["level"] == "set" else [(name, None) for name in stock.sound]
    keys: list[str] = [key for key in document["truth"] if key in stock.truths]
    truths = [one for one in TRUTHS if one[0] in stock.maps] if keys and not stock.parts else []
    yield quick, "cnn", every + truths, keys
    for variant in variants:
        yield quick | variant, "cnn", sound, keys
    yield defaults, "cnn", sound[:2], keys
    for key in keys[1:]:  # the first that the item has is taken
        yield quick, "cnn", sound, [key]
    if runs_the_model(document):
        yield quick, "linear", sound, keys
        yield quick, "constant", sound, keys
        if document["level"] == "set":
            for variant in variants:
                yield quick | variant, "linear", sound, keys
    for code in document["undefined"]:
        if code in SHOWN and SHOWN[code][1] in stock.models and set(SHOWN[code][2]) <= stock.maps.keys():
            changes, model, names = SHOWN[code]
            fitting = {key: value for key, value in changes.items() if key in defaults}
            yield quick | fitting, model, [(name, None) for name in names], keys


def runs_the_model(document: Mapping[str, Any]) -> bool:
    """Whether the score of an item depends on the model itself; oracles of the set do not say what they take."""
    if document["level"] == "set":
        return bool(document["family"] in ("faithfulness", "concepts"))
    return takes(document, "model", "representation")


def takes(document: Mapping[str, Any], *what: str) -> bool:
    """Whether the oracle of a metric looks at one of these."""
    return bool(set(what) & set(signature(implementation.oracle_of(document["id"])).parameters))


def tolerance(module: Any, parameters: Mapping[str, Any]) -> float:
    """What the oracle says of its digits; of imputed rows at least what the registry admits between two solutions. No
    prediction of the vectors is so near to another that it changes, so `class-kept` has no tolerance of its own."""
    own = {module.__name__.rpartition(".")[2].replace("_", "-"), *(f"{key}:{value}" for key, value in parameters.items())}
    imputed = [limit for key, limit in admitted().items()
               if set(key.split("|")) <= own and (key.startswith("road-") or "nli" in key) and "readout" not in key]
    return float(max(getattr(module, "TOLERANCE", TOLERANCE), TOLERANCE, *imputed))


@cache
def admitted() -> Mapping[str, float]:
    """The registry's tolerances between two scores in float32, by metric, or by metric and parameters."""
    found: Mapping[str, float] = json.loads((REGISTRY.parent / "tolerances.json").read_text())["classes"]["fp32"]["metrics"]
    return found


def recording(case: dict[str, Any], entry: dict[str, Any], kept: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    """What the oracles may take of an item; every answer they are given is written into the case."""
    found = implementation.sample(case, entry, folder)
    candidates = cache(lambda: list(edits.edits(found, case["parameters"])))
    file = f"given/{case['metric']}@{case['version']}.safetensors"

    def keep(call: dict[str, Any], answer: np.ndarray) -> np.ndarray:
        name = hashlib.sha256(answer.tobytes()).hexdigest()[:16]
        kept[name] = answer
        full = call | {"answer": {"file": file, "tensor": name}}
        if full not in entry["given"]:
            entry["given"].append(full)
        return answer

    def answer(image: np.ndarray, target: int, state: Mapping[str, Any] | None) -> np.ndarray:
        edit = edits.named(image, candidates())
        # what is said of the image of one colour has one value, too
        said = made_map(image, target, state) if found["image"].any() else np.full((6, 8), 0.25, np.float32)
        made = keep({"call": "explain", "input": edit, "target": target, "state": state}, said)
        return implementation.on_grid(made, image.shape[1:], entry["resample"])

    return found | implementation.calls(answer, lambda n: keep({"call": "segment", "n": n}, made_segments(found["image"], n)))


def complete(case: dict[str, Any], kept: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    """The case with what the oracle says, and who said it; `agrees_with` is for the public libraries that say the same."""
    answer = implementation.score(case, [recording(case, entry, kept, folder) for entry in case["items"]])
    file = Path(str(implementation.module_of(case["metric"]).__file__))
    return case | {
        "expected": answer, "computed_by": {
            "file": str(file.relative_to(ROOT)), "digest": "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest(),
            "python": platform.python_version(), "numpy": np.__version__,
        }, "agrees_with": [],
    }


def settled(case: dict[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The case with the numbers that stand already, where these differ by no more than two machines do, with who
    computed them if nothing changed, and with the libraries that were found to agree."""
    if before is None or any(case[key] != before[key] for key in FACTS if key != "expected"):
        return case
    if not same(case["expected"], before["expected"]):
        return case
    old, new = before["computed_by"], case["computed_by"]
    by = old if old["digest"] == new["digest"] and old.keys() == new.keys() else new
    return case | {"expected": before["expected"], "computed_by": by, "agrees_with": before.get("agrees_with", [])}


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are alike but for the last digits of their numbers."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= SAME * max(1.0, abs(one))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


# ----------------------------------------------------------------------------------------------------------- references


def reference_cases() -> list[dict[str, Any]]:
    """What is asked of the references. The oracles' truths are an area at the border, a scattered one, single positions, an
    empty and a full one, and cells alone or beside a mask. leave-one-out is asked of scores that tie, of equal ones, and of a
    single fragment."""

    def case(name: str, i: int, tolerance: float, image: int, **rows: int) -> dict[str, Any]:
        return {"id": f"{name}/{i}", "reference": name, "item": ("0", "éléphant/\"b\"")[i % 2], "tolerance": tolerance,
                "input": reference(f"input/{image}"), "truth": {kind: reference(f"{kind}/{row}") for kind, row in rows.items()},
                "expected": {"file": "references.safetensors", "tensor": f"{name}/{i}"}}

    truths: list[dict[str, int]] = [*({"mask": row} for row in range(5)), {"cells": 0}, {"mask": 0, "cells": 1}]
    of_images = [*(case("random", i, 0.0, i) for i in range(2)), case("centre-gaussian", 0, 1e-6, 0),
                 *(case("edges", i, 1e-6, i) for i in range(4)),
                 *(case(name, i, 0.0, 0, **rows) for name in ("oracle", "oracle-binary") for i, rows in enumerate(truths))]

    def of_clip(name: str, i: int, tolerance: float, truth: bool = False) -> dict[str, Any]:
        found = case(name, i, tolerance, 0)
        mask = {"mask": {"file": "clips.safetensors", "tensor": "clip-mask/0"}} if truth else {}
        return found | {"id": f"clip/{name}/{i}", "input": {"file": "clips.safetensors", "tensor": f"clip/{i}"}, "truth": mask,
                        "expected": found["expected"] | {"tensor": f"clip/{name}/{i}"}}

    def of_sequence(name: str, i: int, tolerance: float, row: int, model: str | None = None) -> dict[str, Any]:
        found = case(name, i, tolerance, 0)
        asked = {} if model is None else {"model": f"models/sequence-{model}.json"}
        return found | {"id": f"sequence/{name}/{i}", "input": reference(f"input/sequence-{row}"),
                        "parts": {"fragment": reference(f"fragment/sequence-{row}")}, **asked,
                        "expected": found["expected"] | {"tensor": f"sequence/{name}/{i}"}}

    def of_foil(name: str, i: int, row: int, known: bool = True) -> dict[str, Any]:
        found = case(name, i, 0.0, 0, **({"classes": row + 2 * (row == 3)} if known else {}))
        truth = {key: reference(f"{at['tensor'].replace('/', '/counterfactual-')}") for key, at in found["truth"].items()}
        return found | {"id": f"counterfactual/{name}/{i}", "input": reference(f"input/counterfactual-{row}"), "truth": truth,
                        "foil": 1 + i, "expected": found["expected"] | {"tensor": f"counterfactual/{name}/{i}"}}

    def of_concepts(name: str, i: int, tolerance: float, model: str = "cnn") -> dict[str, Any]:
        found = case(name, i, tolerance, 0)
        shown = {key: {"file": "concepts.safetensors", "tensor": key} for key in ("on", "off")}
        return found | {"id": f"concepts/{name}/{i}", "input": reference(f"input/concepts-{i}"),
                        "concepts": {"names": ["block", "speck", "grain"], "paired": True, **shown}, "target": i,
                        "model": f"models/concepts-{model}.json",
                        "expected": found["expected"] | {"tensor": f"concepts/{name}/{i}"}}

    left_out = [(0, "cnn"), (2, "cnn"), (1, "linear"), (3, "linear"), (0, "constant")]
    return [*of_images,
            *(of_clip(name, i, 0.0) for name in ("random", "random-coarse") for i in range(2)),
            *(of_clip(name, i, 1e-6) for name in ("centre-gaussian", "edges", "motion") for i in range(2)),
            *(of_clip(name, 0, 0.0, truth=True) for name in ("oracle", "oracle-binary")),
            *(of_sequence("random", i, 0.0, 2 * i) for i in range(2)),
            *(of_sequence("centre-gaussian", i, 1e-6, 2 * i) for i in range(2)),
            *(of_sequence("leave-one-out", i, 1e-6, row, model) for i, (row, model) in enumerate(left_out)),
            *(of_foil("noise-equal", i, row, bool(i)) for i, row in enumerate((0, 3))), of_foil("rerendered", 0, 1),
            *(of_concepts("random-concepts", i, 1e-6) for i in range(2)), of_concepts("cav-accuracy", 0, 1e-6),
            *(of_concepts("cace", i, 1e-5, model) for i, model in enumerate(("cnn", "linear"))),
            *references_told.cases(), *references_parts.cases(), *references_objects.cases()]


def of_examples(case: Mapping[str, Any], folder: Path) -> np.ndarray:
    """The scores of a reference of concepts."""
    model, shown = implementation.network_of(folder, case["model"]), case["concepts"]
    if case["reference"] == "random-concepts":
        return references.random_concepts(len(shown["names"]), case["item"], SEED)
    on, off = ([normalised(images.astype(np.float32) / 255) for images in implementation.read(folder, shown[key])]
               for key in ("on", "off"))
    if case["reference"] == "cace":
        return references.cace(*([[model(image)[0] for image in of] for of in group] for group in (on, off)), case["target"])
    # what the network says before its last linear layer is what its last layer with a grid says
    return references.cav_accuracy(*([[model(image)[1] for image in of] for of in group] for group in (on, off)))


def write_references(folder: Path) -> None:
    """The references' vectors: what is asked, and the maps."""
    maps, cases = {}, reference_cases()
    for case in cases:
        image, truth = implementation.read(folder, case["input"]).astype(np.float64), {
            kind: implementation.read(folder, at) for kind, at in case["truth"].items()}
        if case["id"].startswith(("text/", "rules/")):
            maps[case["id"]] = references_told.made(case, folder, SEED, (MEAN, STD))
            continue
        if case["id"].startswith("objects/"):
            maps[case["id"]] = references_objects.made(case, folder, SEED, (MEAN, STD))
            continue
        if case["id"].startswith("parts/"):
            maps[case["id"]] = references_parts.made(case, folder, SEED, (MEAN, STD))
            continue
        if "parts" in case:
            model = implementation.network_of(folder, case["model"]) if "model" in case else None
            maps[case["id"]] = references.of_fragments(
                case["reference"], case["item"], SEED, image, implementation.divided(case, folder)["fragment"].tolist(),
                None if model is None else lambda row, said=model: said(row)[0])
            continue
        if "concepts" in case:
            maps[case["id"]] = of_examples(case, folder).astype(np.float32)
            continue
        if "foil" in case:
            maps[case["id"]] = truth["classes"][case["foil"]] if case["reference"] == "rerendered" else references.noise_equal(
                image, case["item"], SEED, truth, case["foil"], (MEAN, STD))
            continue
        mean, std = (np.array(values).reshape(3, *[1] * (image.ndim - 1)) for values in (MEAN, STD))
        raw = image * std + mean
        maps[case["id"]] = references.made(case["reference"], case["item"], SEED, raw, truth)
    file = Path(str(references.__file__))
    by = {"file": str(file.relative_to(ROOT)), "digest": "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()}
    write_json(folder / "references.json", {"seed": SEED, "normalization": {"mean": MEAN, "std": STD}, "computed_by": by,
                                            "cases": cases})
    save_file({key: maps[key] for key in sorted(maps)}, folder / "references.safetensors")


# -------------------------------------------------------------------------------------------------------------- writing


def expected_digest(found: Sequence[Mapping[str, Any]]) -> str:
    """Digest of what a metric's cases ask and expect; not of who computed it."""
    facts = [{key: case[key] for key in FACTS} for case in found]
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_data(folder: Path) -> None:
    """Inputs, maps, truths and models."""
    (folder / "models").mkdir(parents=True, exist_ok=True)
    stocks = [stock() for stock in (*STOCKS.values(), *DIVIDED.values())]
    found = {name: np.ascontiguousarray(value) for stock in stocks for name, value in stock.tensors().items()}
    save_file(found, folder / "data.safetensors")
    save_file(small_clips(), folder / "clips.safetensors")
    save_file(examples(), folder / "concepts.safetensors")
    save_file(references_told.known(), folder / "rules.safetensors")
    for stock, name, (operations, weights) in ((s, f"{s.prefix}{name}", model) for s in stocks
                                               for name, model in s.models.items()):
        save_file(weights, folder / "models" / f"{name}.safetensors")
        output = {} if stock.output == "classes" else {"output": stock.output}
        write_json(folder / "models" / f"{name}.json",
                   {**output, "operations": operations, "weights": f"models/{name}.safetensors"})


def write_cases(document: Mapping[str, Any], folder: Path) -> str:
    """The cases of a metric, and what they give; returns their digest."""
    name, kept = f"{document['id']}@{document['version']}", {}
    there = FOLDER / "cases" / f"{name}.json"
    before = {case["id"]: case for case in json.loads(there.read_text(encoding="utf-8"))} if there.exists() else {}
    found = [settled(complete(case, kept, folder), before.get(case["id"])) for case in cases(document)]
    write_json(folder / "cases" / f"{name}.json", found)
    if kept:
        (folder / "given").mkdir(exist_ok=True)
        save_file({key: kept[key] for key in sorted(kept)}, folder / "given" / f"{name}.safetensors")
    print(f"{name}: {len(found)} cases", flush=True)
    return expected_digest(found)


def documents(metrics: Sequence[str], registry: Path = REGISTRY) -> list[dict[str, Any]]:
    """The registry's documents of these metrics, of all where none is named. Raises LookupError for one that is not there."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(registry.glob("*.json"))]
    missing = set(metrics) - {d["id"] for d in found}
    if missing:
        raise LookupError(f"no registry document of {', '.join(sorted(missing))}: make registry writes it")
    return [d for d in found if not metrics or d["id"] in metrics]


def refused(lock: Mapping[str, str], made: Mapping[str, str], draft: bool) -> list[str]:
    """The metrics whose locked values would change, unless the standard is a draft and a change is allowed."""
    return [name for name, digest in made.items() if lock.get(name, digest) != digest and not draft]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", default="", help="ids with commas; all where left out")
    parser.add_argument("--allow-draft-change", action="store_true", help="change what is locked; drafts of the standard only")
    options = parser.parse_args(arguments)
    try:
        wanted = documents([m for m in options.metrics.split(",") if m])
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    lock_file = FOLDER / "LOCK.json"
    lock = json.loads(lock_file.read_text()) if lock_file.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        write_references(folder)
        made = {f"{d['id']}@{d['version']}": write_cases(d, folder) for d in wanted}
        draft = options.allow_draft_change and all("-draft" in d["spec_version"] for d in wanted)
        if faults := refused(lock, made, draft):
            print(f"{', '.join(faults)}: other values than the locked ones; nothing is written. Raise the metric's version, "
                  "or, while the standard is a draft, say --allow-draft-change", file=sys.stderr)
            return 1
        for metric in made:
            (FOLDER / "given" / f"{metric}.safetensors").unlink(missing_ok=True)
        shutil.copytree(folder, FOLDER, dirs_exist_ok=True)
    write_json(lock_file, dict(sorted((lock | made).items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
