"""Runs on disk: what is written, resuming after a kill, refusing what does not fit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
import vxp
import vxp_schemas
from bundle_tools import sealed
from vxp import explainers, models, tasks, validation
from vxp.core import VxpError
from vxp.documents import store
from vxp.maintain import registry
from vxp.runs import commands, run
from vxp.runs.commands import Order
from vxp.runs.context import Context, Quiet, Settings
from vxp.runs.result import FILES

if TYPE_CHECKING:
    from conftest import Vxp

METRICS = ("deletion|steps:4", "insertion|steps:4", "random-logit", "max-sensitivity|samples:2", "energy-pointing-game",
           "entropy")


def order(*explainers: str, **changes: object) -> Order:
    given: dict = {"task": "shapes", "images": None, "model": None, "data": None, "explainers": explainers,
                   "metrics": METRICS, "device": "cpu", "limit": 20, "batch_size": 16, "threads": 1}
    return Order(**(given | changes))


def scores(out: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in out.glob("results/*/samples.parquet")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    commands.run_(order("grad-cam", "saliency"), out, Quiet())
    return out


def result(out: Path, explainer: str) -> dict:
    (path,) = out.glob(f"results/shapes-{explainer}-????????/result.json")
    return json.loads(path.read_text())


def test_the_batch_size_that_ran_is_recorded_and_outlives_a_resume(tmp_path: Path) -> None:
    """What was asked stays in run.json, by which the same command goes on; the result says what ran."""
    task, model, out = tasks.load("shapes"), models.load("shapes-cnn"), tmp_path / "out"
    settings = Settings(batch_size=16, limit=10)

    def tight(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > 2:
            raise torch.OutOfMemoryError("pretend")

    hook = model.module.register_forward_pre_hook(tight)
    made = run.run(Context.of(task, model, out, settings, ["deletion|steps:4"]), [])
    hook.remove()
    stated = [json.loads(p.read_text())["settings"] for p in made]
    assert [(s["batch_size"], s["batch_size_run"]) for s in stated] == [(16, 2)] * 5
    assert json.loads((out / "run.json").read_text())["settings"]["batch_size"] == 16
    assert "batch_size_run" not in json.loads((out / "run.json").read_text())["settings"]

    shutil.rmtree(out / "results")
    (done, *_) = (out / ".units" / "score").glob("shapes-random-*")
    shutil.rmtree(done)  # these run again, with memory enough
    again = run.run(Context.of(task, model, out, settings, ["deletion|steps:4"]), [])
    assert [json.loads(p.read_text())["settings"]["batch_size_run"] for p in again] == [2] * 5

    whole = run.run(Context.of(task, model, tmp_path / "whole", settings, ["deletion|steps:4"]), [])
    assert all("batch_size_run" not in json.loads(p.read_text())["settings"] for p in whole)


def test_every_document_is_valid_and_every_file_is_as_described(finished: Path) -> None:
    documents = [*finished.rglob("result.json"), *finished.rglob("set.json"), *finished.rglob("environment.json"),
                 *finished.glob("systems/*.json"), finished / "run.json"]
    assert len(documents) == 7 + 7 + 7 + 7 + 1
    for path in documents:
        document = vxp_schemas.loads(path.read_bytes())
        vxp_schemas.validate(document)
        root = path.parent if path.name == "set.json" else finished
        for described in (document.get(k) for k in ("set", "items", *FILES)):
            if isinstance(described, dict) and "path" in described:
                assert store.digest((root / described["path"]).read_bytes()) == described["digest"]


def test_results_hold_scores_references_costs_and_flags(finished: Path) -> None:
    found = result(finished, "grad-cam")
    assert [s["signature"] for s in found["scores"]] == [b.signature for b in vxp.metrics.bind_all(METRICS)]
    assert {r["explainer"] for r in found["references"]} == set(explainers.references(("mask",)))
    assert found["division"] == "open"
    assert found["flags"] == ["limited"]
    cost = found["cost"]
    assert cost["explain"]["maps"] == 20
    assert cost["explain"]["backward_rows"] == 20
    assert 20 <= cost["explain"]["forward_rows"] <= 20 + 3
    assert cost["score"]["rows_run"] <= cost["score"]["rows_asked"]
    assert cost["score"]["explain_rows"] == 20 * 3
    assert all(s["n"] == 20 and sum(s["statuses"].values()) == 20 for s in found["scores"])
    assert found["scores"][0]["ci"]["n_clusters"] == 20


def test_references_are_not_asked_for_robustness(finished: Path) -> None:
    by = {s["signature"].split("@")[0]: s for s in result(finished, "edges")["scores"]}
    assert by["max-sensitivity"]["statuses"] == {"not-run:reference": 20}
    assert "mean" not in by["max-sensitivity"]


def test_the_oracle_tops_localisation(finished: Path) -> None:
    energy = {e: next(s["mean"] for s in result(finished, e)["scores"] if s["signature"].startswith("energy"))
              for e in ("oracle", "grad-cam", "random", "centre-gaussian")}
    assert energy["oracle"] == pytest.approx(1.0)
    assert energy["oracle"] > energy["grad-cam"] > energy["random"]


def test_samples_and_payload_are_what_the_notebook_gives(finished: Path) -> None:
    """The stored maps, scored in memory, give the stored scores."""
    task = vxp.tasks.load("shapes")
    model = vxp.models.load("shapes-cnn")
    batch = task.batch(0, 20, model)
    (folder,) = finished.glob("explanations/shapes-saliency-*")
    maps = safetensors.torch.load_file(folder / "payload" / "00000.safetensors")["values"]
    table = pq.read_table(next(finished.glob("results/shapes-saliency-*/samples.parquet")))
    found = vxp.score(model.module, batch.inputs, maps, targets=batch.targets, truth=dict(batch.truth), metrics=METRICS,
                      explainer="saliency", normalization=model.normalization, seed=task.seed, ids=batch.ids)
    for signature, score in found.items():
        stored = torch.tensor(table[signature].to_pylist(), dtype=torch.float64)
        torch.testing.assert_close(stored, score.values, atol=1e-6, rtol=0)
        assert tuple(table[f"{signature}#status"].to_pylist()) == score.status


def test_a_second_run_does_nothing_again_and_changes_no_score(finished: Path) -> None:
    before, units = scores(finished), {p: p.stat().st_mtime_ns for p in (finished / ".units").rglob("*.safetensors")}
    commands.run_(order("grad-cam", "saliency"), finished, Quiet())
    assert scores(finished) == before
    assert {p: p.stat().st_mtime_ns for p in (finished / ".units").rglob("*.safetensors")} == units


def test_run_equals_explain_then_score(finished: Path, tmp_path: Path) -> None:
    commands.explain(order("saliency"), tmp_path / "set", Quiet())
    commands.score(order(), tmp_path / "set", tmp_path / "scores", Quiet())
    name = next(n for n in scores(finished) if n.startswith("shapes-saliency"))
    assert scores(tmp_path / "scores")[name] == scores(finished)[name]


COMMAND = ["-m", "vxp", "run", "shapes", "--explainer", "grad-cam", "--explainer", "saliency", "--limit", "20", "--device",
           "cpu", "--batch-size", "16", "--threads", "1", "--metrics", ",".join(METRICS)]


@pytest.mark.parametrize("units", [1, 5, 12])
def test_killed_and_repeated_it_ends_with_the_same_bytes(finished: Path, tmp_path: Path, units: int, run_vxp: Vxp) -> None:
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, *COMMAND, "--out", str(out)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((out / ".units").rglob("*.sha256"))) < units and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {p: p.read_bytes() for p in (out / ".units").rglob("*.sha256")}
    assert len(kept) >= units
    assert not list(out.glob("results/*/result.json"))
    assert run_vxp(*COMMAND[2:], "--out", out).returncode == 0
    assert scores(out) == scores(finished)
    # the maps are in their sets by now
    assert not list((out / ".units").glob("explain/*"))
    assert all(p.read_bytes() == content for p, content in kept.items() if "explain" not in p.parts)


def copied(finished: Path, tmp_path: Path) -> Path:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    return out


def test_an_interrupted_write_counts_as_not_done(finished: Path, tmp_path: Path) -> None:
    out = copied(finished, tmp_path)
    unit = next((out / ".units").glob("score/*/000008.safetensors"))
    unit.with_suffix(".sha256").unlink()
    unit.write_bytes(unit.read_bytes()[:100])
    commands.run_(order("grad-cam", "saliency"), out, Quiet())
    assert scores(out) == scores(finished)


def test_a_damaged_unit_is_named(finished: Path, tmp_path: Path) -> None:
    out = copied(finished, tmp_path)
    unit = next((out / ".units").glob("score/*/000008.safetensors"))
    unit.write_bytes(unit.read_bytes()[:-3] + b"???")
    with pytest.raises(VxpError, match=rf"{unit.name}.*is damaged: got .* expected sha256:"):
        commands.run_(order("grad-cam", "saliency"), out, Quiet())


def test_a_damaged_payload_is_named(finished: Path, tmp_path: Path) -> None:
    out = copied(finished, tmp_path)
    shard = next(out.glob("explanations/shapes-saliency-*/payload/00000.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(VxpError, match=r"00000.safetensors is damaged or was changed: got .* expected"):
        commands.run_(order("grad-cam", "saliency"), out, Quiet())


@pytest.mark.parametrize("change", [{"metrics": ("entropy",)}, {"limit": 10}, {"precision": "bf16"},
                                    {"explainers": ("saliency",)}])
def test_another_run_in_the_folder_is_refused(finished: Path, change: dict) -> None:
    before = scores(finished)
    with pytest.raises(VxpError, match="holds another run"):
        commands.run_(order(**({"explainers": ("grad-cam", "saliency")} | change)) if "explainers" not in change
                      else order(*change["explainers"]), finished, Quiet())
    assert scores(finished) == before


def test_a_run_takes_more_explainers_and_makes_nothing_again(finished: Path, tmp_path: Path) -> None:
    out = copied(finished, tmp_path)
    units = {path: path.stat().st_mtime_ns for path in (out / ".units").rglob("*.safetensors")}
    before = scores(out)
    written = commands.run_(order("grad-cam", "saliency", "input-x-gradient"), out, Quiet())
    assert [path.parent.name.split("-")[1] for path in written][-3:] == ["grad", "saliency", "input"]
    assert {path: path.stat().st_mtime_ns for path in units} == units
    after = scores(out)
    assert {path: after[path] for path in before} == before
    assert len(after) > len(before)
    with pytest.raises(VxpError, match=r"input-x-gradient.*there and not asked"):
        commands.run_(order("grad-cam", "saliency"), out, Quiet())


@pytest.mark.parametrize(("metrics", "limit", "division"), [
    ((), None, "closed"), (("entropy",), None, "open"), ((), 20, "open"),
])
def test_closed_is_the_whole_task_with_all_its_metrics(metrics: tuple[str, ...], limit: int | None, division: str) -> None:
    context = Context.of(tasks.load("shapes"), models.load("shapes-cnn"), Path("none"), Settings(limit=limit), metrics)
    assert context.division == division


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(VxpError, match=r"not empty and holds no VXP run: got \['thesis.tex'\]"):
        commands.run_(order("saliency"), tmp_path, Quiet())
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VxpError, match=r"could not write .*No space left on device.*same command"):
        store.write_bytes(tmp_path / "x.bin", b"data")
    assert os.listdir(tmp_path) == []


def test_a_failing_explainer_costs_its_items_only(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "def fragile(model, batch):\n"
        "    if 'shape-00003' in batch.ids:\n"
        "        raise RuntimeError('cannot')\n"
        "    maps = batch.raw().mean(1)\n"
        "    maps[[i for i, n in enumerate(batch.ids) if n == 'shape-00005']] = float('nan')\n"
        "    return maps\n")
    commands.run_(order(f"{file}:fragile", metrics=("deletion|steps:2", "entropy")), tmp_path / "out", Quiet())
    table = pq.read_table(next((tmp_path / "out").glob("results/shapes-fragile-*/samples.parquet")))
    ids = table["item_id"].to_pylist()
    status = dict(zip(ids, table["entropy@1#status"].to_pylist(), strict=True))
    bad = {"shape-00003": "failed:explainer-error", "shape-00005": "failed:non-finite-map"}
    expected = {i: bad.get(i, "ok") for i in ids}
    assert status == expected
    assert set(bad) & set(ids), "the frozen list no longer has these items: choose others"


SICK = """
import torch
from torch import nn
from vxp.models import loading

