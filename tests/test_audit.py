"""The audit: honest bundles are reproduced on other settings, and whatever was changed is found at the stated confidence."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch
import typer
import vxp_schemas
from bundle_tools import Broken, made_run, sealed
from vxp import audit, bundles, cli, explainers, metrics, models, stats, tasks, validation
from vxp.audit import Audit, Order, claims, measure, nonces, recomputed, sampling, tolerances, verify
from vxp.core import VxpError
from vxp.leaderboard import adding
from vxp.metrics import bind, catalogue
from vxp.runs import result, run
from vxp.runs.context import Context, Quiet, Settings
from vxp.validation import validate

if TYPE_CHECKING:
    from conftest import Vxp

DELETION = "deletion@1|steps:4|fill:mean"
BOXES = "max-box-acc-v2@1|thresholds:20"
METRICS = ("entropy", "deletion|steps:4", "increase-in-confidence|keep:50", "max-box-acc-v2|thresholds:20",
           "max-sensitivity|samples:2", "random-logit", "road-morf", "effective-complexity")
EXPLAINERS = """
import torch
from vxp import explainer
from vxp.explainers import catalogue

cam = catalogue()["grad-cam"].explain


@explainer("anti-cam", signed=True, family="cam", passes=2)
def anti(model, batch):
    return -cam(model, batch)


@explainer("moved-cam", signed=True, family="cam", passes=2)
def moved(model, batch):
    return torch.roll(cam(model, batch), -1, 0)
"""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator in this process: one of its own, as the command has it, costs seconds each time."""
    monkeypatch.setattr(validation, "apart", validate)


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    return sealed(made_run(folder / "run", metrics=METRICS), folder / "bundle")


@pytest.fixture
def changed(honest: Path, tmp_path: Path) -> Broken:
    return Broken(honest, tmp_path / "changed")


def audited(folder: Path, **order: Any) -> Audit:
    found = verify(folder, Order(**{"sample": None, "nonce": nonces.own("00"), **order}))
    vxp_schemas.validate(found.predicate())
    return found


def codes(found: Audit) -> set[str]:
    return {f.code for f in found.findings.all}


# ------------------------------------------------------------------------------------------------------------- honest ones


def test_an_honest_bundle_is_reproduced_to_the_last_bit_on_the_same_settings(honest: Path) -> None:
    found = audited(honest)
    assert (found.verdict, found.evidence, found.exit_code) == ("reproduced", "E2", 0)
    assert not found.findings.all
    assert max(s["largest"] for s in found.scores) == 0
    assert {s["signature"].partition("@")[0] for s in found.scores} == {
        "entropy", "deletion", "increase-in-confidence", "max-box-acc-v2", "road-morf", "effective-complexity"}
    left = {n["what"].rpartition(" ")[2].partition("@")[0]: n["reason"] for n in found.not_checked}
    assert set(left) == {"max-sensitivity", "random-logit"}
    assert all("--regenerate" in why for why in left.values())


@pytest.mark.parametrize("settings", [
    {"batch_size": 1}, {"batch_size": 3}, {"batch_size": 8}, {"batch_size": 32, "threads": 2}], ids=[
    "batch-1", "batch-3", "batch-8", "batch-32-threads-2"])
def test_other_settings_do_not_cry_wolf(settings: dict[str, Any], honest: Path) -> None:
    found = audited(honest, regenerate="saliency", **settings)
    assert (found.verdict, found.evidence) == ("reproduced", "E3"), [str(f) for f in found.findings.all]
    assert not found.not_checked
    assert all(abs(s["bias"]) <= s["bias_limit"] / 2 for s in found.scores)


def test_an_audit_in_half_precision_is_no_evidence(honest: Path) -> None:
    """Whoever chooses bf16 for the audit chooses its tolerance."""
    found = audited(honest, regenerate="saliency", precision="bf16")
    assert (found.verdict, found.evidence, found.findings.errors) == ("incomplete", "E1", [])
    assert max(s["largest"] for s in found.scores) > 1e-6  # the tolerance was needed
    assert any("this audit computed in bf16" in n["reason"] for n in found.not_checked)


def test_maps_made_again_and_every_score_with_them(honest: Path) -> None:
    found = audited(honest, regenerate="saliency")
    assert (found.verdict, found.evidence) == ("reproduced", "E3")
    assert {s["signature"].partition("@")[0] for s in found.scores} == {m.partition("|")[0] for m in METRICS}
    [maps] = found.maps
    assert maps["same_system"]
    assert maps["n"] == 24
    assert maps["spearman"] > 1 - 1e-9


def test_the_statement_has_the_figures_that_were_computed_again(honest: Path) -> None:
    """Of a whole set they are those of the result; of a sample there is a mean without an interval."""
    [stated] = (json.loads(path.read_bytes())["scores"] for path in honest.glob("results/*/result.json"))
    for score in audited(honest).scores:
        same = next(s for s in stated if s["signature"] == score["signature"])
        assert score["recomputed"] == {"whole": True} | {k: same[k] for k in ("n", "statuses", "mean", "ci") if k in same}
        assert score["bias"] == 0
    for score in audited(honest, sample=3).scores:
        assert not score["recomputed"]["whole"]
        assert "ci" not in score["recomputed"]
        assert 3 <= score["recomputed"]["n"] < 24


