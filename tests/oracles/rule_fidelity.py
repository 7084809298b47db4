"""Rule fidelity: what the rule for one item says of another, of all pairs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def rule_fidelity(samples: Sequence[Mapping[str, Any]], clusters: Sequence[str]) -> float:
    right = pairs = 0
    predicted = [int(np.argmax(s["model"](s["image"]).astype(np.float32))) for s in samples]
    for i, one in enumerate(samples):
        rule = json.loads(one["payload"].tobytes().rstrip(b"\0").decode())
        for j, other in enumerate(samples):
            if clusters[i] != clusters[j]:
                has = dict(zip(other["concepts"], other["truths"]["present"].tolist(), strict=True))
                pairs += 1
                right += is_right(rule, has, predicted[j])
    return right / pairs


def is_right(rule: Mapping[str, Any], has: Mapping[str, bool], predicted: int) -> bool:
    fires = any(all(has.get(literal["concept"]) == literal["is"] for literal in alternative) for alternative in rule["rule"])
    if fires:
        return bool(predicted == rule["says"])
    if rule["otherwise"] is None:
        return bool(predicted != rule["says"])
    return bool(predicted == rule["otherwise"])
