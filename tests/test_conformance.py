"""The conformance vectors: reproducible, locked, complete, passed by both implementations; the driver survives any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import vxp_schemas
from oracles import implementation, make_vectors
from rich.console import Console
from safetensors.numpy import load_file
from vxp import conformance, explainers
from vxp.conformance import OURS, Checked, checked, conform, conforms, folder, main, read_cases
from vxp.conformance import worker as conformance_worker
from vxp.core import Bank, Batch, Normalization, VxpError
from vxp.documents import BYTES, RULES
from vxp.metrics import catalogue

TESTS = Path(__file__).parent
VECTORS = TESTS.parent / "spec" / "vectors"
ORACLES = (sys.executable, "-m", "oracles")
NAMES = [metric.name for metric in catalogue().values()]
FEW = ("deletion", "sensitivity-n", "irof", "mprt", "random-logit", "max-sensitivity", "label-randomisation", "pointing-game",
       "frame-deletion", "t-pointing")
"""One of every kind: curves, parts, regions, states of the model, another class, noise, sets, truth, frames."""


def cases_of(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = vxp_schemas.loads((VECTORS / "cases" / f"{name}.json").read_bytes())
    return found


@pytest.fixture(autouse=True)
def _beside_the_oracles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TESTS)


# --------------------------------------------------------------------------------------------------------- the vectors


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_has_vectors_of_its_version(name: str) -> None:
    metric = catalogue()[name.partition("@")[0]]
    found = cases_of(name)
    assert {case["metric"] for case in found} == {metric.id}
    assert any(case["parameters"] == dict(metric.parameters) for case in found)  # the defaults
    assert all(list(case["parameters"]) == list(metric.parameters) for case in found)
    for case in found:
        assert (TESTS.parent / case["clause"]).exists()
        assert (case["level"], tuple(case["undefined"]), tuple(case["truth"])) == (metric.level, metric.undefined, metric.truth)
    seen = {status for case in found for status in case["expected"]["status"]}
    finite = set(metric.kinds) <= set(BYTES)  # every byte is a number
    assert {"ok", *(() if finite else ("undefined:non-finite-map",))} <= seen
    assert {f"undefined:{code}" for code in metric.undefined} <= seen
    numbers = {n for case in found for n in (case["expected"]["values"] or [case["expected"]["set"]]) if n is not None}
    assert len(numbers) > 1  # or an implementation that always says the same would pass
    rules = {rule for kind in metric.kinds for rule in RULES.get(kind, {"none": 0})}
    assert {item["resample"] for case in found for item in case["items"]} == rules
    assert all(case["agrees_with"] == [] or case["agrees_with"][0].keys() == {"library", "version"} for case in found)


def test_no_vectors_are_left_of_what_is_no_metric() -> None:
    assert sorted(path.stem for path in (VECTORS / "cases").glob("*.json")) == sorted(NAMES)
    assert sorted(json.loads((VECTORS / "LOCK.json").read_text())) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_expected_values_are_the_locked_ones(name: str) -> None:
    """Other values need another version of the metric, with a lock of its own."""
    locked = json.loads((VECTORS / "LOCK.json").read_text())
    assert make_vectors.expected_digest(cases_of(name)) == locked[name], (
        f"the expected values of {name} differ from LOCK.json: raise the metric's version")


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_that_is_named_is_the_one_that_is_here(name: str) -> None:
    for case in cases_of(name):
        file = TESTS.parent / case["computed_by"]["file"]
        assert case["computed_by"]["digest"] == vxp_schemas.file_digest(file), (
            f"{file.name} has changed: cd tests && python -m oracles.make_vectors --metrics {case['metric']}")


def references_of_the_vectors() -> dict[str, Any]:
    found: dict[str, Any] = vxp_schemas.loads((VECTORS / "references.json").read_bytes())
    return found


def bank_of(shown: Mapping[str, Any], normalization: Normalization) -> Bank:
    on, off = (normalization.to_inputs(torch.from_numpy(implementation.read(VECTORS, shown[key])).float() / 255)
               for key in ("on", "off"))
    values, labels = (torch.from_numpy(implementation.read(VECTORS, shown[key])) if key in shown else None
                      for key in ("values", "labels"))
    return Bank(tuple(shown["names"]), on, off, shown["paired"], values, labels)


@pytest.mark.parametrize("case", references_of_the_vectors()["cases"], ids=lambda case: case["id"])
def test_references_are_the_maps_of_the_vectors(case: dict[str, Any]) -> None:
    document = references_of_the_vectors()
    normalization = Normalization(tuple(document["normalization"]["mean"]), tuple(document["normalization"]["std"]))
    truth = {kind: torch.from_numpy(implementation.read(VECTORS, at))[None] for kind, at in case["truth"].items()}
    parts = {unit: torch.from_numpy(of)[None] for unit, of in implementation.divided(case, VECTORS).items()}
    inputs = torch.from_numpy(implementation.read(VECTORS, case["input"]))[None]
    model = conformance_worker.network(VECTORS, case["model"]) if "model" in case else torch.nn.Identity()
    batch = Batch((case["item"],), inputs, torch.zeros(1, dtype=torch.long), normalization, document["seed"], truth,
                  parts=parts, foils=torch.tensor([case["foil"]]) if "foil" in case else None,
                  bank=bank_of(case["concepts"], normalization) if "concepts" in case else None,
                  named=tuple(case.get("named", ())))
    batch = replace(batch, targets=batch.targets + case.get("target", 0))
    got = explainers.bind(case["reference"])(model, batch)[0]
    expected = torch.from_numpy(implementation.read(VECTORS, case["expected"]))
    torch.testing.assert_close(got, expected, rtol=case["tolerance"], atol=case["tolerance"])


def test_every_reference_has_vectors_of_the_oracle_that_is_here(tmp_path: Path) -> None:
    document = references_of_the_vectors()
    assert {case["reference"] for case in document["cases"]} == set(explainers.REFERENCES)
    assert document["computed_by"]["digest"] == vxp_schemas.file_digest(TESTS.parent / document["computed_by"]["file"]), (
        "references.py has changed: cd tests && python -m oracles.make_vectors --metrics gini")
    make_vectors.write_data(tmp_path)
    make_vectors.write_references(tmp_path)
    made, here = (load_file(folder / "references.safetensors") for folder in (tmp_path, VECTORS))
    assert made.keys() == here.keys()
    for case in document["cases"]:  # the last digit of exp and sqrt may be the machine's
        assert made[case["id"]] == pytest.approx(here[case["id"]], rel=case["tolerance"] / 10, abs=case["tolerance"] / 10)


def made_at(folder: Path, metrics: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> dict[str, bytes]:
    """The files that the script writes into a folder."""
    monkeypatch.setattr(make_vectors, "FOLDER", folder)
    assert make_vectors.main(["--metrics", metrics, *options]) == 0
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_script_gives_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From nothing, but for the last digits of numbers, which differ by machine, and for who computed them."""
    few = "gini,selectivity,mprt,label-randomisation,irof,sim"
    made = made_at(tmp_path, few, monkeypatch)
    assert len([name for name in made if name.startswith("cases/")]) == few.count(",") + 1
    for name, content in made.items():
        here = (VECTORS / name).read_bytes()
        if name.startswith("cases/"):
            assert [without_makers(case) for case in json.loads(content)] == [
                without_makers(make_vectors.settled(case, case)) for case in json.loads(here)]
        elif name != "LOCK.json":
            assert content == here, name