# ---------------------------------------------------------------------------------------------- tolerances and what fits them


@pytest.fixture(scope="session")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest bundle whose scores were computed in bf16."""
    folder, task = tmp_path_factory.mktemp("coarse"), tasks.load("shapes")
    run.run(Context.of(task, models.load(task.model), folder / "run", Settings(batch_size=8, threads=1, limit=24,
                                                                               precision="bf16"), METRICS),
        [explainers.bind("saliency")])
    return sealed(folder / "run", folder / "bundle")


def test_scores_in_half_precision_are_evidence_once_all_were_computed_again(coarse: Path, honest: Path) -> None:
    found = audited(coarse)
    assert (found.verdict, found.evidence) == ("reproduced", "E2"), [str(f) for f in found.findings.all]
    assert max(s["largest"] for s in found.scores) > 1e-6
    assert all(s["recomputed"]["whole"] and "mean" in s["recomputed"] for s in found.scores)
    some = audited(coarse, sample=12)
    assert (some.verdict, some.evidence, some.findings.errors) == ("incomplete", "E1", [])
    assert any("--all" in n["reason"] and "bf16" in n["reason"] for n in some.not_checked)


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_moved_by_half_the_tolerance_to_one_side(sign: int, changed: Broken) -> None:
    step = sign * tolerances.of_score(DELETION, ("fp32", "fp32")) / 2
    changed.table("samples", lambda t: t.update({DELETION: [v + step for v in t[DELETION]]}))
    bundle = valid(changed)
    for order in ({}, {"batch_size": 3}, {"sample": 20}):
        found = audited(bundle, **order)
        assert (found.verdict, found.evidence, codes(found)) == ("differs", "E0", {"VXP-R008"})
        [said] = (s for s in found.scores if s["signature"] == DELETION)
        assert (said["beyond"], said["bias"]) == (0, pytest.approx(step, rel=0.2))


def test_half_precision_does_not_cover_scores_moved_to_one_side(coarse: Path, tmp_path: Path) -> None:
    broken = Broken(coarse, tmp_path / "moved")
    step = tolerances.of_score(DELETION, ("bf16", "bf16")) / 2
    broken.table("samples", lambda t: t.update({DELETION: [v + step for v in t[DELETION]]}))
    assert "VXP-R008" in codes(audited(valid(broken)))


def test_fair_differences_of_any_size_pass_the_limit_of_their_mean() -> None:
    """Of both signs up to the tolerance, on machines that nobody measured; and on one in ten thousand draws at most they do
    not."""
    generator = np.random.default_rng(0)
    for n in (5, 24, 299):
        draws = generator.uniform(-1, 1, (4000, n)) * generator.choice([0.01, 1.0], n)
        wrong = [abs(d.mean()) > tolerances.of_bias(list(d), 1.0) for d in draws]
        assert np.mean(wrong) <= 5e-4
    assert tolerances.of_bias([0.5] * 19, 1.0) > 0.5 > tolerances.of_bias([0.5] * 20, 1.0)
    assert tolerances.of_bias([], 1.0) == tolerances.BIAS_SHARE


# ------------------------------------------------------------------------------------------------------- whatever was changed


def valid(broken: Broken) -> Path:
    """Sealed again, so that nothing but the audit can find the change."""
    broken.rescore()
    broken.seal()
    found = validate(broken.folder)
    assert not [f for f in found.findings if f["severity"] == "error"], found.findings
    return broken.folder


def set_again(changed: Broken) -> None:
    """The number of the set computed again from what is kept per item."""
    table, kept = pq.read_table(changed.path("samples")), safetensors.numpy.load_file(changed.path("statistics"))[BOXES]
    metric = metrics.bind(BOXES).metric

    def again(document: dict[str, Any]) -> None:
        score = next(s for s in document["scores"] if s["signature"] == BOXES)
        found = stats.set_summary(metric.reduce, torch.from_numpy(kept), table[f"{BOXES}#status"].to_pylist(),
                                  table["cluster"].to_pylist(), range=metric.range)
        score.update(mean=found["mean"], ci=dict(found["ci"]) | {"cluster_key": score["ci"]["cluster_key"]},
                     statuses=found["statuses"])
    changed.json("result", again)


def test_a_score_that_was_changed_by_a_hundredth(changed: Broken) -> None:
    changed.table("samples", lambda t: t[DELETION].__setitem__(7, t[DELETION][7] - 0.01))
    found = audited(valid(changed))
    assert (found.verdict, found.evidence, found.exit_code) == ("differs", "E0", 1)
    assert codes(found) == {"VXP-R001"}
    [finding] = found.findings.all
    assert finding.count == 1
    assert "row 7, item" in finding.examples[0][0]


def test_a_status_that_was_changed(changed: Broken) -> None:
    def drop(t: dict[str, list[Any]]) -> None:
        t[DELETION][7], t[f"{DELETION}#status"][7] = None, "undefined:constant-map"
    changed.table("samples", drop)
    assert codes(audited(valid(changed))) == {"VXP-R002"}


def test_the_best_and_the_worst_items_are_always_drawn(changed: Broken) -> None:
    def spoil(t: dict[str, list[Any]]) -> None:
        t[DELETION][int(np.argmin(t[DELETION]))] = 0.0
    changed.table("samples", spoil)
    assert "VXP-R001" in codes(audited(valid(changed), sample=1))


def test_scores_of_two_items_swapped(changed: Broken) -> None:
    changed.table("samples", lambda t: t[DELETION].__setitem__(slice(0, 2), t[DELETION][1::-1]))
    found = audited(valid(changed))
    assert codes(found) == {"VXP-R001"}
    assert found.findings.all[0].count == 2


def test_scores_of_another_parameter(changed: Broken) -> None:
    new = "deletion@1|steps:8|fill:mean"
    changed.json("result", lambda d: next(s for s in d["scores"] if s["signature"] == DELETION).update(signature=new))
    changed.json("result", lambda d: [s.update(signature=new) for r in d["references"] for s in r["scores"]
                                      if s["signature"] == DELETION])
    changed.table("samples", lambda t: t.update({new: t.pop(DELETION), f"{new}#status": t.pop(f"{DELETION}#status")}))
    changed.table("references", lambda t: t.update(signature=[new if s == DELETION else s for s in t["signature"]]))
    changed.tensors("curves", lambda t: t.update({new: t.pop(DELETION), f"{new}#x": t.pop(f"{DELETION}#x")}))
    found = audited(valid(changed))
    assert codes(found) == {"VXP-R001", "VXP-R006"}
    assert found.findings.all[0].count > 12


def test_other_weights_or_preprocessing_or_target(changed: Broken) -> None:
    changed.table("items", lambda t: t["target_score"].__setitem__(5, t["target_score"][5] - 0.01))
    assert codes(audited(valid(changed))) == {"VXP-R003"}


def test_maps_of_something_else_are_found_by_making_them_again_only(changed: Broken) -> None:
    changed.tensors("shard", lambda t: t["values"].__setitem__(
        slice(None), t["values"] * np.random.default_rng(0).uniform(0.5, 1, t["values"].shape)))
    found = audited(valid(changed), regenerate="saliency")
    assert {"VXP-R005", "VXP-R001"} <= codes(found)
    assert found.maps[0]["spearman"] < 0.99


def test_hard_items_that_are_said_not_to_have_run(changed: Broken) -> None:
    def hide(t: dict[str, list[Any]]) -> None:
        for i in range(8):
            t[DELETION][i], t[f"{DELETION}#status"][i] = None, "not-run:budget"
    changed.table("samples", hide)
    changed.rescore()
    changed.seal()
    assert "VXP-K027" in {f["code"] for f in validate(changed.folder).findings}  # no audit is needed


def test_a_whole_score_that_is_said_not_to_have_run(changed: Broken) -> None:
    changed.table("samples", lambda t: t.update({DELETION: [None] * 24, f"{DELETION}#status": ["not-run:no-explainer"] * 24}))
    changed.json("result", lambda d: [s.pop(k, None) for s in d["scores"] if s["signature"] == DELETION
                                      for k in ("mean", "median", "sd", "ci", "mean_worst_bound")])
    changed.rescore()
    changed.seal()
    assert "VXP-K027" in {f["code"] for f in validate(changed.folder).findings}  # no audit is needed


def test_curves_that_were_changed(changed: Broken) -> None:
    changed.tensors("curves", lambda t: t[DELETION].__imul__(0.5))
    assert codes(audited(valid(changed))) == {"VXP-R006"}


def test_a_number_of_an_item_of_a_set_that_was_changed(changed: Broken) -> None:
    changed.table("samples", lambda t: t[BOXES].__setitem__(0, 0.5 if t[BOXES][0] is None else None))
    assert codes(audited(valid(changed))) == {"VXP-R001"}


def test_maps_of_another_grid_are_not_those_of_the_explainer(honest: Path) -> None:
    assert "VXP-R005" in codes(audited(honest, regenerate="grad-cam"))


def test_an_explainer_that_fails_is_no_verdict(honest: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def broken(model, batch):\n    raise RuntimeError('no memory')\n")
    found = audited(honest, regenerate=f"{tmp_path / 'own.py'}:broken")
    assert (found.verdict, found.exit_code) == ("incomplete", 3)
    assert "no memory" in found.not_checked[-1]["reason"]


def hidden(changed: Broken, rows: list[int]) -> Path:
    """The bundle with these items marked as failed, and everything that follows from it made right."""
    changed.tensors("shard", lambda t: t["values"].__setitem__(rows, 0))
    changed.tensors("curves", lambda t: [t[k].__setitem__(rows, np.nan) for k in t if not k.endswith("#x")])
    changed.tensors("statistics", lambda t: [t[k].__setitem__(rows, 0) for k in t])

    def fail(t: dict[str, list[Any]]) -> None:
        for row in rows:
            for name in t:
                if name == "status" or name.endswith("#status"):
                    t[name][row] = "failed:explainer-error"
                    t[name.removesuffix("#status")][row] = None if name != "status" else t[name][row]
    changed.table("items", fail)
    changed.table("samples", fail)
    changed.rescore()
    set_again(changed)
    return valid(changed)


def test_hard_items_that_are_said_to_have_failed(changed: Broken) -> None:
    bundle = hidden(changed, list(range(12)))
    assert audited(bundle).verdict == "reproduced"  # who does not run the explainer cannot tell
    found = audited(bundle, regenerate="saliency")
    assert (found.verdict, found.evidence, codes(found)) == ("differs", "E0", {"VXP-R007"})
    assert found.findings.all[0].count == 12


def test_maps_made_by_another_system_than_the_bundle_names(tmp_path: Path, honest: Path) -> None:
    (tmp_path / "own.py").write_text("""
