"""What numbers were computed on."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import torch
from vxp_schemas import typed

# and so they are part of this module's own names
from vxp.documents import FILES as FILES
from vxp.documents import TYPE as TYPE
from vxp.documents import harness as harness
from vxp.documents import header as header
from vxp.documents import identity as identity
from vxp.documents import plain_json as plain_json
from vxp.documents import reference_rows as reference_rows

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "PYTHONHASHSEED")
"""Environment variables that can change numbers or speed; no others are recorded."""


def environment(settings: typed.Settings) -> typed.Environment:
    """What the numbers were computed on."""
    gpus: list[typed.EnvironmentGpu] = []
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(i)
            uuid = hashlib.sha256(str(getattr(card, "uuid", card.name)).encode()).hexdigest()
            gpus.append({"name": card.name, "memory_bytes": card.total_memory, "uuid_digest": f"sha256:{uuid}"})
    cpu: typed.EnvironmentCpu = {"architecture": platform.machine(), "cores": os.cpu_count() or 1}
    if name := _cpu_name():
        cpu["model"] = name
    return header(typed.Environment) | {
        "os": platform.platform(), "kernel": platform.release(), "python": sys.version.split()[0],
        "packages": [{"name": name, "version": found} for name, found in _packages()], "cpu": cpu, "gpus": gpus,
        **({"cuda": torch.version.cuda} if torch.version.cuda else {}),
        "variables": {k: os.environ[k] for k in VARIABLES if k in os.environ},
        "determinism": {"threads": settings["threads"], "precision": settings["precision"],
                        "cudnn-benchmark": torch.backends.cudnn.benchmark},
    }


@cache
def _packages() -> list[tuple[str, str]]:
    """Names and versions of what is installed. Once in a process: it reads the metadata of hundreds of packages, and every
    result has an environment."""
    return sorted({(d.metadata["Name"], d.version) for d in distributions() if d.metadata["Name"]}, key=str)


@cache
def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
