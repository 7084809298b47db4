"""Maps are made again in a process that is not told where the bundle is, and cannot change what is compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from bundle_tools import Broken, made_run, sealed
from vxp import explainers, models, tasks, validation
from vxp.audit import Audit, Order, apart, verify
from vxp.core import Compensated, NotExplainedError, Randomised, Relabelled, VxpError
from vxp.engine import Engine
from vxp.validation import validate

if TYPE_CHECKING:
    from conftest import Vxp

READS = """
import safetensors.torch
from pathlib import Path
from vxp.explainers import catalogue

PLACE, ROWS = {place!r}, {ids!r}


def thief(model, batch):
    found = sorted(Path(PLACE).glob("explanations/*/payload/*.safetensors"))
    if not found:
        return catalogue()["saliency"].explain(model, batch)
    return safetensors.torch.load_file(found[0])["values"][[ROWS.index(i) for i in batch.ids]]
"""
PATCHES = """
import os, sys
import numpy as np
import torch
from vxp import validation
from vxp.audit import again, conclusions, recomputing, tolerances
from vxp.runs import result

recomputing.Again._maps = lambda *_: None
conclusions._maps = lambda *_: None
tolerances.of_maps = lambda *_: 1e9
again.Audit.verdict, again.Audit.evidence = "reproduced", "E3"
np.abs = torch.Tensor.abs = lambda x: 0 * x
print('{"error": null, "bytes": 0}')
os.write(1, b'{"bytes": 0}\\n')


def patched(model, batch):
    print("a line among the answers")
    return torch.rand(len(batch), *batch.space)
"""
LOOKS = """
import os, sys
from pathlib import Path


def looks(model, batch):
    told = [*sys.argv, *sys.orig_argv, os.getcwd(), *os.environ.values(), Path("/proc/self/cmdline").read_text(), *os.listdir()]
    raise RuntimeError("told: " + " ".join(told) if any("stored-maps" in t for t in told) else "told nothing")
"""
FACTS = {"parameters": {}, "signed": True, "resample": "bilinear", "target_specific": True, "family": "gradient"}
"""What a set says of its explainer."""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator in this process: one of its own, as the command has it, costs seconds each time."""
    monkeypatch.setattr(validation, "apart", validate)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return sealed(made_run(folder / "run", limit=6, metrics=("entropy",)), folder / "stored-maps")


