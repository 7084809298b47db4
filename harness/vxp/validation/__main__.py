"""The checking process of `vxp validate`: limits first, then a report a line on standard output."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

from vxp.validation import MEMORY, validate

if __name__ == "__main__":
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    level, kind = sys.argv[1:]
    for line in sys.stdin:
        path = json.loads(line)
        sys.stdout.write(json.dumps(validate(Path(path), level, record=kind == "record").document()) + "\n")
        sys.stdout.flush()