def without_makers(case: dict[str, Any]) -> dict[str, Any]:
    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return pytest.approx(value, rel=make_vectors.SAME, abs=make_vectors.SAME)
        return [rounded(v) for v in value] if isinstance(value, list) else value

    expected = {key: rounded(value) for key, value in case["expected"].items()}
    return {key: value for key, value in case.items() if key not in ("computed_by", "agrees_with")} | {"expected": expected}


def test_twice_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (made_at(tmp_path / name, "gini,random-logit", monkeypatch) for name in ("a", "b"))
    assert first == second
    assert made_at(tmp_path / "a", "gini,random-logit", monkeypatch) == first  # over what is there


def test_what_stands_is_kept_where_only_last_digits_differ() -> None:
    case = cases_of("gini@1")[0]
    values = case["expected"]["values"]
    at = next(i for i, value in enumerate(values) if value)

    def made(factor: float, **changes: Any) -> dict[str, Any]:
        other = [value * factor if i == at else value for i, value in enumerate(values)]
        return {**case, "expected": {**case["expected"], "values": other}, "agrees_with": [], **changes}

    before = {**case, "agrees_with": [{"library": "quantus", "version": "0.6"}]}
    assert make_vectors.settled(made(1 + 1e-12), before) == before
    other = made(1 + 1e-6)
    assert make_vectors.settled(other, before) == other
    by = case["computed_by"] | {"digest": "sha256:new"}
    assert make_vectors.settled(made(1.0, computed_by=by), before) == before | {"computed_by": by}
    asked = made(1.0, tolerance=1e-3)
    assert make_vectors.settled(asked, before) == asked


