"""`python -m vxp.registry` writes the metric documents of a checkout from the metrics' declarations."""

from __future__ import annotations

from pathlib import Path

import vxp_schemas
from vxp import result, store
from vxp.metrics import catalogue

FOLDER = Path(vxp_schemas.__file__).parent / "registry" / "metrics"


def main(folder: Path = FOLDER) -> list[Path]:
    """Write `<id>@<version>.json` for every metric; returns the files. A released version is never edited."""
    files = []
    for metric in catalogue().values():
        file = folder / f"{metric.name}.json"
        store.write_document(file, result.metric_document(metric))
        files.append(file)
    return files


if __name__ == "__main__":
    for file in main():
        print(file)
