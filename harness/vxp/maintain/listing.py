"""`python -m vxp.maintain.listing` writes `explainers.json` beside our explainers: their facts as they declare them, which
`vxp list` and `vxp show` read without importing one."""

from __future__ import annotations

import json
from importlib.metadata import distribution
from pathlib import Path

from vxp import explainers
from vxp.documents import listed_modules, store
from vxp.origin import ours


def place() -> Path:
    """The file, in the package that announces our explainers."""
    (point,) = distribution("vxp").entry_points.select(group=explainers.GROUP)
    return Path(str(point.load().__file__)).parent / "explainers.json"


def text() -> str:
    """What it says."""
    found = {id: explainers.facts(one) for id, one in explainers.catalogue().items() if ours(one.explain)}
    return json.dumps({"modules": listed_modules(place().parent), "explainers": found}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    store.write_bytes(place(), text().encode())
    print(place())
