"""The plain second implementation: scores the cases of the conformance vectors with the oracles, in NumPy."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from oracles import NotFiniteError, UndefinedError, curves, edits, maps, network, statuses

Case = Mapping[str, Any]


@cache
def tensors(path: Path) -> Mapping[str, np.ndarray]:
    loaded: Mapping[str, np.ndarray] = load_file(path)
    return loaded


def read(folder: Path, reference: Mapping[str, str]) -> np.ndarray:
    """The tensor that a reference names."""
    return tensors(inside(folder, reference["file"]))[reference["tensor"]]


def inside(folder: Path, name: str) -> Path:
    """The file of this name. Raises LookupError for one outside the folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise LookupError(f"{name} is not inside the folder of the vectors")
    return path


def module_of(metric: str) -> Any:
    return import_module(f"oracles.{metric.replace('-', '_')}")


def oracle_of(metric: str) -> Callable[..., Any]:
    oracle: Callable[..., Any] = getattr(module_of(metric), metric.replace("-", "_"))
    return oracle


def network_of(folder: Path, name: str) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The model of a case: image -> logits and representation."""
    described = json.loads(inside(folder, name).read_text(encoding="utf-8"))
    weights = tensors(inside(folder, described["weights"]))
    return lambda image: network.forward(image, described["operations"], weights)


def sample(case: Case, item: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the oracles may take of an item."""
    model = network_of(folder, case["model"])
    truths = {key: read(folder, reference) for key, reference in item["truth"].items()}
    first = next((truths[key] for key in case["truth"] if key in truths), None)
    return {
        "model": lambda image: model(image)[0], "representation": lambda image: model(image)[1],
        "image": read(folder, item["input"]).astype(np.float64), "attribution": shown(case, item, folder, item["map"]),
        "parts": parts["fragment"].tolist() if "fragment" in (parts := divided(item, folder)) else [],
        "objects": parts["object"].tolist() if "object" in parts else [],
        "pieces": parts["part"].tolist() if "part" in parts else [], "labels": item.get("labels", []),
        "shots": [tuple(s) for s in read(folder, item["segments"]).tolist()] if "segments" in item else [],
        "target": item["target"], "truth": first, "truths": truths, "mean": case["normalization"]["mean"],
        "std": case["normalization"]["std"], "seed": case["seed"], "item": item["id"],
        "payload": read(folder, item["map"]), "foil": item.get("foil"), "concepts": item.get("concepts", []),
    }


def divided(item: Mapping[str, Any], folder: Path) -> dict[str, np.ndarray]:
    """The part of every step, by unit."""
    return {unit: read(folder, reference) for unit, reference in item.get("parts", {}).items()}


def shown(case: Case, item: Mapping[str, Any], folder: Path, reference: Mapping[str, str]) -> np.ndarray:
    """The map that a reference names, as the oracles take it; of scores of parts the one of every step."""
    if item["resample"] in ("fragment", "frame", "second"):
        values, of = read(folder, reference), divided(item, folder)
        return values if item["resample"] == "frame" else np.asarray(values[of[item["resample"]]])
    return on_grid(read(folder, reference), read(folder, item["input"]).shape[1:], item["resample"])


def on_grid(native: np.ndarray, space: tuple[int, ...], rule: str) -> np.ndarray:
    """The map as the oracles take it: of a clip, and by the rule `nearest`, on the grid of the input; else as it is, since they
    know the rule `bilinear`."""
    if len(space) == 3:
        return maps.on_clip(native, space, rule)
    if rule != "nearest":
        return native
    h, w = native.shape
    rows = [math.floor((y + 0.5) * h / space[0]) for y in range(space[0])]
    columns = [math.floor((x + 0.5) * w / space[1]) for x in range(space[1])]
    return np.asarray(native[np.ix_(rows, columns)])


