"""Rule complexity: literals, counted one by one."""

import json

import numpy as np


def rule_complexity(payload: np.ndarray) -> float:
    found = 0
    for alternative in json.loads(payload.tobytes().rstrip(b"\0").decode())["rule"]:
        for _ in alternative:
            found += 1
    return float(found)
