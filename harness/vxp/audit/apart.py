"""The explainer that an audit runs, in a process of its own that cannot see the bundle (12.6.3).

Its code is a stranger's: in the process that compares it could change what is compared, and a bundle that it finds it could
read instead of explaining.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import vxp_schemas
from torch import Tensor, nn
from vxp_schemas import typed

from vxp import outputs
from vxp.audit import statement
from vxp.core import Batch, Explainer, VxpError
from vxp.documents import store
from vxp.documents.findings import plain
from vxp.engine import Engine
from vxp.explainers import BoundExplainer
from vxp.models.own import SPEC
from vxp.runs import explain_worker
from vxp.runs.explain_worker import Asked, Message, Order

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME",
        "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""What the process is given of the environment."""
Isolation = Literal["process", "bubblewrap"]
ISOLATIONS: Mapping[Isolation, str] = {
    "bubblewrap": "in a process that sees neither the bundle nor the network, and writes to one empty folder only",
    "process": "in a process that is not told where the bundle is; it could look for it (install bubblewrap to prevent that)",
}
"""How an explainer is kept away from the bundle, in words."""
STARTING = 600.0
"""Seconds that its process may take at least to load model and explainer: a busy machine takes minutes to import torch."""


@contextlib.contextmanager
def running(
    order: statement.Order, facts: typed.Explainer, kind: typed.ExplanationKind, model: str, bundle: Path, engine: Engine
) -> Iterator[tuple[BoundExplainer, Isolation]]:
    """The explainer that the reviewer named to regenerate, at the parameters in the facts of a set's explainer, and how it is
    isolated (a key of ISOLATIONS).

    Its calls are answered by a process of its own, which loads the model by name and brings it into the state of the
    engine's, and has so many seconds for a batch. VxpError where the process cannot be started or does not answer, or
    not within that time.
    """
    with tempfile.TemporaryDirectory(prefix="vxp-explain-") as scratch, contextlib.ExitStack() as stack:
        isolation, before = _isolated(bundle, Path(scratch), order.device)
        errors = stack.enter_context((Path(scratch) / "errors").open("w+b"))
        process = subprocess.Popen(  # -P: no module is taken from the working folder
            [*before, sys.executable, "-P", "-m", "vxp.runs.explain_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, cwd=scratch, env=_environment(bundle, scratch))
        stack.callback(_end, process)
        ask, timeout = _Asking(process, errors), order.explain_timeout
        said, _ = ask({"explainer": _explainer(str(order.regenerate)), "parameters": dict(facts["parameters"]),
                       "model": _model(model), "device": order.device, "precision": engine.precision, "threads": order.threads},
                      max(timeout, STARTING))
        system = vxp_schemas.valid(said.get("system"), typed.System)

        def explain(module: nn.Module, batch: Batch, **_: Any) -> Tensor:
            of_batch, given = explain_worker.batch_message(batch, engine.state_of(module), kind)
            tensors = ask(of_batch, timeout, given)[1]
            if set(tensors) != {"maps"}:
                raise VxpError(f"the process of the explainer gave the tensors {sorted(tensors)}, expected maps")
            return tensors["maps"].to(batch.inputs.device)

        declared = Explainer(str(said.get("id")), explain, {}, facts["signed"], facts["resample"], facts["target_specific"],
                             family=facts["family"], kinds=(kind,), outputs=outputs.IDS)
        yield BoundExplainer(declared, {}, system), isolation


class _Asking:
    """One question and its answer; VxpError where the process gives none, or none within so many seconds: it is killed then."""

    def __init__(self, process: subprocess.Popen[bytes], errors: BinaryIO) -> None:
        self.process, self.errors = process, errors

    def __call__(
        self, said: Order | Asked, timeout: float, tensors: Mapping[str, Tensor] | None = None,
    ) -> tuple[Message, dict[str, Tensor]]:
        late = threading.Event()

        def end() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(timeout, end)
        timer.start()
        try:
            return self._answer(said, tensors)
        except VxpError:
            if late.is_set():
                what = "was not loaded" if tensors is None else f"gave no maps of a batch of {len(tensors['inputs'])} items"
                raise VxpError(f"the explainer {what} within {timeout:g} s, and its process was ended: give it more time with "
                               "--explain-timeout SECONDS, or smaller batches with --batch-size") from None
            raise
        finally:
            timer.cancel()

    def _answer(self, said: Order | Asked, tensors: Mapping[str, Tensor] | None) -> tuple[Message, dict[str, Tensor]]:
        try:
            explain_worker.send(self.process.stdin, said, tensors)  # type: ignore[arg-type]
            answer, maps = explain_worker.receive(self.process.stdout, store.MAX_ARRAYS)  # type: ignore[arg-type]
        except (EOFError, BrokenPipeError):
            self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 4096))
            last = self.errors.read().decode(errors="replace").strip().splitlines()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            raise VxpError(f"the process of the explainer ended with {self.process.returncode}"
                           + (f": {plain(last[-1][:300])}" if last else "")) from None
        explain_worker.raised(answer)
        return answer, maps


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with process:  # closes its pipes and waits for it
        pass