def replayed(case: Case, item: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same with the explainer's and the segmenter's answers as the case gives them."""
    found = sample(case, item, folder)
    candidates = cache(lambda: list(edits.edits(found, case["parameters"])))

    def answer(image: np.ndarray, target: int, state: Mapping[str, Any] | None) -> np.ndarray:
        edit = edits.named(image, candidates())
        for given in item["given"]:
            if given["call"] == "explain" and (given["input"], given["target"], given["state"]) == (edit, target, state):
                return shown(case, item, folder, given["answer"])
        raise LookupError(f"case {case['id']}, item {item['id']!r} gives no map for {edit}, class {target}, {state}")

    def segments(n: int) -> np.ndarray:
        return next(read(folder, g["answer"]) for g in item["given"] if g["call"] == "segment" and g["n"] == n)

    return found | calls(answer, segments)


def calls(
    answer: Callable[[np.ndarray, int, Mapping[str, Any] | None], np.ndarray], segments: Callable[[int], np.ndarray]
) -> dict[str, Any]:
    """The oracles' ways to explain again, from one function of image, class and state."""

    def randomised(
        stream: str, image: np.ndarray, target: int, mode: str = "all", stage: int = 1, stages: int = 1
    ) -> np.ndarray:
        return answer(image, target, {"state": "randomised", "stream": stream, "mode": mode, "stage": stage, "stages": stages})

    return {
        "explain": lambda image, target: answer(image, target, None), "explain_randomised": randomised,
        "explain_compensated": lambda amount, image, target: answer(image, target, {"state": "compensated", "amount": amount}),
        "explain_relabelled": lambda image, target: answer(image, target, {"state": "relabelled"}), "segments": segments,
    }


def score(case: Case, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Values and statuses of a case, and the number of the set for a metric of the set."""
    oracle = oracle_of(case["metric"])
    status = [statuses.seen(s, case["undefined"]) for s in samples]
    if case["level"] == "set":
        open_ = any(code not in statuses.SEEN for code in case["undefined"])
        # an item alone shows what map and truth do not decide
        status = [s or (alone(oracle, case, i, one) if open_ or statuses.wide(one) else None)
                  for i, (s, one) in enumerate(zip(status, samples, strict=True))]
        good = [i for i, s in enumerate(status) if s is None]
        try:
            of_set = oracle([samples[i] for i in good], [case["items"][i]["cluster"] for i in good], **case["parameters"])
        except ZeroDivisionError:
            of_set = None
        return {"values": None, "status": [s or "ok" for s in status], "set": of_set}
    needs = [p.name for p in signature(oracle).parameters.values() if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    values: list[float | None] = []
    shown: list[list[float] | None] = []
    for i, one in enumerate(samples):
        value = None
        curves.LAST.clear()
        if status[i] is None:
            try:
                value = float(oracle(*[one[need] for need in needs], **case["parameters"]))
                status[i] = "ok"
            except UndefinedError as reason:
                status[i] = f"undefined:{reason}"
            except ZeroDivisionError:
                status[i] = statuses.divided(case["undefined"])
            except NotFiniteError:
                status[i] = "failed:non-finite-score"
        values.append(value)
        shown.append(curves.LAST[0] if curves.LAST and value is not None else None)
    found = {"values": values, "status": status, "set": None}
    return found | {"curves": shown} if any(shown) else found


def alone(oracle: Callable[..., Any], case: Case, i: int, one: dict[str, Any]) -> str | None:
    """The status of an item of which the set would have no number if it were the only one."""
    try:
        oracle([one], [case["items"][i]["cluster"]], **case["parameters"])
    except ZeroDivisionError:
        return statuses.divided(case["undefined"])
    except NotFiniteError:
        return "failed:non-finite-score"
    return None


def answered(case: Case, folder: Path) -> dict[str, Any]:
    """The protocol's answer to a case."""
    try:
        found = score(case, [replayed(case, item, folder) for item in case["items"]])
    except ModuleNotFoundError as error:
        own = (error.name or "").startswith("oracles")
        return {"op": "skipped", "id": case["id"], "reason": f"no oracle of {case['metric']}" if own else str(error)}
    except Exception as error:  # the driver reports it, and the next case goes on
        return {"op": "error", "id": case["id"], "message": f"{type(error).__name__}: {error}"}
    return {"op": "result", "id": case["id"], **found}
