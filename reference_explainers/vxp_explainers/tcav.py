"""Testing with concept activation vectors, as it was published."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp.core import Bank, Batch, VxpError, explainer
from vxp.models import evaluating
from vxp.random import key, philox

from vxp_explainers._common import check_at_least
from vxp_explainers._concepts import KINDS, at_layer, checked, logits_of, of_bank, of_images, once, permutation

PURPOSE = "tcav@1"
FLAT = "none"
"""All positions one after another, as the authors have it."""


@dataclass(frozen=True, eq=False)
class _Vectors:
    """The vectors of every concept [K, R, D] and of random examples [R, D], what the model says of all examples, float64
    [N, C], and the scores [K] of the classes that were asked for so far."""

    concepts: Tensor
    random: Tensor
    logits: Tensor
    scores: dict[int, Tensor] = field(default_factory=dict)


@explainer("tcav", signed=True, resample="none", needs=("gradients", "layer"), passes=1, family="concept", kinds=KINDS,
           source="Kim et al. 2018, arXiv:1711.11279")
def tcav(
    model: nn.Module, batch: Batch, *, layer: str | None = None, examples: int = 50, negatives: int = 10, alpha: float = 0.01,
    p: float = 0.05,
) -> Tensor:
    """The share of examples of the target's class whose loss falls along the direction of a concept, less one half; 0 where a
    t-test does not tell it from directions of random examples (Kim et al. 2018).

    A direction is the weight of a linear classifier with hinge loss, fitted by stochastic gradient descent with an L2 penalty
    alpha, of `examples` with the concept against as many random ones, at all positions of the layer (a dotted module name, by
    default the last with spatial output). There are `negatives` such sets of random
    examples, and as many classifiers of two sets against each other. The shares of a concept and those of the random
    directions are compared by a two-sided t-test with pooled variance, at p. All items of a class have one score. Returns
    [B, K] float32 in [-1/2, 1/2]. Raises VxpError without examples, without scikit-learn, and for a layer that is unknown,
    not used or without spatial output.

    As in the authors' code, not their paper, the gradient is that of the cross-entropy loss and not of the logit. Random
    examples are those of the other concepts, with them and without; where there is no other, those without it. Examples of a
    class are those, of all concepts, that the model predicts as it, at most `examples`; where they are fewer, those of which
    it gives the class the highest probability are added. The authors hold a third of the examples back to report an accuracy,
    and here all are fitted. The test is not corrected for the number of concepts, as it is not there.
    """
    bank = checked("tcav", batch, FLAT, alpha=alpha, p=p)
    check_at_least("tcav", 2, examples=examples, negatives=negatives)
    facts = ("tcav", layer, examples, negatives, alpha)
    known = once(model, batch, bank, facts, lambda: _fitted(model, batch, bank, layer, (examples, negatives, alpha)))
    found = []
    for target in batch.targets.tolist():
        if target not in known.scores:
            with evaluating(model):
                known.scores[target] = _shares(model, batch, bank, known, target, (layer, examples))
        found.append(_tested(known.scores[target], p))
    return torch.stack(found).float().to(batch.inputs.device)


def _fitted(
    model: nn.Module, batch: Batch, bank: Bank, layer: str | None, how: tuple[int, int, float]
) -> _Vectors:
    examples, negatives, alpha = how
    on, off = of_bank(model, batch, bank, layer, FLAT)
    K, n = on.shape[:2]
    every = torch.cat([on, off], 1).flatten(0, 1).cpu()
    # without another concept, those without this one
    of = torch.arange(K).repeat_interleave(2 * n) if K > 1 else torch.cat([torch.zeros(n), torch.ones(n)])

    def drawn(name: str, draw: int, among: Tensor) -> Tensor:
        return every[among[permutation(batch.seed, name, PURPOSE, draw, len(among))[:examples]]]

    def fitted(positive: Tensor, negative: Tensor, name: str, draw: int) -> Tensor:
        return _classifier(positive, negative, alpha, int(philox(key(batch.seed, name, PURPOSE, "descent"), draw, 1)[0, 0]))

    concepts = torch.stack([torch.stack([
        fitted(on[k, :examples].cpu(), drawn(name, r, torch.nonzero(of != k).flatten()), name, r) for r in range(negatives)])
        for k, name in enumerate(bank.names)])
    sets = [drawn("", r, torch.arange(len(of))) for r in range(negatives + 1)]
    random = torch.stack([fitted(sets[r], sets[r + 1], "", r) for r in range(negatives)])
    return _Vectors(concepts, random, logits_of(model, torch.cat([bank.on, bank.off], 1).flatten(0, 1)).cpu())


def _classifier(positive: Tensor, negative: Tensor, alpha: float, seed: int) -> Tensor:
    """The weight [D] of a linear classifier of two sets [n, D]."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import SGDClassifier
    except ImportError:
        raise VxpError("explainer 'tcav' needs scikit-learn for its classifiers: pip install 'vxp[demo]', or take "
                       "cav-derivative, which needs none") from None
    told = [1] * len(positive) + [0] * len(negative)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # the setting of the authors' code
        fitted = SGDClassifier(alpha=alpha, max_iter=1000, tol=1e-3, random_state=seed)
        fitted.fit(torch.cat([positive, negative]).double().numpy(), told)
    return torch.from_numpy(fitted.coef_[0]).float()


def _shares(
    model: nn.Module, batch: Batch, bank: Bank, known: _Vectors, target: int, how: tuple[str | None, int]
) -> Tensor:
    """The shares [K + 1, R] of examples of a class whose loss falls along the vectors of every concept, and along random
    ones."""
    layer, examples = how
    images = torch.cat([bank.on, bank.off], 1).flatten(0, 1)
    chosen = images[_of_class(known.logits, target, examples, batch.seed).to(images.device)]
    targets = torch.full((len(chosen),), target, dtype=torch.int64, device=chosen.device)
    _, gradient = at_layer(model, of_images(batch, chosen, targets), layer, FLAT,
                           lambda logits, classes: F.cross_entropy(logits, classes, reduction="none"))
    vectors = torch.cat([known.concepts, known.random[None]]).to(gradient)
    return (torch.einsum("nd,krd->nkr", gradient, vectors) < 0).double().mean(0).cpu()


def _of_class(logits: Tensor, target: int, examples: int, seed: int) -> Tensor:
    """The places of the examples of a class: those predicted as it, in a keyed order, then the most probable others."""
    own = torch.nonzero(logits.argmax(1) == target).flatten()
    own = own[permutation(seed, "", f"{PURPOSE}/{target}", 0, len(own))] if len(own) else own
    others = logits.log_softmax(1)[:, target].argsort(descending=True, stable=True)
    others = others[~torch.isin(others, own)]
    return torch.cat([own, others])[:examples]


def _tested(shares: Tensor, p: float) -> Tensor:
    """The mean share of every concept less one half, [K], 0 where it is not told from the random ones."""
    means, variances = shares.mean(1), shares.var(1)
    R = shares.shape[1]
    scores = torch.zeros(len(shares) - 1, dtype=torch.float64)
    for k in range(len(scores)):
        if _p_value(float(means[k] - means[-1]), float(variances[k] + variances[-1]), R) < p:
            scores[k] = means[k] - 0.5
    return scores


def _p_value(difference: float, variance: float, n: int) -> float:
    """Two-sided, of Student's t-test of two samples of n with this sum of their variances."""
    from scipy.special import stdtr

    if variance == 0:
        return float(difference == 0)
    return float(2 * stdtr(2 * n - 2, -abs(difference) / math.sqrt(variance / n)))