def _explainer(head: str) -> str:
    """The name with its file by its whole path, since the process works in another folder."""
    name, *given = head.split("|")
    for part in given:
        _, _, value = part.partition(":")
        if not os.path.isabs(value) and Path(value).is_file():
            raise VxpError(f"--regenerate {head}: {value} is a file of this folder, and the explainer works in one of its own: "
                           f"give {Path(value).absolute()}")
    return "|".join([_whole(name) if ".py:" in name else name, *given])


def _model(name: str) -> str:
    """The same for a model, and for its weights."""
    name, bar, form = name.partition("|")
    own = SPEC.fullmatch(name)
    if own is not None:
        head, weights = _whole(own["factory"]), own["weights"]
    else:
        head, _, weights = name.partition("@")
    return (head if not weights else f"{head}@{Path(weights).expanduser().absolute()}") + bar + form


def _whole(spec: str) -> str:
    path, _, name = spec.rpartition(":")
    return f"{Path(path).expanduser().absolute()}:{name}"


def _environment(bundle: Path, scratch: str) -> dict[str, str]:
    """A few variables that programs need; nothing that says where the bundle is."""
    hidden = bundle.resolve()
    own = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(p)
           and hidden not in (Path(p).resolve(), *Path(p).resolve().parents)]
    return {k: os.environ[k] for k in KEPT if k in os.environ} | {
        "PYTHONPATH": os.pathsep.join(own), "TMPDIR": scratch, "NUMBA_CACHE_DIR": scratch, "HF_HUB_OFFLINE": "1"}


def _isolated(bundle: Path, scratch: Path, device: str) -> tuple[Isolation, Sequence[str]]:
    """How a process is kept away from the bundle here, and the words before its command."""
    bwrap, true = shutil.which("bwrap"), shutil.which("true")
    if bwrap is None or true is None:
        return "process", ()
    hidden = str(bundle.resolve())
    devices = ("--dev-bind", "/dev", "/dev") if device.startswith("cuda") else ("--dev", "/dev")
    nothing = ("--tmpfs", hidden) if bundle.is_dir() else ("--ro-bind", os.devnull, hidden)
    words = [bwrap, "--ro-bind", "/", "/", *devices, "--proc", "/proc", *nothing,
             "--bind", str(scratch), str(scratch), "--chdir", str(scratch), "--unshare-all", "--cap-drop", "ALL",
             "--new-session", "--die-with-parent", "--"]
    try:
        works = subprocess.run([*words, true], capture_output=True, check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        works = False
    return ("bubblewrap", words) if works else ("process", ())


__all__ = ["ISOLATIONS", "running"]