from vxp.explainers import catalogue

def revolution(model, batch):
    return catalogue()["saliency"].explain(model, batch)
""")
    run = made_run(tmp_path / "run", f"{tmp_path / 'own.py'}:revolution", metrics=("entropy", "deletion|steps:4"))
    found = audited(sealed(run, tmp_path / "bundle", "revolution"), regenerate="saliency")
    assert (found.verdict, found.evidence, codes(found)) == ("reproduced", "E2", {"VXP-F016"})
    assert audited(honest, regenerate="saliency").evidence == "E3"


def test_where_nothing_could_be_compared_nothing_was_reproduced() -> None:
    found = Audit("a-lab-saliency", "sha256:" + "0" * 64, Order())
    found.scores = [{"result": "r", "signature": DELETION, "n": 0, "tolerance": 1e-6, "largest": 0.0, "mean": 0.0, "beyond": 0}]
    assert (found.verdict, found.evidence, found.exit_code) == ("incomplete", "E1", 3)


def test_items_that_failed_fail_again(tmp_path: Path) -> None:
    """One class that the explainer was not trained for, as the learned ones have: its items are in the draw like any."""
    (tmp_path / "own.py").write_text('''
from vxp import explainer
from vxp.core import NotExplainedError
from vxp.explainers import catalogue

@explainer("partial", signed=True, family="gradient", needs=("gradients",), passes=2)
def partial(model, batch):
    if bool((batch.targets == 2).any()):
        raise NotExplainedError("untrained-class", "class 2")
    return catalogue()["saliency"].explain(model, batch)
''')
    own = f"{tmp_path / 'own.py'}:partial"
    bundle = sealed(made_run(tmp_path / "run", own, metrics=("entropy", "deletion|steps:4", "max-sensitivity|samples:2")),
                    tmp_path / "bundle", "partial")
    [result] = (json.loads(path.read_bytes()) for path in bundle.glob("results/*/result.json"))
    assert 0 < result["scores"][0]["statuses"]["failed:untrained-class"] < 24
    found = audited(bundle, regenerate=own)
    assert (found.verdict, found.evidence) == ("reproduced", "E3"), [str(f) for f in found.findings.all]


def test_statistics_of_a_set_that_were_changed(changed: Broken) -> None:
    changed.tensors("statistics", lambda t: t[BOXES].__setitem__(3, 1 - t[BOXES][3]))
    set_again(changed)
    assert codes(audited(valid(changed))) == {"VXP-R006"}


@pytest.mark.parametrize(("name", "id", "code"), [("anti", "anti-cam", "VXP-F004"), ("moved", "moved-cam", "VXP-F008")])
def test_inverted_and_moved_maps_are_flagged(name: str, id: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(EXPLAINERS)
    run = made_run(tmp_path / "run", f"{tmp_path / 'own.py'}:{name}", metrics=("deletion|steps:14", "entropy"), limit=40)
    found = audited(sealed(run, tmp_path / "bundle", id))
    assert code in codes(found)
    assert found.verdict == "reproduced"  # a flag is for a reviewer to judge


@pytest.mark.parametrize("name", ["edges", "oracle", "oracle-binary"])
def test_a_reference_under_another_name_is_flagged(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(f'''
import torch
from vxp import explainers

def mine(model, batch):
    return 3 * explainers.bind("{name}")(model, batch) + 1e-3
''')
    run = made_run(tmp_path / "run", f"{tmp_path / 'own.py'}:mine", metrics=("entropy",))
    found = next(f for f in audited(sealed(run, tmp_path / "bundle", "mine")).findings.all if f.code == "VXP-F003")
    assert found.examples[0] == (name, f"100% of 24 maps correlate above 0.99 with the reference {name}")


def test_the_level_recompute_is_the_audit(honest: Path, changed: Broken) -> None:
    order = Order(sample=None, nonce=nonces.own("00"))
    whole = recomputed(validate(honest), honest, order, Quiet())
    assert {"check": "recompute", "ran": True} in whole.checks
    assert (whole.level, whole.evidence, whole.exit_code) == ("recompute", "E2", 0)
    changed.table("samples", lambda t: t.update({DELETION: [v * 0.9 for v in t[DELETION]]}))
    bundle = valid(changed)
    found = recomputed(validate(bundle), bundle, order, Quiet())
    assert (found.verdict, found.exit_code, found.evidence) == ("invalid", 1, "E1")
    assert found.findings[0]["code"] == "VXP-R001"
    vxp_schemas.validate(found.document())


def test_a_good_method_is_not_flagged(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", "grad-cam", metrics=("deletion|steps:14", "entropy"), limit=40)
    assert not codes(audited(sealed(run, tmp_path / "bundle", "grad-cam")))


def test_items_that_the_validator_does_not_know_are_held_against_the_auditors(
    changed: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of a task of one's own is not in the registry: names in another order are other images' scores."""
    from vxp.validation import content
    monkeypatch.setattr(content, "expected_items", lambda *_: None)

    def roll(t: dict[str, list[Any]]) -> None:
        for name in ("item_id", "explanation_id"):
            t[name] = t[name][1:] + t[name][:1]

    def roll_each(t: dict[str, list[Any]]) -> None:
        ids, n = t["item_id"], len(set(t["item_id"]))
        t["item_id"] = [ids[block + (i + 1) % n] for block in range(0, len(ids), n) for i in range(n)]

    changed.table("items", roll)
    changed.table("samples", roll)
    changed.table("references", roll_each)
    found = audited(valid(changed))
    assert (found.verdict, codes(found)) == ("differs", {"VXP-C007"})


