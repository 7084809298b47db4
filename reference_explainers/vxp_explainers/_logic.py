"""Rules of concepts: a small decision tree over the concepts of examples, its leaves as a rule, and formulas that are read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from vxp.core import Bank, Batch, VxpError
from vxp.documents.rules import Alternative, Literal, Rule

from vxp_explainers._common import check_at_least

Leaf = tuple[Alternative, int]
"""The literals on the way to a leaf, and the class that most examples in it have."""


def examples(explainer: str, batch: Batch) -> Bank:
    """The examples of concepts, all of whose concepts are known; VxpError where there are none."""
    if batch.bank is None or batch.bank.values is None or batch.bank.labels is None:
        raise VxpError(f"explainer {explainer!r} needs examples of which all concepts and the class are known, and the task "
                       "has none: take a task that has them, such as shapes-rules")
    return batch.bank


def check(explainer: str, depth: int, least: int) -> None:
    """VxpError for a tree that cannot be grown."""
    check_at_least(explainer, 1, depth=depth)
    if least < 1:
        raise VxpError(f"explainer {explainer!r}: least is {least}, expected at least 1")


def inputs(bank: Bank) -> Tensor:
    """All examples as the model takes them, [N, C, *space], in the order of `values`."""
    return torch.cat([bank.off.flatten(0, 1), bank.on.flatten(0, 1)])


def learned(bank: Bank, classes: Tensor, depth: int, least: int) -> list[Leaf]:
    """The leaves of a tree over the concepts of the examples that tells these classes int64 [N] (`grown`)."""
    assert bank.values is not None, "examples were checked"
    return grown(bank.values.flatten(0, 2).cpu(), classes.cpu(), bank.names, depth, least)


def grown(has: Tensor, classes: Tensor, names: Sequence[str], depth: int, least: int) -> list[Leaf]:
    """The leaves of a decision tree of examples [N, K] by Gini impurity (Breiman et al. 1984). A node is split by the concept
    that lowers it most, the first of equal ones, while it has several classes, less than `depth` splits above it, and both
    sides have at least `least` examples."""
    counts = torch.bincount(classes)
    most = int(counts.argmax())
    best = None
    if depth > 0 and len(torch.nonzero(counts)) > 1:
        sizes = has.sum(0)
        allowed = [k for k in range(has.shape[1]) if least <= int(sizes[k]) <= len(has) - least]
        impurity = {k: _impurity(classes[has[:, k]]) + _impurity(classes[~has[:, k]]) for k in allowed}
        best = min(allowed, key=lambda k: (round(impurity[k], 9), k), default=None)
    if best is None or impurity[best] >= _impurity(classes) - 1e-9:
        return [((), most)]
    found: list[Leaf] = []
    for holds in (True, False):
        side = has[:, best] == holds
        found += [((Literal(names[best], holds), *literals), said)
                  for literals, said in grown(has[side], classes[side], names, depth - 1, least)]
    # two leaves that say the same are one
    return [((), found[0][1])] if len({said for _, said in found}) == 1 else found


def _impurity(classes: Tensor) -> float:
    """Gini impurity times the number of examples."""
    counts = torch.bincount(classes).double()
    return float(len(classes) - (counts * counts).sum() / max(len(classes), 1))


def rule_of(leaves: Sequence[Leaf], target: int) -> Rule:
    """When the target is said: the leaves that say it; of a tree of two classes the other one otherwise, else nothing."""
    said = {leaf for _, leaf in leaves}
    others = said - {target}
    return Rule(tuple(literals for literals, leaf in leaves if leaf == target), target,
                others.pop() if len(said) <= 2 and len(others) == 1 else None)


def parsed(explainer: str, formula: str) -> tuple[Alternative, ...]:
    """The alternatives of a formula such as `round & red or !round & ground`; VxpError for one that cannot be read."""
    found = tuple(tuple(Literal(word.removeprefix("!").strip(), not word.startswith("!"))
                        for word in (part.strip() for part in alternative.split("&")))
                  for alternative in str(formula).split(" or "))
    if any(len(literal.concept.split()) != 1 or "|" in literal.concept for alternative in found for literal in alternative):
        raise VxpError(f"explainer {explainer!r}: the formula {formula!a:.80} cannot be read, expected alternatives of "
                       "concepts such as 'round & red or !round & ground'")
    return found


__all__ = ["Leaf", "check", "examples", "grown", "inputs", "learned", "parsed", "rule_of"]
