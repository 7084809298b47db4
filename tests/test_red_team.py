"""What people tried against the board and the commands around it; each of these went through once (section 11).

Unless a test says otherwise it is the command line that is given, as `vxp` gets it, and its printed words and exit code that
are looked at."""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vxp_schemas
from bundle_tools import METRICS, STATEMENT, Broken, commanded, key, made_run, sealed
from rich.console import Console
from test_audit import EXCHANGED, exchanged, hidden, valid
from test_audit_apart import PATCHES, READS
from test_validation import FAILING, documented
from vxp import audit, bundles, leaderboard, stats, tasks, validation
from vxp.audit import tolerances
from vxp.bundles import sealing
from vxp.core import VxpError
from vxp.documents.findings import rules
from vxp.leaderboard import adding
from vxp.runs import result
from vxp.validation import Report, validate

DELETION = "deletion@1|steps:28|fill:mean"
"""A score of the task, which systems are ranked on."""
OWN = '''
import torch
from vxp.explainers import catalogue

saliency = catalogue()["saliency"].explain
calls = {"broken": 0, "trains": 0}


def tried(name):
    """The command tries every explainer twice before it starts."""
    calls[name] += 1
    return calls[name] <= 2


def best(model, batch):
    maps = torch.ones(len(batch), *batch.space)
    for i, name in enumerate(batch.ids):
        if name == batch_best:
            maps[i] = saliency(model, batch)[i]
    return maps


def broken(model, batch):
    if tried("broken"):
        return saliency(model, batch)
    raise RuntimeError("on every item")


def trains(model, batch):
    if not tried("trains"):
        model.train()
    return batch.raw().mean(1)


def revolution(model, batch):
    return saliency(model, batch)


def power(model, batch):
    return saliency(model, batch) ** 1.01
'''


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return sealed(made_run(folder / "run", limit=6, metrics=("entropy",)), folder / "bundle")


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Broken:
    return Broken(whole, tmp_path / "broken")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run` by the command, of honest methods beside those of `own.py`, `saliency` and `grad-cam` sealed, and keys."""
    folder = tmp_path_factory.mktemp("theirs")
    first = tasks.load("shapes").items[0].id
    (folder / "own.py").write_text(OWN.replace("batch_best", repr(first)))
    own = " ".join(f"-e {folder / 'own.py'}:{name}" for name in ("best", "broken", "trains", "revolution", "power"))
    commanded(f"run shapes -e saliency -e grad-cam {own} -m '{','.join((*METRICS, 'deletion|steps:28'))}' --limit 24 "
              f"--device cpu --batch-size 24 --threads 1 --out {folder / 'run'}")
    for name in ("saliency", "grad-cam"):
        seal(folder, name, folder / name)
    return folder


def seal(theirs: Path, name: str, out: Path, **said: Any) -> Path:
    """The bundle of one method of the run, by the command; each of a lab of its own."""
    statement = out.with_name(f"{out.name}.statement.json")
    statement.write_text(json.dumps(STATEMENT | {"submission_id": name, "submitter": {
        "name": f"Lab {name}", "contact": "lab@example.org"}} | said))
    commanded(f"seal {theirs / 'run'} -e {name} --submission {statement} --out {out}")
    return out


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator in this process: one of its own costs seconds each time."""
    monkeypatch.setattr(validation, "apart", validate)
    monkeypatch.setattr(validation, "all_apart", lambda paths, level, strict=False, record=False: [
        (p, validate(p, level, record=record)) for p in paths])


@pytest.fixture
def board(here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of records with a trust.json beside it, which names an auditor; the reviewer stands beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("records").mkdir()
    trust("auditor", "The Auditor", "--auditor")
    return tmp_path / "records"


def trust(who: str, name: str, *options: str) -> None:
    commanded(f"leaderboard trust {who} --key {key(who).with_name(f'{who}.pub.pem')} --name '{name}' --records records "
              f"{' '.join(options)}")


def verified(bundle: Path, options: str = "--all", code: int = 0) -> str:
    """What `vxp verify` prints; the statement lies beside the bundle."""
    return commanded(f"verify {bundle} {options} --device cpu --threads 1 --batch-size 24 --out {bundle}.audit.json", code)


def said_of(bundle: Path) -> dict[str, Any]:
    predicate: dict[str, Any] = json.loads(Path(f"{bundle}.audit.json").read_bytes())["predicate"]
    return predicate


def signed(statement: Path, who: str = "auditor") -> Path:
    commanded(f"sign {statement} --key {key(who)} --out {statement}.signed.json")
    return statement.with_name(f"{statement.name}.signed.json")


def added(bundle: Path, *options: str, code: int = 0) -> str:
    return commanded(f"leaderboard add {bundle} --records records {' '.join(options)}", code)


def audited(bundle: Path) -> str:
    """Added with an audit that counts."""
    verified(bundle)
    return added(bundle, f"--audit {signed(Path(f'{bundle}.audit.json'))}")


def built(name: str) -> dict[str, Any]:
    """The submission of this name on the board that the command builds, with its `entry` in the one table."""
    commanded("leaderboard build --records records --out site")
    document = json.loads(Path("site/leaderboard.json").read_bytes())
    found: dict[str, Any] = next(s for s in document["submissions"] if s["submission_id"] == name)
    entry = next(e for t in document["tables"] for e in t["entries"] if e["record"] == found["record"])
    return found | {"entry": {s["signature"]: s for s in entry["scores"]}, "references": document["tables"][0]["references"]}


def record(name: str) -> Path:
    (found,) = Path("records").glob(f"{name}-*")
    return found


def codes(submission: dict[str, Any]) -> set[str]:
    return {f["code"] for f in submission["findings"]}


# --------------------------------------------------------------------------------------------- what vxp validate says of it


VALIDATED = [
    ("VXP-K027", "no truth, where the task has it"), ("VXP-F006", "a method that costs nothing and says so"),
    ("VXP-F017", "a version that nobody has released"), ("VXP-K024", "a Cyrillic letter"),
    ("VXP-K024", "a letter of no width"), ("VXP-S020", "900 kB of metadata"),
    ("VXP-S020", "100 kB of spaces behind the header"), ("VXP-K023", "tuning 'TODO'"), ("VXP-K023", "tuning 'N/A'"),
    ("VXP-K023", "tuning '\\u3000'"), ("VXP-K026", "source code of zeros"), ("VXP-K026", "the container of an empty file"),
    ("VXP-K025", "the year 2099"), ("VXP-K025", "before the standard"), ("VXP-K025", "no day of the calendar"),
    ("VXP-K025", "a second too many"), ("VXP-F002", "one blob with 15 % noise"),
    ("VXP-F002", "one blob moved by up to 9 pixels"),
]
"""Of the validator's own list of what breaks its rules."""


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("code", "words"), VALIDATED, ids=[f"{c}-{w}" for c, w in VALIDATED])
def test_vxp_validate_finds_it(code: str, words: str, theirs: Path, tmp_path: Path) -> None:
    bundle = Broken(theirs / "saliency", tmp_path / "b")
    if dict(FAILING[code])[words](bundle) is not False:
        bundle.seal()
    assert code in commanded(f"validate {bundle.folder}", 1 if rules()[code].severity == "error" else 0)


@pytest.mark.usefixtures("here")
def test_a_task_of_ones_own_under_the_registrys_name(theirs: Path, tmp_path: Path) -> None:
    bundle = Broken(theirs / "saliency", tmp_path / "b")
    documented(bundle, "task", version=2)
    assert "VXP-K001" in commanded(f"validate {bundle.folder}", 1)


@pytest.mark.usefixtures("here")
def test_bytes_that_no_digest_binds_are_found_in_a_tar(theirs: Path, tmp_path: Path) -> None:
    """In the padding, behind a name, and in a field that is not used."""
    tar = seal(theirs, "saliency", tmp_path / "b.tar")
    honest = tar.read_bytes()
    entry = next(e for e in bundles.open_bundle(tar).entries.values() if e.size % 512)
    commanded(f"validate {tar}")
    for place in (entry.start + entry.size, entry.start - 512 + 99, entry.start - 512 + 330):
        data = bytearray(honest)
        data[place] = 1
        head = slice(entry.start - 512, entry.start)
        block = bytearray(data[head])
        block[148:156] = b" " * 8
        block[148:156] = f"{sum(block):06o}\0 ".encode()
        data[head] = block
        tar.write_bytes(data)
        assert "VXP-S005" in commanded(f"validate {tar} --level structure", 1)


@pytest.mark.usefixtures("here")
def test_a_bundle_whose_items_all_failed(theirs: Path, tmp_path: Path) -> None:
    """Neither valid, nor a record, nor reproduced."""
    bundle = seal(theirs, "broken", tmp_path / "b")
    assert "VXP-C016" in commanded(f"validate {bundle}", 1)
    assert "VXP-C016" in commanded(f"leaderboard add {bundle} --records {tmp_path / 'records'}", 1)
    assert "reproduced" not in verified(bundle, code=1)
    assert said_of(bundle)["verdict"] == "refused"


def test_an_explainer_that_trains_the_model_changes_nobody_elses_scores(theirs: Path, tmp_path: Path) -> None:
    commanded(f"run shapes -e saliency -m 'deletion|steps:4' --limit 24 --device cpu --batch-size 24 --threads 1 "
              f"--out {tmp_path / 'alone'}")

    def scored(run: Path, name: str) -> dict[str, Any]:
        found = (json.loads(f.read_bytes()) for f in run.glob("results/*/result.json"))
        scores = next(d["scores"] for d in found if d["explainer"]["id"] == name)
        return next(dict(s) for s in scores if s["signature"] == "deletion@1|steps:4|fill:mean")

    assert scored(theirs / "run", "saliency") == scored(tmp_path / "alone", "saliency")
    assert scored(theirs / "run", "trains")["statuses"] == {"failed:changed-model": 24}


# ----------------------------------------------------------------------------------------------- what vxp verify says of it


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose scores were computed in bf16."""
    folder = tmp_path_factory.mktemp("coarse")
    commanded("run shapes -e saliency -m 'deletion|steps:28,insertion|steps:28' --limit 24 --precision bf16 --device cpu "
              f"--batch-size 24 --threads 1 --out {folder / 'run'}")
    return seal(folder, "saliency", folder / "saliency")


def test_scores_moved_within_the_tolerance_of_bf16(coarse: Path, board: Path, tmp_path: Path) -> None:
    """To one side they are found. Where not, as of scores near the end of the range, what stands on the board is what the
    auditor computed, and is in no test."""
    bundle = Broken(coarse, tmp_path / "b")
    honest, moved = {}, {}
    for score in json.loads(bundle.path("result").read_bytes())["scores"]:
        name = score["signature"]
        step = 0.9 * tolerances.of_score(name, ("bf16", "bf16")) * (1 if score["better"] == "higher" else -1)
        honest[name], moved[name] = score["mean"], step
    deletion, insertion = sorted(moved)

    def move(name: str) -> Path:
        bundle.table("samples", lambda t: t.update({name: list(np.clip(np.add(t[name], moved[name]), 0, 1))}))
        return valid(bundle)

    audited(move(insertion))
    shown = built("saliency")["entry"][insertion]
    assert shown["mean"] > honest[insertion] + 0.05
    assert shown["figure"] == shown["audited_mean"] == pytest.approx(honest[insertion], abs=0.01)
    assert shown["why_not_ranked"] == "scored in bf16, and fp32 is compared"
    assert "tied_for_best" not in shown
    assert "VXP-R008" in verified(move(deletion), code=1)
    assert said_of(bundle.folder)["evidence"] == "E0"


def test_hard_items_that_are_said_to_have_failed(theirs: Path, board: Path, tmp_path: Path) -> None:
    """Whoever runs the explainer finds them; whoever does not counts them at the worst end."""
    bundle = hidden(Broken(theirs / "saliency", tmp_path / "b"), list(range(12)))
    audited(bundle)
    deletion = built("saliency")["entry"][DELETION]
    assert deletion["why_not_ranked"] == "a number for 50% of the items, below 90%"
    assert deletion["figure"] == pytest.approx(deletion["mean"] / 2 + 0.5)
    assert "VXP-R007" in verified(bundle, "--all --regenerate saliency", 1)
    added(bundle, f"--audit {signed(Path(f'{bundle}.audit.json'))}")
    assert built("saliency")["refuted"]


def test_maps_constant_but_for_the_best_item(theirs: Path, board: Path, tmp_path: Path) -> None:
    bundle = seal(theirs, "best", tmp_path / "b")
    assert "VXP-F001" in commanded(f"validate {bundle}")
    audited(bundle)
    deletion = built("best")["entry"][DELETION]
    assert deletion["statuses"]["ok"] == 1
    assert deletion["why_not_ranked"] == "a number for 4% of the items, below 90%"
    assert "tied_for_best" not in deletion


@pytest.mark.parametrize("name", EXCHANGED)
def test_a_file_exchanged_between_validation_and_recomputation(
    name: str, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Broken(theirs / "saliency", tmp_path / "b")
    monkeypatch.setattr(validation, "apart", lambda path, level: exchanged(bundle.path(name), validate(path, level)))
    assert "changed while it was checked" in verified(bundle.folder, code=2)
    assert not Path(f"{bundle.folder}.audit.json").exists()


@pytest.mark.usefixtures("here")
def test_an_explainer_that_reads_the_stored_maps_or_patches_the_auditor(theirs: Path, tmp_path: Path) -> None:
    """Random maps. Where bubblewrap does not work, the first goes through, and the statement says that it could."""
    bundle = Broken(theirs / "saliency", tmp_path / "stored-maps")
    bundle.tensors("shard", lambda t: t.update(values=np.random.default_rng(0).random(t["values"].shape, np.float32)))
    bundle.seal()
    ids = [item.id for item in tasks.load("shapes").limited(24).items]
    (tmp_path / "thief.py").write_text(READS.format(place=str(bundle.folder), ids=ids))
    (tmp_path / "patches.py").write_text(PATCHES)
    assert "VXP-R005" in verified(bundle.folder, f"--all --regenerate {tmp_path / 'patches.py'}:patched", 1)
    [maps] = said_of(bundle.folder)["maps"]
    kept_away = maps["isolation"] == "bubblewrap"
    printed = verified(bundle.folder, f"--all --regenerate {tmp_path / 'thief.py'}:thief", 1)
    assert ("VXP-R005" in printed) == kept_away
    assert said_of(bundle.folder)["maps"][0]["isolation"] == maps["isolation"]


@pytest.mark.usefixtures("here")
def test_another_explainer_than_the_one_that_the_bundle_names(theirs: Path, tmp_path: Path) -> None:
    bundle = seal(theirs, "revolution", tmp_path / "b")
    assert "VXP-F016" in verified(bundle, "--all --regenerate saliency")
    assert (said_of(bundle)["evidence"], said_of(bundle)["maps"][0]["same_system"]) == ("E2", False)


# --------------------------------------------------------------------------------------------- what the board makes of it


def test_an_audit_that_lies_beside_a_bundle_is_not_taken(theirs: Path, board: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(theirs / "saliency", tmp_path / "b"))
    verified(bundle)
    shutil.copy(signed(tmp_path / "b.audit.json"), tmp_path / "b.audit.json")
    added(bundle)
    assert not (record("saliency") / "audits").exists()
    assert built("saliency")["evidence"] == "E1"


def test_references_that_a_submission_made_worse(theirs: Path, board: Path, tmp_path: Path) -> None:
    """They are shown to nobody, and refused where the board has its own."""
    weak = Broken(theirs / "grad-cam", tmp_path / "b")
    weak.table("references", lambda t: t.update(value=[0.93 if s == DELETION and v is not None else v for s, v in zip(
        t["signature"], t["value"], strict=True)]))
    weak.rescore()
    weak.seal()
    added(weak.folder)
    assert built("grad-cam")["references"] == []
    commanded(f"leaderboard references {theirs / 'run'} --records records")
    assert "VXP-K030" in commanded("leaderboard build --records records --out site", 1)
    shutil.rmtree(record("grad-cam"))
    assert "VXP-K030" in added(weak.folder, code=1)
    added(theirs / "grad-cam")
    shown = {r["explainer"]: {s["signature"]: s["mean"] for s in r["scores"]} for r in built("grad-cam")["references"]}
    assert max(shown[name][DELETION] for name in ("random", "edges", "oracle")) < 0.9


def test_the_same_maps_to_a_power_under_another_name(theirs: Path, board: Path, tmp_path: Path) -> None:
    added(theirs / "saliency")
    added(theirs / "grad-cam")
    added(seal(theirs, "power", tmp_path / "b"))
    assert [("VXP-F011" in codes(built(n))) for n in ("power", "saliency", "grad-cam")] == [True, True, False]


def test_flags_deleted_from_a_report_are_there_again(theirs: Path, board: Path, tmp_path: Path) -> None:
    bundle = Broken(theirs / "saliency", tmp_path / "b")
    dict(FAILING["VXP-F006"])["a method that costs nothing and says so"](bundle)
    bundle.seal()
    added(bundle.folder)
    report = record("saliency") / "report.json"
    assert b"VXP-F006" in report.read_bytes()
    report.write_text(json.dumps(json.loads(report.read_bytes()) | {"findings": []}))
    assert "VXP-F006" in codes(built("saliency"))


def test_a_nonce_that_is_not_the_beacons_or_the_commitments(theirs: Path, board: Path, tmp_path: Path) -> None:
    """Signed by a trusted auditor; and one that the auditor chose is a flag, since he could have tried many."""
    bundle = Path(shutil.copytree(theirs / "saliency", tmp_path / "b"))
    commanded(f"verify --commit {tmp_path / 'late.json'}")
    assert "from before the bundle" in verified(bundle, f"--sample 20 --opening {tmp_path / 'late.opening.json'}", 2)
    verified(bundle, "--sample 20 --nonce c0ffee")
    statement = json.loads(Path(f"{bundle}.audit.json").read_bytes())
    for source in ({"source": "all"}, {"source": "commitment", "commitment": {
            "digest": "sha256:" + "0" * 64, "created": "2026-01-01T00:00:00Z"}}):
        forged = statement | {"predicate": statement["predicate"] | {"policy": statement["predicate"]["policy"] | source}}
        (tmp_path / "forged.json").write_text(json.dumps(forged))
        assert "VXP-I011" in added(bundle, f"--audit {signed(tmp_path / 'forged.json')}", code=1)
    assert not any(board.iterdir())
    assert "VXP-F018" not in codes(built("saliency")) if audited(bundle) else True
    verified(bundle, "--sample 23 --nonce c0ffee")
    added(bundle, f"--audit {signed(Path(f'{bundle}.audit.json'))}")
    assert "VXP-F018" in codes(built("saliency"))


def test_near_copies_of_a_method_change_nothing_for_others(theirs: Path, board: Path, tmp_path: Path) -> None:
    """A gap that one test finds, and that all pairs of a table with seven copies would not."""
    generator = np.random.default_rng(2)
    best = generator.uniform(0.2, 0.3, 24)
    second = best + generator.normal(0.02, 0.03, 24)
    verified(theirs / "saliency")
    statement = json.loads(Path(f"{theirs / 'saliency'}.audit.json").read_bytes())

    def submitted(name: str, lab: str, values: np.ndarray) -> None:
        bundle = Broken(theirs / "saliency", tmp_path / name)
        bundle.table("samples", lambda t: t.update({DELETION: list(values)}))
        rescored(bundle)
        bundle.json("submission.json", lambda d: d.update(submission_id=name, submitter={"name": lab, "contact": "x@y.org"}))
        bundle.seal(rows=False)
        root = vxp_schemas.file_digest(bundle.path("submission.json")).removeprefix("sha256:")
        said = statement | {"subject": [{"name": name, "digest": {"sha256": root}}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(said))
        added(bundle.folder, f"--audit {signed(tmp_path / f'{name}.json')}")

    p = stats.paired(best, second, [str(i) for i in range(24)], intervals=False).p
    submitted("first", "Lab One", best)
    submitted("second", "Lab Two", second)
    submitted("copy0", "Crowd", second + 0.001)
    before = [built(n)["entry"][DELETION]["tied_for_best"] for n in ("first", "second")]
    for i in range(1, 7):
        submitted(f"copy{i}", "Crowd", second + 0.001 + generator.normal(0, 1e-4, 24))
    assert 3 * p < 0.05 < 36 * p, p
    assert [built(n)["entry"][DELETION]["tied_for_best"] for n in ("first", "second")] == before == [True, False]


def rescored(bundle: Broken) -> None:
    """The aggregates of DELETION alone, which takes less time than those of all scores."""
    table = pq.read_table(bundle.path("samples"))

    def within(document: dict[str, Any]) -> None:
        score = next(s for s in document["scores"] if s["signature"] == DELETION)
        bundle._rescored(score, table[DELETION].to_pylist(), table[f"{DELETION}#status"].to_pylist(),
                         table["cluster"].to_pylist())
    bundle.json("result", within)


BREAKS: dict[str, tuple[str, str]] = {
    "report.json": ("{", "VXP-I012"), "signature.json": ('{"payload": 1}', "VXP-I012"), "withdrawal.json": ("\xff", "VXP-I012"),
    "audits/0123456789ab.json": ('{"verdict": "differs"}', "VXP-I012"), "bundle/system.json": ("[]", "VXP-I002"),
    "report.json/trust": ('{"type": "https://vxp.example/trust/v1"}', "VXP-I012"), "samples.parquet": ("", "VXP-I002"),
}


def test_a_broken_file_of_a_record_is_named_with_its_record(theirs: Path, board: Path, tmp_path: Path) -> None:
    """And the others are what they were: one pull request does not decide what the board says of the next."""
    for name in ("saliency", "grad-cam"):
        audited(Path(shutil.copytree(theirs / name, tmp_path / name)))
    (before := tmp_path / "before").mkdir()
    shutil.copytree("records", before / "records")
    for place, (text, code) in BREAKS.items():
        shutil.rmtree("records")
        shutil.copytree(before / "records", "records")
        file = next(record("saliency").rglob(place)) if place == "samples.parquet" else record("saliency") / place
        file = file.parent if file.name == "trust" else file
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(file.read_bytes()[:-9] if place == "samples.parquet" else text.encode("latin-1"))
        printed = commanded("leaderboard build --records records --out site", 1)
        assert code in printed, place
        assert file.name in printed
        assert record("saliency").name in printed
        assert record("grad-cam").name not in printed
        assert "1 records with errors: nothing was written" in printed
        assert not Path("site").exists()
    shutil.rmtree("records")
    shutil.copytree(before / "records", "records")
    (record("saliency") / "report.json").unlink()
    assert "VXP-I012" in commanded("leaderboard build --records records --out site", 1)
    shutil.rmtree(record("saliency"))
    assert built("grad-cam")["evidence"] == "E2"


# ------------------------------------------------------------------------------------------------- files that are no files


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "hole"])
def test_an_audit_that_is_no_file_is_not_waited_for(kind: str, whole: Path, board: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    {"pipe": os.mkfifo, "device": lambda p: p.symlink_to("/dev/zero"), "folder": Path.mkdir,
     "hole": lambda p: os.truncate(os.open(p, os.O_CREAT | os.O_WRONLY), 20 << 30)}[kind](path)  # type: ignore[operator]
    assert "a.json" in added(whole, f"--audit {path}", code=2)
    assert not any(board.iterdir())


@pytest.mark.parametrize(("line", "file"), [
    ("report RUN", "results/*saliency*/samples"), ("compare RESULT RESULT", "results/*saliency*/samples"),
    ("score SET --out RUN/again --threads 1 --device cpu -m entropy", "explanations/*saliency*/items"),
    ("leaderboard references RUN --records RUN/records", "results/*centre-gaussian*/samples")])
def test_a_table_that_unfolds_to_gigabytes_is_not_unfolded(line: str, file: str, whole: Path, tmp_path: Path) -> None:
    """Less than 1 MB of Parquet, with the digest to it."""
    run, rows = Path(shutil.copytree(whole.parent / "run", tmp_path / "run")), 1_200_000
    bomb = next(run.glob(f"{file}.parquet"))
    honest = pq.read_table(bomb)
    columns = {n: pa.repeat(honest[n][0], rows) for n in honest.column_names} | {
        "item_id": pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 2000]))}
    pq.write_table(pa.table(columns), bomb, compression="zstd", store_schema=False)
    assert bomb.stat().st_size < 2**20
    document = next(bomb.parent.glob("*t.json"))  # result.json or set.json
    said = json.loads(document.read_bytes())
    said[bomb.stem] |= {"size": bomb.stat().st_size, "digest": vxp_schemas.file_digest(bomb)}
    said[bomb.stem] |= {"rows": rows} if "rows" in said[bomb.stem] else {}
    document.write_text(json.dumps(said))
    for word, folder in (("RUN", ""), ("RESULT", "results"), ("SET", "explanations")):
        line = line.replace(word, str(next(run.glob(f"{folder}/*saliency*")) if folder else run))
    began = time.monotonic()
    printed = commanded(line, 2)
    assert bomb.name in printed
    assert "most" in printed
    assert time.monotonic() - began < 30


# ---------------------------------------------------------------------------------------- around a bundle, and around a board


def test_no_module_of_a_bundle_is_imported_through_pythonpath(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty entry of PYTHONPATH is the working folder."""
    broken.path("numpy.py").write_text("raise SystemExit('imported from the bundle')")
    monkeypatch.chdir(broken.folder)
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}lib")
    found = validation.apart(Path("."), "structure")
    assert [f["code"] for f in found.findings if f["severity"] == "error"] == ["VXP-I004"], found


@pytest.mark.parametrize("form", list(validation.FORMS))
def test_a_report_is_not_written_into_the_bundle_it_is_about(form: str, broken: Broken) -> None:
    def same(found: Report) -> Report:
        return found
    with pytest.raises(VxpError, match="lies in the bundle"):
        validation.main(Console(), broken.folder, "structure", same, strict=False, copies={form: broken.path("inside.out")})
    assert not broken.path("inside.out").exists()


def test_a_link_in_the_place_of_a_part_is_not_written_through(whole: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (".x.tar.part", ".x.tar"):
        (tmp_path / name).symlink_to(victim)
    bundles.write_tar(tmp_path / "x.tar", {p.relative_to(whole).as_posix(): p for p in whole.rglob("*") if p.is_file()})
    assert victim.read_text() == "mine"
    assert validate(tmp_path / "x.tar").evidence == "E1"


def test_pages_behind_a_link_are_not_deleted(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    assert leaderboard.add_(Console(quiet=True), whole, tmp_path / "records", []) == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.html").write_text("mine")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "submissions").symlink_to(tmp_path / "other")
    with pytest.raises(VxpError, match="is a link"):
        leaderboard.build(Console(quiet=True), tmp_path / "records", tmp_path / "site", check=False)
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["mine.html"]


def test_a_file_that_a_bundle_names_is_not_opened(broken: Broken, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("""
from vxp import explainer

@explainer("learned", signed=True, family="gradient", passes=1)
def learned(model, batch, *, weights: str = "none"):
    open(weights)
    return batch.raw().mean(1)
""")
    victim = str(tmp_path / "secret")
    for name in ("set", "result"):
        broken.json(name, lambda d: d["explainer"].update(parameters={"weights": victim}, id="learned"))
    broken.json("system.json", lambda d: d["method"].update(parameters={"weights": victim}, name="learned"))
    own = result.identity(json.loads(broken.path("system.json").read_bytes()))
    broken.json("set", lambda d: d.update(system=own))
    broken.seal()
    found = audit.verify(broken.folder, audit.Order(sample=None, regenerate=f"{tmp_path / 'own.py'}:learned"))
    assert found.verdict == "incomplete"
    assert "names a file" in found.not_checked[0]["reason"]


def test_a_folder_that_cannot_be_written_is_said_in_words(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file, not a folder")
    with pytest.raises(VxpError, match="Nothing half-written is left"):
        adding.add(whole, tmp_path / "records", [])


def test_millions_of_empty_lists_are_refused_soon(broken: Broken) -> None:
    broken.path("system.json").write_bytes(b"[" + b"[]," * (16 * 2**20 // 3 - 2) + b"[]]")
    began = time.monotonic()
    with pytest.raises(vxp_schemas.InvalidDocument, match="at most 1000000, and so about as many values"):
        vxp_schemas.loads(broken.path("system.json").read_bytes())
    assert time.monotonic() - began < 5  # 19 s before, on a free machine


def test_the_command_in_a_bundle_runs_nothing_of_it(broken: Broken) -> None:
    """`vxp`, as it is installed; `python -m vxp` puts the working folder first, which no program can prevent."""
    broken.path("numpy.py").write_text("raise SystemExit('imported from the bundle')")
    done = subprocess.run([str(Path(sys.executable).with_name("vxp")), "validate", "."], cwd=broken.folder, capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "VXP-I004" in done.stdout
    assert "imported from the bundle" not in done.stdout + done.stderr


def test_a_statement_of_another_place_is_no_statement(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "form.json")
    with pytest.raises(VxpError, match="no regular file"):
        sealing.read_statement(tmp_path / "form.json")


@pytest.mark.usefixtures("here")
def test_millions_of_empty_lists_do_not_hold_up_the_validator(broken: Broken) -> None:
    broken.path("system.json").write_bytes(b"[" + b"[]," * (16 * 2**20 // 3 - 2) + b"[]]")
    began = time.monotonic()
    assert "at most 1000000" in commanded(f"validate {broken.folder}", 1)
    assert time.monotonic() - began < 15  # 19 s for this file alone before, on a free machine


def test_seal_writes_through_no_link(theirs: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".x.tar.part").symlink_to(victim)
    seal(theirs, "saliency", tmp_path / "x.tar")
    assert victim.read_text() == "mine"
    (tmp_path / "y.tar").symlink_to(victim)
    commanded(f"seal {theirs / 'run'} -e saliency --submission {theirs / 'saliency.statement.json'} --out {tmp_path}/y.tar", 2)
    assert victim.read_text() == "mine"


def test_build_deletes_no_pages_behind_a_link(whole: Path, board: Path, tmp_path: Path) -> None:
    added(whole)
    for name in ("submissions", "tables"):
        (tmp_path / f"site-{name}").mkdir()
        (tmp_path / "other.html").write_text("mine")
        (tmp_path / f"site-{name}" / name).symlink_to(tmp_path)
        assert "is a link" in commanded(f"leaderboard build --records records --out site-{name}", 2)
        assert (tmp_path / "other.html").read_text() == "mine"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("option", ["--json", "--junit", "--sarif", "--html"])
def test_validate_writes_nothing_into_the_bundle(option: str, broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "lies in the bundle" in commanded(f"validate {broken.folder} {option} {broken.path('inside.out')}", 2)
    monkeypatch.chdir(broken.folder)
    assert "lies in the bundle" in commanded(f"validate . {option} inside.out", 2)
    assert not broken.path("inside.out").exists()


@pytest.mark.usefixtures("here")
def test_weights_that_a_bundle_names_are_not_opened(broken: Broken, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "secret")  # whoever opens it waits
    (tmp_path / "own.py").write_text("from vxp import explainer\n\n\n@explainer('learned', signed=True, family='gradient')\n"
                                     "def learned(model, batch, *, weights: str = 'none'):\n    open(weights)\n")
    for name in ("set", "result"):
        broken.json(name, lambda d: d["explainer"].update(parameters={"weights": str(tmp_path / "secret")}, id="learned"))
    broken.json("system.json", lambda d: d["method"].update(parameters={"weights": str(tmp_path / "secret")}, name="learned"))
    rebound(broken)
    assert "names a file" in verified(broken.folder, f"--all --regenerate {tmp_path / 'own.py'}:learned", 3)


def rebound(bundle: Broken) -> None:
    """Sealed again after a change of its system."""
    own = result.identity(json.loads(bundle.path("system.json").read_bytes()))
    bundle.json("set", lambda d: d.update(system=own))
    bundle.seal()


# ------------------------------------------------------------------------------------------------- attacks found afterwards


def test_a_link_in_somebody_elses_run_does_not_go_out_with_the_bundle(theirs: Path, tmp_path: Path) -> None:
    """Tasks and models of one's own have a document that no descriptor binds: the file behind a link was published."""
    commanded(f"data export shapes --limit 4 --device cpu --out {tmp_path / 'items'}")
    commanded(f"run --images {tmp_path / 'items' / 'images'} --model shapes-cnn -e saliency -m entropy --device cpu "
              f"--threads 1 --batch-size 4 --out {tmp_path / 'run'}")
    statement, task = theirs / "saliency.statement.json", tmp_path / "run" / "task.json"
    order = f"seal {tmp_path / 'run'} -e saliency --submission {statement} --out {tmp_path}"
    commanded(f"{order}/honest")
    honest = task.read_bytes()
    (tmp_path / "secret").write_text("a private key")
    for what in (lambda: task.symlink_to(tmp_path / "secret"), lambda: os.mkfifo(task),
                 lambda: task.write_text(json.dumps(json.loads(honest) | {"title": "another"}))):
        task.unlink()
        what()
        assert "task.json" in commanded(f"{order}/b", 2)
        assert not (tmp_path / "b").exists()


def test_a_method_by_the_name_of_a_reference(theirs: Path, tmp_path: Path, here: None) -> None:
    """A reader of the table would take it for the ceiling, or for chance."""
    bundle = Broken(theirs / "saliency", tmp_path / "b")
    for name in ("set", "result"):
        bundle.json(name, lambda d: d["explainer"].update(id="oracle"))
    bundle.json("system.json", lambda d: d["method"].update(name="oracle"))
    rebound(bundle)
    assert "VXP-K012" in commanded(f"validate {bundle.folder}", 1)
    (tmp_path / "own.py").write_text("def oracle(model, batch):\n    return batch.raw().mean(1)\n")
    assert "the name of a reference" in commanded(f"run shapes -e {tmp_path / 'own.py'}:oracle --limit 2 --device cpu "
                                                  f"--threads 1 --batch-size 2 -m entropy --out {tmp_path / 'run'}", 2)


def test_a_bundle_by_the_name_of_anothers_record_leaves_it_as_it_is(theirs: Path, board: Path) -> None:
    """A record is named by 12 digits of its digest, for which a bundle can be sought. Its report took the other's place."""
    added(theirs / "grad-cam")
    there = record("grad-cam")
    root = vxp_schemas.file_digest(theirs / "saliency" / "submission.json")
    sought = there.rename(f"records/saliency-{root[7:19]}")
    before = {p: p.read_bytes() for p in sought.rglob("*") if p.is_file()}
    assert "VXP-I007" in added(theirs / "saliency", code=1)
    assert {p: p.read_bytes() for p in sought.rglob("*") if p.is_file()} == before


def test_an_auditor_does_not_audit_what_he_submits_in_other_letters(theirs: Path, board: Path, tmp_path: Path) -> None:
    bundle = seal(theirs, "saliency", tmp_path / "b", submitter={"name": "the  AUDITOR", "contact": "lab@example.org"})
    audited(bundle)
    found = built("saliency")
    assert (found["evidence"], found["audits"][0]["why_not"]) == ("E1", "signed by auditor, who submitted")


def test_a_name_that_its_owner_did_not_sign_is_flagged(theirs: Path, board: Path) -> None:
    """Weak results in the name of another lab."""
    trust("lab", "LAB  saliency")
    added(theirs / "saliency")
    assert "VXP-F019" in codes(built("saliency"))
    commanded(f"sign {theirs / 'saliency'} --key {key('lab')} --out signature.json")
    added(theirs / "saliency", "--signature signature.json")
    assert "VXP-F019" not in codes(built("saliency"))


def test_one_auditor_with_two_keys_is_one(theirs: Path, board: Path, tmp_path: Path) -> None:
    trust("more", "Another", "--auditor")
    key("twin")
    commanded(f"leaderboard trust auditor --key {key('twin').with_name('twin.pub.pem')} --name 'The Auditor' --auditor "
              "--records records")
    document = json.loads(Path("trust.json").read_bytes())
    document["roles"]["auditors"]["threshold"] = 2
    Path("trust.json").write_text(json.dumps(document))
    bundle = Path(shutil.copytree(theirs / "saliency", tmp_path / "b"))
    verified(bundle)
    twice = signed(signed(Path(f"{bundle}.audit.json")), "twin")
    added(bundle, f"--audit {twice}")
    [audit_] = built("saliency")["audits"]
    assert (audit_["trusted"], audit_["why_not"]) == (False, "signed by 1 of 2 auditors that trust.json asks for")


def test_a_refuted_submission_sealed_again_is_seen_beside_the_first(theirs: Path, board: Path, tmp_path: Path) -> None:
    """Under a new name it has no audit that differs, and needs one that does not; and the maps are known."""
    first = seal(theirs, "saliency", tmp_path / "first")
    verified(first)
    statement = json.loads(Path(f"{first}.audit.json").read_bytes())
    statement["predicate"].update(verdict="differs", evidence="E0")
    (tmp_path / "differs.json").write_text(json.dumps(statement))
    added(first, f"--audit {signed(tmp_path / 'differs.json')}")
    added(seal(theirs, "saliency", tmp_path / "again", submission_id="again", title="Quite another method"))
    again = built("again")
    assert (again["evidence"], again["shown"], "VXP-F011" in codes(again)) == ("E1", False, True)
    assert built("saliency")["refuted"]


def test_a_validation_that_the_records_bring_along_is_not_taken(
    theirs: Path, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validations are kept by digests that anybody can compute, so that a folder of them in a pull request would do where the
    cache of the machine is named by a relative path."""
    monkeypatch.setenv("HOME", str(board.parent / "home"))
    added(theirs / "saliency")
    commanded("leaderboard build --records records --out site")
    assert list(Path("cache").rglob("records.sqlite"))
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    asked: list[int] = []
    here_ = validation.all_apart

    def counted(paths: list[Path], level: str, **more: Any) -> Any:
        asked.append(len(paths))
        return here_(paths, level, **more)

    monkeypatch.setattr(validation, "all_apart", counted)
    commanded("leaderboard build --records records --out site")
    assert asked == [1]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["verify . --sample 1 --device cpu --threads 1", "sign . --key KEY"])
def test_who_stands_in_the_bundle_writes_beside_it(command: str, broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended in a traceback."""
    monkeypatch.chdir(broken.folder)
    before = sorted(broken.folder.rglob("*"))
    commanded(command.replace("KEY", str(key("lab"))))
    assert sorted(broken.folder.rglob("*")) == before
    assert len(list(broken.folder.parent.glob("broken.*.json"))) == 1


def test_a_type_of_a_table_that_is_a_pickle_is_not_unpickled(whole: Path, tmp_path: Path) -> None:
    """Arrow had types whose metadata are pickled Python (CVE-2023-47248)."""
    run = Path(shutil.copytree(whole.parent / "run", tmp_path / "run"))
    place = next(run.glob("results/*saliency*"))
    table = pq.read_table(place / "samples.parquet")
    attack = pickle.dumps(Canary(str(tmp_path / "canary")))
    field = table.schema.field(0).with_metadata({b"ARROW:extension:name": b"arrow.py_extension_type",
                                                 b"ARROW:extension:metadata": attack})
    pq.write_table(table.cast(table.schema.set(0, field)), place / "samples.parquet")
    document = json.loads((place / "result.json").read_bytes())
    document["samples"] |= {"size": (place / "samples.parquet").stat().st_size,
                            "digest": vxp_schemas.file_digest(place / "samples.parquet")}
    (place / "result.json").write_text(json.dumps(document))
    assert b"py_extension_type" in base64.b64decode(pq.read_metadata(place / "samples.parquet").metadata[b"ARROW:schema"])
    commanded(f"report {run}")
    commanded(f"compare {place} {next(run.glob('results/*edges*'))}")
    assert not (tmp_path / "canary").exists()


class Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)
