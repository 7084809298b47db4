"""The checking process of `vxp validate`: limits first, then a report a line on standard output."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import pyarrow as pa

from vxp.validation import MEMORY, validate


class _NoPandas:
    """Finds no pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _without_pandas() -> None:
    """pyarrow imports pandas, where it is installed, before the first array that it makes: a second of what nobody needs here.
    It asks once, and is told that there is none."""
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(_NoPandas)


if __name__ == "__main__":
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    _without_pandas()
    level, kind = sys.argv[1:]
    for line in sys.stdin:
        path = json.loads(line)
        sys.stdout.write(json.dumps(validate(Path(path), level, record=kind == "record").document()) + "\n")
        sys.stdout.flush()