def test_a_locked_value_is_not_changed_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_vectors, "FOLDER", tmp_path)
    (tmp_path / "LOCK.json").write_text(json.dumps({"gini@1": "sha256:other"}))
    assert make_vectors.main(["--metrics", "gini"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["LOCK.json"]
    assert make_vectors.main(["--metrics", "gini", "--allow-draft-change"]) == 0
    assert json.loads((tmp_path / "LOCK.json").read_text())["gini@1"] != "sha256:other"


def test_a_released_standard_has_no_draft_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [released] = [document | {"spec_version": "1.0.0"} for document in make_vectors.documents(["gini"])]
    monkeypatch.setattr(make_vectors, "FOLDER", tmp_path)
    monkeypatch.setattr(make_vectors, "documents", lambda metrics: [released])
    (tmp_path / "LOCK.json").write_text(json.dumps({"gini@1": "sha256:other"}))
    assert make_vectors.main(["--allow-draft-change"]) == 1


def test_what_a_release_locked_is_locked_still() -> None:
    """In a checkout with its tags, whoever changed LOCK.json by hand is found out as well."""
    now = json.loads((VECTORS / "LOCK.json").read_text())
    assert make_vectors.refused({"a@1": "x", "b@1": "y"}, {"a@1": "x", "b@1": "z", "b@2": "z"}, draft=False) == ["b@1"]
    for tag in git("tag", "--list", "v[1-9]*", "--merged", "HEAD").split():
        then = json.loads(git("show", f"{tag}:spec/vectors/LOCK.json"))
        assert make_vectors.refused(then, now, draft=False) == [], tag


def git(*arguments: str) -> str:
    """What git says; nothing where there is no git or no repository."""
    try:
        return subprocess.run(["git", *arguments], cwd=TESTS, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def test_the_script_says_which_metric_has_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert make_vectors.main(["--metrics", "gini,ginni"]) == 1
    assert "no registry document of ginni" in capsys.readouterr().err


def test_vectors_are_small_enough_to_carry() -> None:
    assert sum(path.stat().st_size for path in VECTORS.rglob("*") if path.is_file()) < 6e6


# --------------------------------------------------------------------------------------------------- two implementations


def test_our_harness_passes_every_case_through_the_same_door() -> None:
    name, found = conform(OURS, VECTORS, read_cases(VECTORS))
    assert name.startswith("vxp ")
    assert [f"{c.case}: {c.why}" for c in found if c.outcome != "passed"] == []


def test_the_plain_implementation_passes_through_the_same_door() -> None:
    name, found = conform(ORACLES, VECTORS, read_cases(VECTORS, FEW))
    assert name.startswith("oracles ")
    assert [f"{c.case}: {c.why}" for c in found if c.outcome != "passed"] == []


def test_the_plain_implementation_needs_what_the_case_gives_and_nothing_else() -> None:
    case = cases_of("max-sensitivity@1")[0]
    assert implementation.answered(case, VECTORS)["op"] == "result"
    without = case | {"items": [item | {"given": []} for item in case["items"]]}
    answer = implementation.answered(without, VECTORS)
    assert answer["op"] == "error"
    assert "gives no map" in answer["message"]


def test_no_implementation_of_ours_reads_outside_the_folder(tmp_path: Path) -> None:
    case = cases_of("gini@1")[0]
    (tmp_path / "vectors").mkdir()
    outside = {"file": "../data.safetensors", "tensor": "input/0"}
    stolen = case | {"items": [item | {"input": outside} for item in case["items"]]}
    for answered in (implementation.answered, conformance_worker.answered):
        answer = answered(stolen, VECTORS)
        assert answer["op"] == "error"
        assert "inside the folder" in answer["message"]


# -------------------------------------------------------------------------------------------------- other implementations

PEER = """
import json, sys, time
for line in sys.stdin:
    m = json.loads(line)
    if m["op"] == "start":
        print(json.dumps({"op": "started", "protocol": 1, "name": "peer", "version": "0"}), flush=True)
    elif m["op"] == "stop":
        break
    else:
        case, n = m["id"], len(m["items"])
        BODY
"""


def outcomes(tmp_path: Path, body: str, cases: int = 2, timeout: float = 20.0) -> list[Checked]:
    file = tmp_path / "peer.py"
    file.write_text(PEER.replace("BODY", body))
    return conform((sys.executable, str(file)), VECTORS, cases_of("gini@1")[:1] * cases, timeout=timeout)[1]


@pytest.mark.parametrize(("body", "outcome", "why"), [
    ("print(json.dumps({'op': 'result', 'id': case, 'values': [1] * n, 'status': ['no'] * n}), flush=True)", "failed", "no"),
    ("print(json.dumps({'op': 'skipped', 'id': case, 'reason': 'not yet'}), flush=True)", "skipped", "not yet"),
    ("print(json.dumps({'op': 'error', 'id': case, 'message': 'no idea'}), flush=True)", "error", "no idea"),
    ("print(json.dumps({'op': 'result', 'id': 'x', 'values': [], 'status': []}), flush=True)", "error", "answered case 'x'"),
    ("print(json.dumps({'op': 'result', 'id': case}), flush=True)", "error", "expected a list"),
    ("print(json.dumps({'op': 'result', 'id': case, 'values': 3, 'status': 'ok'}), flush=True)", "error", "expected a list"),
    ("print('hello', flush=True)", "error", "no strict JSON"),
    ("print('[1]', flush=True)", "error", "JSON object"),
    ("print('{\"op\": \"result\", \"values\": [NaN]}', flush=True)", "error", "no strict JSON"),
    ("print('{\"op\": 1, \"op\": 2}', flush=True)", "error", "no strict JSON"),
    ("sys.stdout.buffer.write(bytes([0xff, 0xfe, 10])); sys.stdout.flush()", "error", "no strict JSON"),
    ("sys.exit(3)", "error", "exit code 3"),
    ("raise ValueError", "error", "exit code 1"),
])
def test_whatever_an_implementation_does_is_its_own_result(tmp_path: Path, body: str, outcome: str, why: str) -> None:
    found = outcomes(tmp_path, body)
    assert [c.outcome for c in found] == [outcome] * 2  # the second case has a process of its own if the first ended it
    assert all(why in c.why for c in found), found[0].why
    assert not conforms(found)


def test_one_that_answers_twice_loses_one_case_at_a_time(tmp_path: Path) -> None:
    """The second answer to the first case is taken for the second's; the third has a process that is in step again."""
    body = ("print(json.dumps({'op': 'skipped', 'id': case, 'reason': 'once'})); "
            "print(json.dumps({'op': 'skipped', 'id': 'x', 'reason': 'twice'}), flush=True)")
    found = outcomes(tmp_path, body, cases=3)
    assert [c.outcome for c in found] == ["skipped", "error", "skipped"]


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    found = outcomes(tmp_path, "time.sleep(60)", cases=1, timeout=1.0)
    assert found[0].outcome == "error"
    assert "no answer within 1 s" in found[0].why


def test_one_that_does_not_read_is_ended(tmp_path: Path) -> None:
    """More than a pipe holds is waiting for it, and the driver must not wait with it."""
    file = tmp_path / "peer.py"
    file.write_text(PEER.replace("BODY", "pass").replace('"version": "0"}), flush=True)',
                                                         '"version": "0"}), flush=True); time.sleep(60)'))
    case = cases_of("smooth-mprt@1")[0]
    long = case | {"items": case["items"] * 20}
    assert len(json.dumps(long)) > 2**17
    start = time.monotonic()
    found = conform((sys.executable, str(file)), VECTORS, [long], timeout=1.0)[1]
    assert "no answer within 1 s" in found[0].why
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(("body", "why"), [
    ("sys.stdout.write('x' * 10**5 * 200); sys.stdout.flush()", "no strict JSON"),  # more than a line may have
    ("sys.stdout.write('['); sys.stdout.flush(); time.sleep(60)", "no answer within 2 s"),  # a line without an end
    ("[print('{}') for _ in range(10**5)]; sys.stdout.flush(); time.sleep(60)", "answered case None"),
    ("import os; os.close(1); time.sleep(60)", "closed its standard output"),
])
def test_one_that_talks_nonsense_at_length_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, why: str
) -> None:
    monkeypatch.setattr(conformance, "GRACE", 0.5)
    found = outcomes(tmp_path, body, cases=1, timeout=2.0)
    assert found[0].outcome == "error"
    assert why in found[0].why


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_what_a_shell_started_ends_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"{sys.executable} -c \"import os,time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)\"; true"
    conform(("sh", "-c", script), VECTORS, cases_of("gini@1"), timeout=2.0)
    time.sleep(0.2)  # the kernel's time to end it
    status = Path(f"/proc/{mark.read_text()}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_command_that_is_none_is_said() -> None:
    found = conform(("no-such-command",), VECTORS, cases_of("gini@1"))[1]
    assert {c.outcome for c in found} == {"error"}
    assert "no-such-command" in found[0].why


def answer(case: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {"op": "result", "id": case["id"], **case["expected"]} | changes


def test_a_number_is_judged_by_the_tolerance_of_its_case() -> None:
    case = cases_of("gini@1")[0]
    at = next(i for i, v in enumerate(case["expected"]["values"]) if v is not None)
    none = case["expected"]["values"].index(None)

    def with_value(i: int, value: Any) -> Checked:
        values = list(case["expected"]["values"])
        values[i] = value
        return checked(case, answer(case, values=values))

    right = case["expected"]["values"][at]
    assert checked(case, answer(case)).outcome == "passed"
    assert abs(right) < 1  # beyond, the tolerance grows with the number
    assert with_value(at, right + 0.9 * case["tolerance"]).outcome == "passed"
    assert with_value(at, right + 1.1 * case["tolerance"]).outcome == "failed"
    for value in (None, "0.5", True):
        assert with_value(at, value).outcome == "failed"
    assert with_value(none, 0.0).outcome == "failed"  # a status is never silently a number


def test_curves_are_judged_where_they_are_shown() -> None:
    case = cases_of("deletion@1")[0]
    shown = case["expected"]["curves"]
    at = next(i for i, curve in enumerate(shown) if curve)

    def with_curves(curves: Any) -> Checked:
        return checked(case, answer(case, curves=curves))

    other = [list(curve) if curve else None for curve in shown]
    other[at][3] += 3 * case["tolerance"]  # type: ignore[index]
    assert with_curves(shown).outcome == with_curves(None).outcome == "passed"
    assert with_curves(other).outcome == "failed"
    assert "point 3" in with_curves(other).why
    for curves in (shown[:-1], [*shown[:at], shown[at][:-1], *shown[at + 1 :]], "x", [[0.5]] * len(shown)):
        assert with_curves(curves).outcome == "failed"


@pytest.mark.parametrize("name", NAMES)
def test_every_curve_of_the_harness_is_in_the_vectors(name: str) -> None:
    (case, *_) = cases_of(name)
    answer = conformance_worker.answered(case | {"items": case["items"][:2]}, VECTORS)
    assert answer["op"] == "result", answer
    assert ("curves" in answer) == ("curves" in case["expected"])


def test_the_set_has_one_number() -> None:
    case = cases_of("label-randomisation@1")[0]
    right = case["expected"]["set"]
    assert checked(case, answer(case)).outcome == "passed"
    assert checked(case, answer(case, set=right + 2 * case["tolerance"])).outcome == "failed"
    assert checked(case, answer(case, set=None)).outcome == "failed"


# -------------------------------------------------------------------------------------------------------- the command


def test_the_command_prints_a_matrix_and_says_so_in_its_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "peer.py"
    file.write_text(PEER.replace("BODY", "print(json.dumps({'op': 'skipped', 'id': case, 'reason': 'not yet'}), flush=True)"))
    report = tmp_path / "report.json"
    environment = os.environ | {"COLUMNS": "120"}
    ours = subprocess.run([sys.executable, "-m", "vxp", "conformance", "--vectors", str(VECTORS), "--metrics", "gini,entropy",
                           "--json", str(report)], capture_output=True, text=True, env=environment)
    assert ours.returncode == 0, ours.stderr
    assert "conforms: 4 passed" in ours.stdout
    document = json.loads(report.read_text())
    assert document["conforms"] is True
    assert {c["metric"] for c in document["cases"]} == {"gini", "entropy"}
    theirs = subprocess.run([sys.executable, "-m", "vxp", "conformance", "--vectors", str(VECTORS), "--metrics", "gini", "--",
                             sys.executable, str(file)], capture_output=True, text=True, env=environment)
    assert theirs.returncode == 1
    assert "not yet" in theirs.stdout
    assert "does not conform" in theirs.stdout


def test_the_wrong_folder_and_the_wrong_metric_are_said(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match="--vectors DIR"):
        folder(tmp_path)
    with pytest.raises(VxpError, match="no vectors for deletoin"):
        main(Console(), OURS, vectors=VECTORS, metrics=("deletoin",))
    with pytest.raises(VxpError, match="no folder"):
        main(Console(), OURS, vectors=VECTORS, json_path=tmp_path / "none" / "report.json")


def test_what_is_skipped_and_what_is_wrong_are_told_apart() -> None:
    found = [Checked("a/1", "a", "passed"), Checked("a/2", "a", "skipped", "later"), Checked("a/3", "a", "failed", "off"),
             Checked("a/4", "a", "failed", "off again"), Checked("b/1", "b", "error", "lost")]
    assert conformance.remarks(found) == ["skipped: a/2: later", "failed: a/3: off", "error: b/1: lost"]
    assert [(metric, *counts.values()) for metric, counts, _ in conformance.matrix(found)] == [
        ("a", 1, 2, 1, 0), ("b", 0, 0, 0, 1)]