@pytest.fixture(params=["process", "bubblewrap"])
def isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which the explainer may run."""
    bwrap = shutil.which("bwrap")
    if request.param == "process" and bwrap:
        which = shutil.which
        monkeypatch.setattr(shutil, "which", lambda name: None if name == "bwrap" else which(name))
    tried = [str(bwrap), "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-all", "true"]
    if request.param == "bubblewrap" and (not bwrap or subprocess.run(tried, check=False).returncode):
        pytest.skip("bubblewrap is not installed or does not work here")
    return str(request.param)


@pytest.fixture
def by(tmp_path: Path) -> Callable[[Path, str, str], Audit]:
    """The audit of a bundle by an explainer of this code."""
    def audited(bundle: Path, code: str, name: str) -> Audit:
        (tmp_path / "own.py").write_text(code)
        return verify(bundle, Order(sample=None, regenerate=f"{tmp_path / 'own.py'}:{name}"))
    return audited


def test_an_explainer_that_reads_the_stored_maps(
    whole: Path, tmp_path: Path, isolation: str, by: Callable[[Path, str, str], Audit]
) -> None:
    """It knows the very place. Bubblewrap keeps it away; a process of its own does not, and the statement says which it was."""
    forged = Broken(whole, tmp_path / "stored-maps")
    forged.tensors("shard", lambda t: t.update(values=np.random.default_rng(0).random(t["values"].shape, np.float32)))
    forged.seal()
    ids = [item.id for item in tasks.load("shapes").limited(6).items]
    found = by(forged.folder, READS.format(place=str(forged.folder), ids=ids), "thief")
    [maps] = found.maps
    assert maps["isolation"] == isolation
    assert (maps["beyond"], "VXP-R005" in {f.code for f in found.findings.all}) == (
        (0, False) if isolation == "process" else (6, True))


def test_an_explainer_is_not_told_where_the_bundle_is(
    whole: Path, isolation: str, by: Callable[[Path, str, str], Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNDLE", str(whole))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(whole), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))
    monkeypatch.chdir(whole.parent)
    found = by(Path(whole.name), LOOKS, "looks")
    assert found.verdict == "incomplete"
    assert found.not_checked[-1]["reason"] == "ExplainerError: RuntimeError: told nothing"


def test_an_explainer_that_patches_the_auditor_changes_nothing(
    whole: Path, isolation: str, by: Callable[[Path, str, str], Audit]
) -> None:
    found = by(whole, PATCHES, "patched")
    assert (found.verdict, found.evidence) == ("differs", "E0")
    assert {f.code for f in found.findings.errors} == {"VXP-R005"}
    assert [(m["isolation"], m["beyond"], m["same_system"]) for m in found.maps] == [(isolation, 6, False)]


def test_an_explainer_that_ends_its_process_is_no_verdict(whole: Path, by: Callable[[Path, str, str], Audit]) -> None:
    found = by(whole, "import os\n\ndef gone(model, batch):\n    os._exit(3)\n", "gone")
    assert (found.verdict, found.not_checked[-1]["reason"]) == ("incomplete", "the process of the explainer ended with 3")


def test_an_explainer_that_never_returns_is_ended(whole: Path, isolation: str, tmp_path: Path, run_vxp: Vxp) -> None:
    (tmp_path / "own.py").write_text("def stuck(model, batch):\n    while True:\n        pass\n")
    done = run_vxp("verify", whole, "--all", "--regenerate", f"{tmp_path / 'own.py'}:stuck", "--explain-timeout", "3",
                   "--out", tmp_path / "audit.json", "--device", "cpu", "--threads", "1")
    assert done.returncode == 3, done.stdout + done.stderr
    predicate = json.loads((tmp_path / "audit.json").read_bytes())["predicate"]
    assert predicate["verdict"] == "incomplete"
    assert predicate["not_checked"][-1]["reason"] == (
        "the explainer gave no maps of a batch of 6 items within 3 s, and its process was ended: give it more time with "
        "--explain-timeout SECONDS, or smaller batches with --batch-size")


def test_maps_are_those_of_this_process_in_every_state_of_the_model(tmp_path: Path) -> None:
    task = tasks.load("shapes").limited(2)
    model = models.load(task.model)
    twin = models.relabelled(model.id)
    engine = Engine(model.module, relabelled=twin)
    targets = torch.tensor([1, 2])
    batch = task.load(0, 2, model).batch(targets)
    bound = explainers.bind("smoothgrad|samples:2")
    with apart.running(Order(regenerate="smoothgrad|samples:2"), FACTS, "heatmap2d", task.model, tmp_path, engine) as (far, _):
        for state in (None, Randomised("s"), Randomised("s", "cascading", 1, 3), Compensated(0.25), Relabelled()):
            module = engine.state(state, batch.seed)
            assert torch.allclose(far(module, batch), bound(module, batch), rtol=1e-4, atol=1e-6), state
        with pytest.raises(VxpError, match="none that this engine made"):
            far(models.load(task.model).module, batch)
    with (pytest.raises(VxpError, match="no explainer is called 'smoothgrd'; did you mean 'smoothgrad'"),
          apart.running(Order(regenerate="smoothgrd"), FACTS, "heatmap2d", task.model, tmp_path, engine)):
        pass


def test_what_an_explainer_says_is_said_here(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("""
from vxp.core import NotExplainedError

def picky(model, batch):
    raise NotExplainedError("untrained-class", "class 2")
""")
    task = tasks.load("shapes").limited(1)
    model = models.load(task.model)
    batch = task.load(0, 1, model).batch(torch.tensor([1]))
    with (apart.running(Order(regenerate=f"{tmp_path / 'own.py'}:picky"), FACTS, "heatmap2d", task.model, tmp_path / "x",
                        Engine(model.module)) as (far, _), pytest.raises(NotExplainedError, match="class 2") as error):
        far(model.module, batch)
    assert error.value.code == "untrained-class"


def test_files_are_named_whole_for_a_process_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").write_bytes(b"")
    assert apart._explainer("own.py:f|a:1") == f"{tmp_path}/own.py:f|a:1"
    assert apart._explainer("saliency") == "saliency"
    with pytest.raises(VxpError, match=f"w.pt is a file of this folder.* give {tmp_path}/w.pt"):
        apart._explainer("own.py:f|weights:w.pt")
    assert apart._model("own.py:f@w.pt") == f"{tmp_path}/own.py:f@{tmp_path}/w.pt"
    assert apart._model("torchvision/resnet50@w.pt") == f"torchvision/resnet50@{tmp_path}/w.pt"
    assert apart._model("shapes-cnn") == "shapes-cnn"