class Sick(nn.Module):
    "The shapes classifier; no output is finite for an image whose first value is in BAD."
    def __init__(self):
        super().__init__()
        self.whole = loading.shapes_cnn()

    def forward(self, x):
        out = self.whole(x)
        first = x[:, 0, 0, 0].detach()
        bad = torch.zeros(len(x), dtype=torch.bool) if BAD is None else sum(first == b for b in BAD) > 0
        out = out.clone()
        out[bad, -1] = float("nan")
        return out

BAD = {bad}

def factory():
    return Sick(), {{"mean": (.5,) * 3, "std": (.25,) * 3, "input_size": 64}}
"""


def photos(folder: Path, n: int) -> list[float]:
    """n images of noise, of which no two begin alike; what the model sees first of each."""
    from PIL import Image

    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    firsts = []
    for i in range(n):
        pixels = (torch.rand(64, 64, 3, generator=generator) * 255).byte()
        pixels[0, 0, 0] = 20 * i
        Image.fromarray(pixels.numpy()).save(folder / f"photo {i}.png")
        firsts.append(float((pixels[0, 0, 0].float() / 255 - 0.5) / 0.25))
    return firsts


def sick(tmp_path: Path, bad: list[int], caplog: pytest.LogCaptureFixture) -> Path:
    firsts = photos(tmp_path / "imgs", 4)
    (tmp_path / "model.py").write_text(SICK.format(bad=[firsts[i] for i in bad]))
    asked = Order(None, tmp_path / "imgs", f"{tmp_path}/model.py:factory", None, ("saliency",),
                  ("deletion|steps:4", "max-sensitivity|samples:1", "gini"), "cpu", batch_size=8, threads=1)
    with caplog.at_level("WARNING"):
        commands.run_(asked, tmp_path / "out", Quiet())
    return tmp_path / "out"


def test_an_output_that_is_not_finite_is_a_status_of_its_item(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = sick(tmp_path, [1], caplog)
    [warning] = [r.getMessage() for r in caplog.records if "NaN" in r.getMessage()]
    assert "for 1 of 4 items" in warning
    expected = ["ok", "failed:model-non-finite", "ok", "ok"]
    for path in out.glob("results/*/samples.parquet"):
        table = pq.read_table(path)
        for name in (n for n in table.column_names if n.endswith("#status")):
            states = table[name].to_pylist()
            assert states == expected or set(states) == {"not-run:reference"}, (path, name)
    items = pq.read_table(next(out.glob("explanations/*-saliency-*/items.parquet")))
    assert items["status"].to_pylist() == expected
    assert (items["target"][1].as_py(), items["prediction"][1].as_py(), items["target_score"][1].as_py()) == (0, 0, 0.0)
    bundle = sealed(out, tmp_path / "bundle")
    assert not [f for f in validation.validate(bundle).findings if f["severity"] == "error"]


def test_outputs_that_are_probabilities_are_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos(tmp_path / "imgs", 10)  # two units of work
    (tmp_path / "model.py").write_text(
        "from torch import nn\nfrom vxp.models import loading\n"
        "def factory():\n"
        "    module = nn.Sequential(loading.shapes_cnn(), nn.Softmax(1))\n"
        "    return module, {'mean': (.5,) * 3, 'std': (.25,) * 3, 'input_size': 64}\n")
    asked = Order(None, tmp_path / "imgs", f"{tmp_path}/model.py:factory", None, ("saliency",), ("gini",), "cpu", batch_size=8,
                  threads=1)
    with caplog.at_level("WARNING"):
        commands.run_(asked, tmp_path / "out", Quiet())
    [warning] = [r.getMessage() for r in caplog.records if "probabilities" in r.getMessage()]
    assert "without its last Softmax" in warning


def test_a_model_without_a_finite_output_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(VxpError, match="NaN or infinite logits for all 4 items"):
        sick(tmp_path, [0, 1, 2, 3], caplog)


def test_open_tasks_of_ones_own(tmp_path: Path) -> None:
    from PIL import Image

    images = tmp_path / "My photos"
    images.mkdir()
    generator = torch.Generator().manual_seed(0)
    for i in range(3):
        pixels = (torch.rand(40, 50, 3, generator=generator) * 255).byte().numpy()
        Image.fromarray(pixels).save(images / f"photo {i}.png")
    (tmp_path / "model.py").write_text(
        "from vxp.models import loading\n"
        "def factory():\n"
        "    return loading.shapes_cnn(), {'mean': (.5,) * 3, 'std': (.25,) * 3, 'input_size': 64}\n")
    (tmp_path / "mine.py").write_text("def brightness(model, batch):\n    return batch.raw().mean(1)\n")
    asked = Order(None, images, f"{tmp_path}/model.py:factory", None, (f"{tmp_path}/mine.py:brightness",),
                  ("deletion|steps:4", "entropy"), "cpu", batch_size=8, threads=1)
    paths = commands.run_(asked, tmp_path / "out", Quiet())
    document = json.loads(paths[-1].read_text())
    assert document["division"] == "open"
    assert document["task"]["id"] == "open-my-photos"
    assert document["explainer"]["id"] == "brightness"
    assert document["flags"] == ["few-clusters"]


@pytest.mark.parametrize(("change", "says"), [
    ({"task": "shpes"}, "did you mean 'shapes"),
    ({"explainers": ("grad-cm",)}, "did you mean 'grad-cam'"),
    ({"explainers": ("grad-cam|layer:features.99",)}, r"no layer 'features.99'"),
    ({"metrics": ("grid-pointing-game",)}, "has the truth mask, and grid-pointing-game need another"),
    ({"model": "efficientnet-light0"}, "did you mean 'efficientnet-lite0'"),
    ({"precision": "fp8"}, "expected one of fp32, tf32, bf16"),
    ({"device": "gpu"}, "expected auto, cpu or cuda"),
    ({"task": None}, "one of the four"),
    ({"explainers": ("nowhere.py:x",)}, "no file nowhere.py"),
])
def test_bad_orders_are_named_and_write_nothing(tmp_path: Path, change: dict, says: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(VxpError, match=says):
        commands.run_(order(*change.pop("explainers", ("saliency",)), **change), out, Quiet())
    assert not list(out.glob("results/*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu_where_one_was_asked_for() -> None:
    with pytest.raises(VxpError, match="finds no GPU on this machine; use --device cpu"):
        commands.device("cuda")


def test_the_registry_is_what_the_code_declares() -> None:
    """Facts that stand twice: metric and model documents against declarations and weights."""
    for path, document in registry.documents().items():
        stored = vxp_schemas.loads((registry.FOLDER / path).read_bytes())
        assert stored == document, f"{path} is out of date: run python -m vxp.maintain.registry"
