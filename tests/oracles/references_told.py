"""The fixed references that are read, texts and rules, and what is asked of them: slow, and written from section 6.4."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from oracles import implementation, philox, removals
from oracles.stock import drawn
from oracles.stock_texts import NAMES

Case = dict[str, Any]
CONCEPTS = ("round", "red", "ground")
ROWS = 7
"""Examples on either side of every concept: those of concepts.safetensors."""
LENGTHS = {"text": 8192, "rules": 4096}
Literals = list[tuple[str, bool]]


def known() -> dict[str, np.ndarray]:
    """All concepts and the class of the examples: what does not hold of the examples that have not a concept is random, and the
    class follows from the formula but for a few."""
    values = drawn("rules/values", 2, len(CONCEPTS), ROWS, len(CONCEPTS)) < 0.5
    for k in range(len(CONCEPTS)):
        values[0, k, :, k], values[1, k, :, k] = False, True
    right = np.where(values[..., 0], values[..., 1], values[..., 2])
    return {"values": values, "labels": (right ^ (drawn("rules/noise", *right.shape) < 0.1)).astype(np.int64)}


def cases() -> list[Case]:
    """What is asked, beside what is asked of maps."""
    def case(kind: str, name: str, i: int, inputs: str, **more: Any) -> Case:
        return {"id": f"{kind}/{name}/{i}", "reference": name, "item": ("0", "éléphant/\"b\"")[i % 2], "tolerance": 0.0,
                "input": tensor(inputs), "truth": {},
                "expected": {"file": "references.safetensors", "tensor": f"{kind}/{name}/{i}"}, **more}

    texts = []
    for name in ("random-words", "causal-words", "true-not-causal"):
        texts += [case("text", name, i, f"input/words-sequence-{row}", model=f"models/words-sequence-{model}.json",
                       parts={"fragment": tensor(f"fragment/words-sequence-{row}")})
                  for i, (row, model) in enumerate(((0, "cnn"), (2, "cnn"), (1, "linear")))]
        texts += [case("text", name, 3 + i, f"input/words-image-{row}", model="models/words-image-cnn.json", named=list(NAMES),
                       target=row) | {"truth": {"without": tensor(f"without/words-image-{row + 2 * (row == 3)}")}}
                  for i, row in enumerate((0, 1, 3))]
    files = {"on": "concepts", "off": "concepts", "values": "rules", "labels": "rules"}
    bank = {"names": list(CONCEPTS), "paired": False,
            **{key: {"file": f"{file}.safetensors", "tensor": key} for key, file in files.items()}}
    return [*texts, *(case("rules", name, i, f"input/rules-{i}", model="models/rules-cnn.json", concepts=bank, target=i)
                      for name in ("rule-majority", "rule-tree", "rule-formula") for i in range(2))]


def tensor(name: str) -> dict[str, str]:
    return {"file": "data.safetensors", "tensor": name}


def made(case: Case, folder: Path, seed: int, normalization: tuple[Sequence[float], Sequence[float]]) -> np.ndarray:
    """The bytes of a reference, zeros behind them."""
    kind = case["id"].partition("/")[0]
    said = rule(case, folder) if kind == "rules" else text(case, folder, seed, normalization)
    data = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    return np.frombuffer(data.ljust(LENGTHS[kind], b"\0"), np.uint8)


# ---------------------------------------------------------------------------------------------------------------- texts


def text(case: Case, folder: Path, seed: int, normalization: tuple[Sequence[float], Sequence[float]]) -> Mapping[str, Any]:
    image = implementation.read(folder, case["input"]).astype(np.float64)
    parts = implementation.divided(case, folder)["fragment"].tolist() if "parts" in case else []
    names = case.get("named") or [str(k + 1) for k in range(max(parts) + 1)]
    if case["reference"] == "random-words":
        u = philox.uniforms(philox.key(seed, case["item"], "random-words@1", "order"), 0, len(names))[0]
        order = sorted(range(len(names)), key=lambda k: (-np.float32(u[k]), k))[:3]
    else:
        model = implementation.network_of(folder, case["model"])
        truths = {key: implementation.read(folder, at) for key, at in case["truth"].items()}
        found = removals.effects(lambda row: model(row)[0], image, case.get("target", -1), parts, truths, names, *normalization,
                                 "zero")
        effects = list(found.values())
        true = [list(found).index(one) for one in removals.causes(found, 0.5)]
        falling = sorted(range(len(effects)), key=lambda k: (-np.float32(effects[k]), k))
        order = [k for k in falling if k in true] if case["reference"] == "causal-words" else [
            k for k in falling[::-1] if k not in true][: len(true)]
    return worded("part" if "named" in case else "shot", [names[k] for k in order])


def worded(attribute: str, values: Sequence[str]) -> Mapping[str, Any]:
    """The sentence of the template."""
    of_shots = attribute == "shot"
    what = "The order of the frames" if of_shots else "The answer"
    told = [f"shot {value}" if of_shots else f"the {value}" for value in values]
    if not told:
        return {"text": f"{what} hangs on no single {attribute}.", "claims": []}
    listed = ", then ".join(told[:-1]) + (" and then " if len(told) > 1 else "") + told[-1]
    return {"text": f"{what} hangs most on {listed}.",
            "claims": [{"attribute": attribute, "value": value, "role": "cause"} for value in values]}


# ---------------------------------------------------------------------------------------------------------------- rules


def rule(case: Case, folder: Path) -> Mapping[str, Any]:
    values, labels = (implementation.read(folder, case["concepts"][key]) for key in ("values", "labels"))
    rows = [dict(zip(CONCEPTS, row.tolist(), strict=True)) for row in values.reshape(-1, len(CONCEPTS))]
    classes = [int(c) for c in labels.reshape(-1)]
    if case["reference"] == "rule-majority":
        return document([[]], most(classes), None)
    if case["reference"] == "rule-formula":
        return document([[("round", True), ("red", True)], [("round", False), ("ground", True)]], 1, 0)
    leaves = grown(rows, classes, 3)
    others = {said for _, said in leaves} - {case["target"]}
    return document([literals for literals, said in leaves if said == case["target"]], case["target"],
                    others.pop() if len(others) == 1 else None)


def document(alternatives: Sequence[Literals], says: int, otherwise: int | None) -> Mapping[str, Any]:
    return {"rule": [[{"concept": concept, "is": holds} for concept, holds in literals] for literals in alternatives],
            "says": says, "otherwise": otherwise}


def most(classes: Sequence[int]) -> int:
    return min(Counter(classes), key=lambda c: (-classes.count(c), c))


def impurity(classes: Sequence[int]) -> Fraction:
    return len(classes) - sum((Fraction(n * n, len(classes)) for n in Counter(classes).values()), Fraction(0))


def grown(rows: Sequence[Mapping[str, bool]], classes: Sequence[int], depth: int) -> list[tuple[Literals, int]]:
    """The leaves, those that have the concept before those that have it not; two that say the same are one."""
    def side(concept: str, holds: bool) -> list[int]:
        return [i for i, row in enumerate(rows) if row[concept] is holds]

    allowed = [c for c in CONCEPTS if min(len(side(c, True)), len(side(c, False))) >= 5]
    after = {c: sum(impurity([classes[i] for i in side(c, holds)]) for holds in (True, False)) for c in allowed}
    best = min(allowed, key=lambda c: (after[c], CONCEPTS.index(c)), default=None)
    if depth == 0 or best is None or after[best] >= impurity(classes):
        return [([], most(classes))]
    found = []
    for holds in (True, False):
        kept = side(best, holds)
        found += [([(best, holds), *literals], said)
                  for literals, said in grown([rows[i] for i in kept], [classes[i] for i in kept], depth - 1)]
    return [([], found[0][1])] if len({said for _, said in found}) == 1 else found