def test_clusters_that_the_validator_does_not_know_are_held_against_the_auditors(
    changed: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vxp.validation import content
    monkeypatch.setattr(content, "expected_items", lambda *_: None)
    for name in ("items", "samples"):
        changed.table(name, lambda t: t["cluster"].__setitem__(3, "another"))
    n = len(set(pq.read_table(changed.path("references"))["item_id"].to_pylist()))
    changed.table("references", lambda t: t.update(
        cluster=["another" if row % n == 3 else cluster for row, cluster in enumerate(t["cluster"])]))
    assert codes(audited(valid(changed))) == {"VXP-C008"}


def test_a_bundle_that_is_replaced_after_its_validation_is_not_audited(
    honest: Path, changed: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed.json("submission.json", lambda d: d.update(title="another"))
    monkeypatch.setattr(validation, "apart", lambda path, level: validate(honest, level))
    with pytest.raises(VxpError, match="changed while it was checked"):
        verify(changed.folder, Order())


EXCHANGED = ["submission.json", "set", "items", "shard", "result", "samples", "curves", "statistics"]


def exchanged(path: Path, found: Any = None) -> Any:
    """Another file of the same size in the place of one, with its times: one value differs, so that it reads like the first."""
    data, facts = bytearray(path.read_bytes()), path.stat()
    data[-2 if path.suffix == ".json" else len(data) // 2] ^= 1
    path.with_name("other").write_bytes(bytes(data))
    os.utime(path.with_name("other"), ns=(facts.st_atime_ns, facts.st_mtime_ns))
    path.with_name("other").replace(path)
    return found


@pytest.mark.parametrize("name", EXCHANGED)
def test_a_file_that_is_exchanged_after_the_validation(name: str, changed: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "apart", lambda path, level: exchanged(changed.path(name), validate(path, level)))
    with pytest.raises(VxpError, match=r"changed while it was checked: \S*" + changed.path(name).name):
        verify(changed.folder, Order(sample=None))


def test_a_map_that_is_written_over_while_scores_are_computed(changed: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place: the digest of each map is compared with its row at every reading."""
    read = claims.Claim.maps
    monkeypatch.setattr(bundles, "_stamp", lambda facts: ())  # no clock tells

    def late(claim: claims.Claim, wanted: Any) -> torch.Tensor:
        if 23 in wanted:
            with changed.path("shard").open("r+b") as file:
                file.seek(-4, os.SEEK_END)
                file.write(b"\0\0\0\x3f")
        return read(claim, wanted)
    monkeypatch.setattr(claims.Claim, "maps", late)
    with pytest.raises(VxpError, match="the map of row 23"):
        verify(changed.folder, Order(sample=None))


def test_parameters_from_a_bundle_are_checked_like_any(changed: Broken) -> None:
    """They reach code that the reviewer named."""
    for name in ("set", "result"):
        changed.json(name, lambda d: d["explainer"].update(parameters={"samples": "10**9"}, id="smoothgrad"))
    changed.json("system.json", lambda d: d["method"].update(parameters={"samples": "10**9"}, name="smoothgrad"))
    own = result.identity(json.loads(changed.path("system.json").read_bytes()))
    changed.json("set", lambda d: d.update(system=own))
    found = audited(valid(changed), regenerate="smoothgrad")
    assert found.verdict == "incomplete"
    assert "parameter 'samples': got '10**9'" in found.not_checked[0]["reason"]


def test_an_invalid_bundle_is_refused(changed: Broken) -> None:
    changed.bytes("samples", lambda d: d + b"x")
    found = audited(changed.folder)
    assert (found.verdict, found.evidence, found.exit_code) == ("refused", "E0", 1)
    assert [f["code"] for f in found.predicate()["findings"] if f["severity"] == "error"] [-1:] == ["VXP-I002"]


def test_a_task_that_is_not_here_is_incomplete(tmp_path: Path, honest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vxp import tasks

    def gone(*_: object, **__: object) -> None:
        raise VxpError("its data are not here")
    monkeypatch.setattr(tasks, "load", gone)
    found = audited(honest)
    assert (found.verdict, found.exit_code, found.evidence) == ("incomplete", 3, "E1")
    assert "its data are not here" in found.not_checked[0]["reason"]


# ------------------------------------------------------------------------------------------------------------------- drawing


def test_the_draw_is_as_good_as_it_says() -> None:
    n, k = 5000, 299
    tampered = set(range(0, n, 100))  # 1 % of the items
    hits = [bool(tampered & set(sampling.drawn("sha256:" + "0" * 64, f"{i:04x}", "set", n, k))) for i in range(2000)]
    expected = sampling.found_with(n, len(tampered), k)
    assert expected >= 0.95
    assert abs(np.mean(hits) - expected) < 3 * np.sqrt(expected * (1 - expected) / len(hits))


def test_known_sizes_of_samples() -> None:
    assert sampling.smallest_share(10**6, 299) == pytest.approx(0.01, rel=0.01)
    assert sampling.smallest_share(10**6, 59) == pytest.approx(0.05, rel=0.02)
    assert sampling.smallest_share(24, 24) == 1 / 24
    assert sampling.found_with(100, 1, 50) == pytest.approx(0.5)
    assert sampling.found_with(10, 10, 1) == 1
    assert sampling.found_with(10, 0, 5) == 0


def test_the_draw_depends_on_root_nonce_and_set_and_can_be_repeated() -> None:
    draws = {(root, nonce, name): tuple(sampling.drawn(root, nonce, name, 1000, 20))
             for root in ("a", "b") for nonce in ("00", "01") for name in ("x", "y")}
    assert len(set(draws.values())) == 8
    assert all(len(set(d)) == 20 and list(d) == sorted(d) for d in draws.values())
    assert tuple(sampling.drawn("a", "00", "x", 1000, 20)) == draws["a", "00", "x"]


def test_tolerances_find_a_hundredth_in_fp32_for_every_metric() -> None:
    for name, metric in catalogue().items():
        signature = bind(name).signature
        found = tolerances.of_score(signature, ("fp32", "fp32"))
        assert found < 0.01, name
        coarse = tolerances.of_score(signature, ("fp32", "bf16"))
        assert coarse >= found, name
        assert metric.name in signature
    assert tolerances.of_target_score(("fp32", "fp32")) < 1e-3


def test_an_imputed_score_has_the_tolerance_of_its_parameters() -> None:
    """A solution of `nli` may be off by 1e-4, so its scores may be off by more than 1e-6; a point of a curve of zeros and ones
    by a ninth."""
    def limit(score: str, *precisions: str) -> float:
        return tolerances.of_score(bind(score).signature, (precisions[0], precisions[-1]))

    assert limit("deletion", "fp32") < 1e-5 < limit("deletion|fill:nli", "fp32") < 0.01
    assert limit("road-morf", "fp32") > 1e-5
    assert limit("road-lerf|readout:class-kept", "fp32") >= 1 / 9
    assert limit("road-lerf|readout:class-kept", "bf16") >= 1 / 9
    assert limit("deletion|fill:nli", "fp32", "bf16") == limit("deletion", "bf16")
    known = tolerances.document()["classes"]["fp32"]
    assert set(measure.imputing()) <= set(known["metrics"])
    seen = [known["seen"][name] for name in ("imputed", "imputed_vectors")]
    assert all(known["metrics"][key] >= most for found in seen for key, most in found.items())
    assert measure.with_imputed(tolerances.document(), *seen) == tolerances.document()


def test_metrics_of_clips_were_measured_and_some_can_be_measured_anew() -> None:
    """What is measured anew takes the place of what it had, and of nothing else."""
    known = tolerances.document()
    for name in ("fp32", "bf16"):
        measured = set(known["classes"][name]["seen"]["metrics"])
        assert {id for id, metric in catalogue().items() if "heatmap2d" not in metric.kinds} - {"summary-f1"} <= measured, name
    anew = {name: measure.Seen({"t-iou": [0.0, 0.04]}, {"t-iou": [False, True]}, [0.0], [0.0]) for name in ("fp32", "bf16")}
    found = measure.with_metrics(known, measure.document(anew))
    before, after = ({(name, metric): limit for name, of in one["classes"].items() for metric, limit in of["metrics"].items()
                      if metric != "t-iou"} for one in (known, found))
    assert before == after
    assert [found["classes"][name]["metrics"]["t-iou"] for name in ("fp32", "tf32", "bf16")] == [0.4, 0.2, 0.2]
    assert all(found["classes"][name]["target_score"] == known["classes"][name]["target_score"] for name in known["classes"])


# ------------------------------------------------------------------------------------------------------- where nonces come from

ROUNDS = {1: ("1466a6cd24e327188770752f6134001c64d6efcc590ccc26b721611ad96f165a",
              "b55e7cb2d5c613ee0b2e28d6750aabbb78c39dcc96bd9d38c2c2e12198df95571de8e8e402a0cc48871c7089a2b3af4b"),
          3: ("7ef4621ace1c6da4eb2eee7cd901f81385bca5b189771ec0f08d0d2566dd1a21",
              "b3fab6df720b68cc47175f2c777e86d84187caab5770906f515ff1099cb01e4deaa027075d860823e49477b93c72bd64")}
"""Randomness and signature of rounds of drand's quicknet, as its servers send them."""
NOW = "2026-11-01T00:00:00Z"


def beacon(folder: Path, number: int, **changes: Any) -> Path:
    randomness, signature = ROUNDS[number]
    said = {"round": number, "randomness": randomness, "signature": signature} | changes
    (folder / "round.json").write_text(json.dumps(said))
    return folder / "round.json"


@pytest.mark.parametrize(("created", "number"), [("2023-08-22T15:09:27Z", 1), ("2023-08-22T15:09:30.5Z", 3),
                                                 ("2023-08-22T15:09:33Z", 3)])
def test_a_published_round_is_the_one_for_its_bundle(created: str, number: int, tmp_path: Path) -> None:
    drawn = nonces.drawn(beacon(tmp_path, number))
    assert (drawn.digits, drawn.source) == (ROUNDS[number][0], "beacon")
    assert nonces.fault(drawn.policy(), created, NOW) is None
    assert nonces.due(number) - nonces.DELAY >= datetime.fromisoformat(created) > nonces.due(number - 1) - nonces.DELAY


@pytest.mark.parametrize(("changes", "created", "stated", "why"), [
    ({}, "2023-08-22T15:09:34Z", NOW, "expected 4, the first that is due 1 day after"),
    ({}, "2023-08-22T15:09:30Z", NOW, "expected 2, the first"),
    ({"round": 2}, "2023-08-22T15:09:33Z", NOW, "round 2: expected 3"),
    ({"randomness": "00" * 32}, "2023-08-22T15:09:33Z", NOW, "not the SHA-256 of the round's signature"),
    ({"signature": "00" * 48}, "2023-08-22T15:09:33Z", NOW, "not the SHA-256 of the round's signature"),
    ({"signature": "zz" * 48}, "2023-08-22T15:09:33Z", NOW, "96 hexadecimal digits"),
    ({}, "2023-08-22T15:09:33Z", "2023-08-23T15:09:32Z", "expected a later one"),
], ids=["later", "earlier", "number", "randomness", "signature", "digits", "not-due"])
def test_no_other_round_is_taken(changes: dict[str, Any], created: str, stated: str, why: str, tmp_path: Path) -> None:
    drawn = nonces.drawn(beacon(tmp_path, 3, **changes))
    assert why in str(nonces.fault(drawn.policy(), created, stated))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"round": "3", "randomness": "00", "signature": "00"}'])
def test_a_file_that_is_no_round(text: str, tmp_path: Path) -> None:
    (tmp_path / "round.json").write_text(text)
    with pytest.raises(VxpError, match="a round of drand's chain"):
        nonces.drawn(tmp_path / "round.json")


def test_a_commitment_is_opened_for_a_bundle_that_was_sealed_later(tmp_path: Path) -> None:
    digest, opening = nonces.commit(tmp_path / "c.json")
    published = json.loads((tmp_path / "c.json").read_bytes())
    drawn = nonces.opened(opening)
    assert published["commitment"] == digest == f"sha256:{hashlib.sha256(drawn.digits.encode()).hexdigest()}"
    assert drawn.digits not in (tmp_path / "c.json").read_text()
    assert opening.stat().st_mode & 0o777 == 0o600
    late = "2099-01-01T00:00:00Z"
    assert nonces.fault(drawn.policy(), late, late) is None
    assert "from before the bundle" in str(nonces.fault(drawn.policy(), published["created"], late))
    other = nonces.Nonce("00" * 32, "commitment", commitment=drawn.commitment)
    assert "is not the SHA-256" in str(nonces.fault(other.policy(), late, late))
    with pytest.raises(VxpError, match="is never replaced"):
        nonces.commit(tmp_path / "c.json")
    with pytest.raises(VxpError, match=r"an opening that vxp verify --commit wrote"):
        nonces.opened(tmp_path / "c.json")


def sealed_at(changed: Broken, when: str) -> Path:
    """The bundle as if all of its documents were of this time."""
    for name in ("system.json", "set", "result", "environment", "submission.json"):
        changed.json(name, lambda d: d.update(created=when))
    changed.seal()
    return changed.folder


def test_the_statement_says_where_its_nonce_comes_from(changed: Broken, tmp_path: Path) -> None:
    """The signature of the round is made up here, which only a check by BLS12-381 would find: the beacon's own servers tell."""
    bundle = sealed_at(changed, "2026-01-02T03:04:05Z")
    signature = "5e" * 48
    digits, number = hashlib.sha256(bytes.fromhex(signature)).hexdigest(), nonces.round_of("2026-01-02T03:04:05Z")
    assert nonces.due(number).isoformat() == "2026-01-03T03:04:06+00:00"
    made = beacon(tmp_path, 3, round=number, randomness=digits, signature=signature)
    policy = audited(bundle, sample=3, nonce=nonces.drawn(made)).predicate()["policy"]
    assert (policy["source"], policy["nonce"], policy["beacon"]["signature"]) == ("beacon", digits, signature)
    assert nonces.fault(policy, "2026-01-02T03:04:05Z", NOW) is None
    assert audited(bundle, sample=None).predicate()["policy"]["source"] == "all"
    assert audited(bundle, sample=3).predicate()["policy"]["source"] == "auditor"
    _, opening = nonces.commit(tmp_path / "late.json")
    with pytest.raises(VxpError, match=r"the nonce cannot be taken for .* from before the bundle"):
        audited(bundle, sample=3, nonce=nonces.opened(opening))


def test_who_builds_a_table_checks_the_source_again(changed: Broken, tmp_path: Path) -> None:
    bundle = sealed_at(changed, "2026-01-02T03:04:05Z")
    said = audit.statement(audited(bundle, sample=3))
    for policy, why in ((nonces.drawn(beacon(tmp_path, 3)).policy(), "round 3: expected 24868694"),
                        ({"source": "all"}, "nothing was drawn, and a sample of 3"),
                        ({"source": "beacon"}, "the chain None"), ({"source": "commitment"}, "64 hexadecimal digits")):
        wrong = said | {"predicate": said["predicate"] | {"policy": said["predicate"]["policy"] | policy}}
        (tmp_path / "s.json").write_text(json.dumps(wrong))
        target, _, findings = adding.add(bundle, tmp_path / "records", [tmp_path / "s.json"])
        assert target is None
        assert [f.code for f in findings.errors] == ["VXP-I011"]
        assert why in findings.all[0].examples[0][1]
    assert nonces.fault({"source": "auditor", "nonce": "00", "sample": 3}, "2026-01-02T03:04:60Z", NOW) is None
    late = {"source": "beacon", "sample": 3, **nonces.drawn(beacon(tmp_path, 3)).policy()}
    assert "the time '2026-01-02T03:04:60Z'" in str(nonces.fault(late, "2026-01-02T03:04:60Z", NOW))


def test_a_set_that_is_cheap_is_audited_as_a_whole(honest: Path, changed: Broken) -> None:
    found = audited(honest, sample=3, all_within=10.0)
    assert (found.order.sample, found.predicate()["policy"]["source"]) == (None, "all")
    assert 0 < found.minutes < 10
    changed.json("result", lambda d: d["cost"]["score"].update(seconds=601.0))
    dear = audited(valid(changed), sample=3, all_within=10.0)
    assert (dear.order.sample, dear.predicate()["policy"]["source"]) == (3, "auditor")
    assert dear.minutes > 10


# ------------------------------------------------------------------------------------------------------------------- command


def test_the_command_writes_a_statement_beside_the_bundle(honest: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    done = run_vxp("verify", honest, "--sample", "3", "--nonce", "c0ffee", "--out", tmp_path / "s.json", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1] == "bundle: reproduced: everything that was computed again agrees; evidence E2"
    said = audit.read(tmp_path / "s.json")
    assert said["subject"][0]["digest"]["sha256"] == vxp_schemas.file_digest(honest / "submission.json").removeprefix("sha256:")
    assert said["predicate"]["policy"]["nonce"] == "c0ffee"
    assert run_vxp("verify", str(honest), "--nonce", "not hex", folder=tmp_path).returncode == 2
    assert run_vxp("verify", str(honest), "--out", str(honest / "audit.json"), folder=tmp_path).returncode == 2
    assert run_vxp("verify", "nowhere", folder=tmp_path).returncode == 2


def test_options_of_the_command_that_exclude_each_other(honest: Path, tmp_path: Path) -> None:
    with pytest.raises(VxpError, match="one of --nonce, --opening and --beacon"):
        cli.bundles.verify(honest, nonce="00", opening=tmp_path / "c.json")
    with pytest.raises(VxpError, match="one of --sample and --all"):
        cli.bundles.verify(honest, every=True, sample=3)
    for bundle, commit in ((None, None), (honest, tmp_path / "c.json")):
        with pytest.raises(VxpError, match="a BUNDLE, or --commit FILE alone"):
            cli.bundles.verify(bundle, commit=commit)
    with pytest.raises(typer.Exit):
        cli.bundles.verify(commit=tmp_path / "c.json")
    assert nonces.opened(tmp_path / "c.opening.json").source == "commitment"


@pytest.mark.parametrize("text", ["{}", "[1]", "{", '{"_type": "https://in-toto.io/Statement/v1"}'])
def test_other_files_are_no_statements(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(VxpError, match=r"s\.json"):
        audit.read(tmp_path / "s.json")


def test_a_statement_is_what_the_audit_said(honest: Path, tmp_path: Path) -> None:
    found = audited(honest, sample=3)
    audit.write(found, tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == audit.read(tmp_path / "s.json")
    assert audit.read(tmp_path / "s.json")["predicate"]["verdict"] == "reproduced"
