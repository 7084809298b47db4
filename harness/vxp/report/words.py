"""How scores are written for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from vxp_schemas import typed

Context = dict[str, Any]
"""What a template is rendered with, or a part of it."""
PERCENT = ("average-drop", "increase-in-confidence", "average-gain")
"""Fractions that the literature prints as percent."""

FAMILIES = {
    "faithfulness": "Does the map name the pixels that the model used? Pixels are removed or shown in its order.",
    "localisation": "Does the map lie on the object? A model may rightly use more or less than the object.",
    "sanity": "Does the map depend on the model's parameters and on the class?",
    "robustness": "Does the map stay the same under small noise? Says nothing about whether it is right.",
    "complexity": "Is the map concise? A concise map can be wrong.",
    "axioms": "Does the map keep what its theory asks of it?",
    "composite": "Several questions in one number: read their parts as well.",
    "alignment": "Does the map lie where people look? Plausible is not faithful.",
    "counterfactual": "Does the model change its answer, and by how small a change? Adversarial noise does best: never read "
                      "these scores alone.",
    "semantics": "Does the image look like the class that it was made for, and is nothing else changed? Judged by exact "
                 "re-renderings.",
    "prototypes": "Is a prototype found on one part of all images of its class? What the model uses is not asked.",
    "concepts": "Do the scores name the concepts that matter to the class, and no others? What matters is known by rendering "
                "every item with each concept off and on.",
    "description": "What the map is like. Neither direction is better, so nobody is compared.",
}

def grey(kind: str, oracles: bool) -> str:
    """What the references of a kind of explanation stand for; oracles: whether there are such that know the truth of maps."""
    if kind == "counterfactual":
        return ("noise-equal, noise as strong as the true change, is the floor, and rerendered, where there is one, the truth: "
                "the item rendered anew as the foil. A score that puts another image above it does not measure what it is read "
                "for.")
    if kind == "concepts":
        return ("random-concepts is the floor; cav-accuracy says how well a concept can be decoded, which knows nothing of the "
                "class; and cace, where there is one, is what the concepts cause. A method that does no better than "
                "cav-accuracy has shown what is there and not what is used.")
    if kind == "prototypes":
        return ("random-patches, prototypes found anywhere, is the floor, and part-template, a prototype for every part, the "
                "ceiling. Both know nothing of the model.")
    if kind == "regions":
        return ("part-random and random are the floor; part-area and part-centre know where the parts are and nothing of the "
                "model; part-drop, where there is one, is what the model loses without each part, the ceiling of part-deletion "
                "and of nothing else. What lies on parts lies on the object, so that all references of parts are at the "
                "ceiling of localisation.")
    ceiling = ", the oracles, which know the truth, are the ceiling of localisation and of nothing else" if oracles else ""
    return (f"random is the floor{ceiling}, and a method that does no better than a centred blob or an edge filter has shown "
            "little.")


ARROWS = {"higher": "↑", "lower": "↓", "neither": "–"}


def direction(better: str) -> str:
    """Which direction of a score is better, in words."""
    return "neither direction is better" if better == "neither" else f"{better} is better"


def number(value: float, metric: str) -> str:
    if metric in PERCENT:
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def interval(ci: typed.Ci | None, metric: str) -> str:
    """The interval of a mean in brackets; empty where there is none."""
    if ci is None:
        return ""
    lo, hi = (number(end, metric).removesuffix(" %") for end in (ci["lo"], ci["hi"]))
    return f"[{lo}, {hi}]"


Score = typed.ResultScore | typed.LeaderboardTableEntryScore | typed.LeaderboardTableReferenceScore


def spelled(status: str) -> str:
    """A status in words: 'not run: budget'."""
    return status.replace(":", ": ").replace("-", " ")


def statuses(score: Score) -> str:
    """What is not `ok`, in words: '3 constant map', 'not run: budget'."""
    others = {k: v for k, v in score.get("statuses", {}).items() if k != "ok"}
    words = []
    for status, count in others.items():
        said = spelled(status)
        words.append(said if count == score["n"] else f"{count} of {score['n']} {said}")
    return "; ".join(words)


def note(score: Score) -> str:
    """What stands beside the number, or in its place: a metric of the set may have none though every item is `ok`."""
    return statuses(score) or ("" if "mean" in score else "no number")


def names(explainers: Sequence[typed.Method]) -> list[str]:
    """Names that tell explainers apart: the id, with the parameters that differ where one id is there twice."""
    ids = Counter(e["id"] for e in explainers)
    found = []
    for explainer in explainers:
        alike = [e["parameters"] for e in explainers if e["id"] == explainer["id"]]
        own = [f"{k}:{v}" for k, v in explainer["parameters"].items() if any(p.get(k) != v for p in alike)]
        found.append("|".join([explainer["id"], *own]) if ids[explainer["id"]] > 1 else str(explainer["id"]))
    return found


def columns(signatures: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Per signature its metric id and the parameters that tell columns apart (or all, where only one stands)."""
    heads = {s: (s.split("|")[0].split("@")[0], s.split("|")[1:]) for s in signatures}
    found = {}
    for signature, (metric, parameters) in heads.items():
        same = [p for s, (m, p) in heads.items() if m == metric]
        telling = [p for p in parameters if len(same) > 1 and any(p not in other for other in same)]
        found[signature] = (metric, ", ".join(p.replace(":", " ") for p in telling))
    return found
