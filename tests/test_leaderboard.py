"""Records and the board: what is shown, what counts, what is flagged, and that nothing has to be believed."""

from __future__ import annotations

import datetime
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import vxp_schemas
from bundle_tools import Broken, key, made_run, sealed, trusted
from rich.console import Console
from vxp import audit, explainers, leaderboard, stats, validation
from vxp.bundles import signing
from vxp.core import VxpError
from vxp.leaderboard import flags, known, records, references, tables
from vxp.leaderboard.board import board

METRICS = ("entropy", "deletion|steps:28", "insertion|steps:28", "max-sensitivity|samples:4", "max-box-acc-v2|thresholds:20")
"""Scores of the task but for the last, which is in no test."""
NAMES = ("saliency", "grad-cam", "input-x-gradient")
FAST = {"nonce": audit.nonces.own("00"), "batch_size": 24}


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The validator in this process: one of its own, as the commands have it, costs seconds each time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patched.setattr(validation, "apart", validation.validate)
        patched.setattr(validation, "all_apart", lambda paths, level, strict=False, record=False: [
            (p, validation.validate(p, level, record=record)) for p in paths])
        yield


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three sealed methods; saliency with maps made again, grad-cam with its scores, input-x-gradient without an audit."""
    folder = tmp_path_factory.mktemp("board")
    run = made_run(folder / "run", *NAMES, metrics=METRICS)
    found = {name: sealed(run, folder / f"{name}.tar", name, submission_id=f"lab-{name}", title=f"Title of {name}",
                          submitter={"name": f"Lab {name}", "contact": "lab@example.org"}) for name in NAMES}
    audited(found["saliency"], regenerate="saliency")
    audited(found["grad-cam"])
    signing.main(found["saliency"], key("lab"))
    return found


def audited(bundle: Path, out: Path | None = None, **order: Any) -> Path:
    """The audit of a bundle in an envelope, signed by the auditor."""
    target = out or bundle.with_name(f"{bundle.name}.audit.json")
    audit.write(audit.verify(bundle, audit.Order(**{"sample": None, **FAST, **order})), target)
    return signing.main(target, key("auditor"), target)[0]


@pytest.fixture(scope="module")
def added(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("added") / "records"
    trusted(folder, lab="Lab saliency")
    for bundle in bundles.values():
        statement, signature = (bundle.with_name(f"{bundle.name}.{what}.json") for what in ("audit", "dsse"))
        assert said(leaderboard.add_, bundle, folder, [statement] if statement.exists() else [],
                    signature=signature if signature.exists() else None)[0] == 0
    assert said(leaderboard.keep, bundles["saliency"].parent / "run", folder)[0] == 0
    return folder


@pytest.fixture
def kept(added: Path, tmp_path: Path) -> Path:
    """Records of the three, with the trust and the references beside them."""
    shutil.copytree(added.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "records"


def said(command: Callable[..., int], *arguments: Any, **options: Any) -> tuple[int, str]:
    console = Console(width=200, file=io.StringIO(), force_terminal=False)
    code = command(console, *arguments, **options)
    return code, console.file.getvalue()  # type: ignore[attr-defined]


def built(folder: Path) -> dict[str, Any]:
    found, wrong = records.read_all(folder)
    document, misstated = board(found, references.read_all(folder))
    assert not wrong
    assert not misstated
    return document


def of(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(s for s in document["submissions"] if s["submission_id"] == name)


def codes(document: dict[str, Any], name: str) -> set[str]:
    return {f["code"] for f in of(document, name)["findings"]}


# --------------------------------------------------------------------------------------------------------------- the board


def test_a_record_is_the_bundle_without_maps_and_curves(kept: Path, bundles: dict[str, Path]) -> None:
    from vxp.bundles import open_bundle

    for record in kept.iterdir():
        whole = open_bundle(bundles[next(n for n in NAMES if record.name.startswith(f"lab-{n}-"))])
        inside = {p.relative_to(record / "bundle").as_posix() for p in (record / "bundle").rglob("*") if p.is_file()}
        assert {p.split("/")[-1] for p in set(whole.paths) - inside} == {"00000.safetensors", "curves.safetensors"}
        assert inside < set(whole.paths)
        assert sum(p.stat().st_size for p in record.rglob("*") if p.is_file()) < 250_000


def test_the_same_records_give_the_same_bytes(kept: Path, added: Path, tmp_path: Path) -> None:
    assert said(leaderboard.build, kept, tmp_path / "a", check=False)[0] == 0
    shutil.copytree(added.parent, tmp_path / "elsewhere")
    assert said(leaderboard.build, tmp_path / "elsewhere" / "records", tmp_path / "b", check=False)[0] == 0
    first, second = ({p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
                     for out in (tmp_path / "a", tmp_path / "b"))
    assert len(first) == 3 + 1 + len(NAMES)  # the document twice, the first page, one of the table, and one each
    assert first == second
    code, text = said(leaderboard.build, kept, tmp_path / "a", check=True)
    assert (code, "is what the 3 records give" in text) == (0, True)


def test_a_record_that_has_not_changed_is_not_checked_again(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless --check asks for it; and never where a byte of it, or of the validator, is another."""
    asked: list[list[str]] = []
    real = validation.all_apart

    def counting(paths: list[Path], level: str, **more: Any) -> Any:
        asked.append([p.parent.name.rpartition("-")[0] for p in paths])
        return real(paths, level, **more)

    monkeypatch.setattr(validation, "all_apart", counting)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for check in (False, False, True):
        assert said(leaderboard.build, kept, tmp_path / "site", check=check)[0] == 0
    everything = sorted(f"lab-{n}" for n in NAMES)
    assert asked == [everything, [], everything]
    monkeypatch.setattr(known, "_code", lambda: "another validator")
    assert said(leaderboard.build, kept, tmp_path / "site", check=False)[0] == 0
    (file,) = next(kept.glob("lab-saliency-*")).glob("bundle/results/*/samples.parquet")
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(bytes(data))
    code, text = said(leaderboard.build, kept, tmp_path / "site", check=False)
    assert (code, "VXP-I003" in text or "VXP-I002" in text) == (1, True)
    assert asked[3:] == [everything, ["lab-saliency"]]


def test_one_more_record_costs_what_it_changes(
    kept: Path, bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No table is computed again that nothing changed, no pair compared twice, no test drawn twice; and the board is that of a
    build from nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    counts: Counter[str] = Counter()

    def counting(place: Any, name: str) -> None:
        real = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *a, **k: counts.update([name]) or real(*a, **k))

    for place, name in ((tables, "_table"), (flags, "_columns"), (stats, "paired"), (records.Record, "samples")):
        counting(place, name)
    last = next(kept.glob("lab-grad-cam-*"))
    shutil.move(last, tmp_path / last.name)
    assert said(leaderboard.build, kept, tmp_path / "site", check=False)[0] == 0
    first = dict(counts)
    assert first["_table"] == 1
    assert first["paired"] > 0
    assert said(leaderboard.build, kept, tmp_path / "site", check=False)[0] == 0
    assert counts == first, "nothing changed"
    shutil.move(tmp_path / last.name, last)
    assert said(leaderboard.build, kept, tmp_path / "site", check=False)[0] == 0
    assert counts["_table"] == 2
    more = counts["paired"] - first["paired"]
    counts.clear()
    assert said(leaderboard.build, kept, tmp_path / "site", check=True)[0] == 0
    assert more < counts["paired"]
    (tmp_path / "cache" / "vxp" / "records.sqlite").write_bytes(b"no database")
    assert said(leaderboard.build, kept, tmp_path / "again", check=False)[0] == 0
    assert (tmp_path / "again" / "leaderboard.json").read_bytes() == (tmp_path / "site" / "leaderboard.json").read_bytes()


def test_a_page_is_made_again_where_something_changed(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it follows from, or the page itself; and --check makes all."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made: list[str] = []
    for name in ("_submission_page", "_table_page"):
        real = getattr(leaderboard.page, name)
        monkeypatch.setattr(leaderboard.page, name, lambda *a, real=real, name=name: made.append(name) or real(*a))
    monkeypatch.setattr(leaderboard, "_parquet", lambda rows, real=leaderboard._parquet: made.append("_parquet") or real(rows))
    everything = Counter({"_submission_page": len(NAMES), "_table_page": 1, "_parquet": 1})

    def building(check: bool = False) -> Counter[str]:
        made.clear()
        assert said(leaderboard.build, kept, tmp_path / "site", check=check)[0] == 0
        return Counter(made)

    assert building() == everything
    assert building() == Counter()
    (edited,) = (tmp_path / "site" / "submissions").glob("lab-saliency-*.html")
    before = edited.read_bytes()
    edited.write_bytes(before.replace(b"E3", b"E4"))
    assert building() == Counter(["_submission_page"])
    assert edited.read_bytes() == before
    (report,) = kept.glob("lab-saliency-*/report.json")
    report.write_text(json.dumps(json.loads(report.read_bytes()) | {"created": "2026-01-01T00:00:00Z"}))
    assert building() == Counter(["_submission_page", "_table_page", "_parquet"])
    assert building(check=True) == everything
    monkeypatch.setattr(known, "_code", lambda: "other templates")
    assert building() == everything


def test_check_names_what_differs(kept: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    said(leaderboard.build, kept, out, check=False)
    (out / "index.html").write_text((out / "index.html").read_text().replace("0.", "1."))
    (out / "submissions" / "mine.html").write_text("mine")
    (out / "leaderboard.json").unlink()
    code, text = said(leaderboard.build, kept, out, check=True)
    assert code == 1
    for line in ("other content: index.html", "too much: submissions/mine.html", "missing: leaderboard.json"):
        assert line in text
    assert not (out / "leaderboard.json").exists()
    said(leaderboard.build, kept, out, check=False)
    assert not (out / "submissions" / "mine.html").exists()


def test_only_what_was_computed_again_is_shown_and_ranked(kept: Path) -> None:
    document = built(kept)
    vxp_schemas.validate(document)
    levels = {name: of(document, f"lab-{name}")["evidence"] for name in NAMES}
    assert levels == {"saliency": "E3", "grad-cam": "E2", "input-x-gradient": "E1"}
    assert [of(document, f"lab-{n}")["shown"] for n in NAMES] == [True, True, False]
    (table,) = document["tables"]
    entries = {e["explainer"]: {s["signature"].partition("@")[0]: s for s in e["scores"]} for e in table["entries"]}
    assert {r["explainer"] for r in table["references"]} == set(explainers.references(("mask",)))
    assert not any("tied_for_best" in s for s in entries["input-x-gradient"].values())
    # grad-cam's audit was made without the explainer, so that nobody has computed this one again
    assert entries["grad-cam"]["max-sensitivity"]["evidence"] == "E1"
    assert entries["saliency"]["max-sensitivity"]["evidence"] == "E3"
    assert not any("tied_for_best" in e["max-sensitivity"] for e in entries.values())
    assert entries["grad-cam"]["max-sensitivity"]["why_not_ranked"] == "not computed again by an audit"
    assert any(entries[n]["deletion"]["tied_for_best"] for n in ("saliency", "grad-cam"))
    assert entries["saliency"]["max-box-acc-v2"]["why_not_ranked"] == "not a metric of the task"
    assert all(s["figure"] == s["mean"] for s in entries["saliency"].values())
    assert entries["saliency"]["max-box-acc-v2"]["evidence"] == "E3"


def test_the_pages_say_what_counts(kept: Path, tmp_path: Path) -> None:
    said(leaderboard.build, kept, tmp_path, check=False)
    assert "tied for best" in (tmp_path / "index.html").read_text()
    (page,) = (tmp_path / "tables").glob("*.html")
    index = page.read_text()
    assert "Show also 1 submission below evidence E2" in index
    assert "E1 only" in index
    part = r"24 of \d+ items from 24 of \d+ clusters"
    assert re.search(f"Only {part}, of every cluster in turn: not comparable", index)
    note = "<small class=.note.>"
    assert re.search(rf"<td>open{note}{part}</small>{note}\d+ of the task.+s \d+ scores were left out: ", index)
    assert "object at 0x" not in index
    assert "<script" not in index
    (page,) = (tmp_path / "submissions").glob("lab-saliency-*.html")
    text = page.read_text()
    (record,) = kept.glob("lab-saliency-*")
    root = json.loads((record / "report.json").read_bytes())["root_digest"]
    for words in (root, "vxp run shapes --explainer saliency", "@misc{lab-saliency", "vxp verify BUNDLE", "Lab saliency",
                  "reproduced", "any item"):
        assert words in text
    assert re.search(rf"open division \({part}; \d+ of the task", text)
    other = next((tmp_path / "submissions").glob("lab-input-x-gradient-*.html")).read_text()
    assert "Not in the default view: evidence E1, below E2" in other


def test_lost_items_cost_and_the_pages_say_so(kept: Path, tmp_path: Path) -> None:
    """An explainer that has no map for two items of 24 is ranked by what it has with those at the worst end; one that has
    none for half of them is not."""
    file = tmp_path / "own.py"
    file.write_text("import torch\nfrom vxp import explainers\n\n\ndef lossy(model, batch, keep):\n"
                    "    maps = explainers.bind('saliency')(model, batch)\n"
                    "    maps[torch.arange(len(maps)) % 8 >= keep] = float('nan')\n    return maps\n\n\n"
                    "def some(model, batch):\n    return lossy(model, batch, 7)\n\n\n"
                    "def half(model, batch):\n    return lossy(model, batch, 4)\n")
    run = made_run(tmp_path / "run", f"{file}:some", f"{file}:half", metrics=METRICS[:3])
    for name in ("some", "half"):
        bundle = sealed(run, tmp_path / f"{name}.tar", name, submission_id=name, title=f"Our {name}", submitter=STRANGER)
        code, text = said(leaderboard.add_, bundle, kept, [audited(bundle)])
        assert code == 0, text
    assert said(leaderboard.build, kept, tmp_path / "site", check=False)[0] == 0
    (table,) = json.loads((tmp_path / "site" / "leaderboard.json").read_bytes())["tables"]
    found = {e["explainer"]: {s["signature"].partition("@")[0]: s for s in e["scores"]} for e in table["entries"]}
    for name, coverage in (("some", 7 / 8), ("half", 1 / 2)):
        deletion = found[name]["deletion"]
        assert deletion["coverage"] == pytest.approx(coverage)
        assert deletion["figure"] == pytest.approx(coverage * deletion["mean"] + 1 - coverage)
        assert deletion["figure_ci"]["lo"] <= deletion["figure"] <= deletion["figure_ci"]["hi"]
        assert deletion["why_not_ranked"] == f"a number for {coverage:.0%} of the items, below 90%"
        assert "tied_for_best" not in deletion
    (page,) = (tmp_path / "site" / "tables").glob("*.html")
    assert "without the items that it lost" in page.read_text()


def test_the_table_has_a_row_for_every_score(kept: Path, tmp_path: Path) -> None:
    said(leaderboard.build, kept, tmp_path, check=False)
    rows = pq.read_table(tmp_path / "leaderboard.parquet").to_pylist()
    assert len(rows) == len(METRICS) * (len(NAMES) + 5)
    assert sum(r["reference"] for r in rows) == 5 * len(METRICS)
    record = next(kept.glob("lab-grad-cam-*"))
    (stated,) = (record / "bundle" / "results").glob("*/result.json")
    mean = {s["signature"]: s.get("mean") for s in json.loads(stated.read_bytes())["scores"]}
    for row in (r for r in rows if r["method"] == "grad-cam"):
        assert row["mean"] == pytest.approx(mean[row["signature"]], rel=1e-8)
        assert row["ms_per_map"] > 0


# ------------------------------------------------------------------------------------------------------------ what counts


def test_an_audit_of_another_bundle_is_refused(bundles: dict[str, Path], tmp_path: Path) -> None:
    """VXP-I007."""
    other = bundles["saliency"].with_name("saliency.tar.audit.json")
    code, text = said(leaderboard.add_, bundles["grad-cam"], tmp_path / "records", [other])
    assert code == 1
    assert "VXP-I007" in text
    assert not (tmp_path / "records").exists()


def test_an_audit_that_lies_beside_a_bundle_is_not_taken(bundles: dict[str, Path], tmp_path: Path) -> None:
    """Anybody can write one and lay it there."""
    assert bundles["saliency"].with_name("saliency.tar.audit.json").exists()
    assert said(leaderboard.add_, bundles["saliency"], tmp_path / "records", [])[0] == 0
    assert not list((tmp_path / "records").glob("*/audits"))


def test_an_audit_put_beside_another_record_is_found(kept: Path, tmp_path: Path) -> None:
    source = next(kept.glob("lab-saliency-*")) / "audits"
    target = next(kept.glob("lab-input-x-gradient-*")) / "audits"
    shutil.copytree(source, target)
    code, text = said(leaderboard.build, kept, tmp_path / "site", check=False)
    assert code == 1
    assert "VXP-I007" in text
    assert not (tmp_path / "site").exists()


def test_an_audit_can_be_added_later(kept: Path, bundles: dict[str, Path], tmp_path: Path) -> None:
    later = audited(bundles["input-x-gradient"], tmp_path / "later.json")
    before = {p: p.read_bytes() for p in kept.rglob("*") if p.is_file()}
    for _ in range(2):
        assert said(leaderboard.add_, bundles["input-x-gradient"], kept, [later])[0] == 0
    assert {p: p.read_bytes() for p in before} == before
    assert len(list(kept.rglob("*.json"))) == len([p for p in before if p.suffix == ".json"]) + 1
    assert of(built(kept), "lab-input-x-gradient")["evidence"] == "E2"


def test_an_edited_report_gives_way_to_the_reviewers(kept: Path, bundles: dict[str, Path]) -> None:
    record = next(kept.glob("lab-saliency-*"))
    honest = json.loads((record / "report.json").read_bytes())
    for edit in ({"evidence": "E3"}, {"checks": []}, {"rules": {"run": 0}}):
        (record / "report.json").write_text(json.dumps(honest | edit))
        assert said(leaderboard.add_, bundles["saliency"], kept, [])[0] == 0
        found = json.loads((record / "report.json").read_bytes())
        assert {k: v for k, v in found.items() if k != "created"} == {k: v for k, v in honest.items() if k != "created"}


def test_a_small_sample_raises_nothing(bundles: dict[str, Path], tmp_path: Path) -> None:
    small = audited(bundles["input-x-gradient"], tmp_path / "small.json", sample=2)
    assert audit.read(small)["predicate"]["evidence"] == "E2"
    trusted(tmp_path / "records")
    said(leaderboard.add_, bundles["input-x-gradient"], tmp_path / "records", [small])
    document = built(tmp_path / "records")
    assert of(document, "lab-input-x-gradient")["evidence"] == "E1"
    [listed] = of(document, "lab-input-x-gradient")["audits"]
    assert listed["trusted"]
    assert listed["smallest_share"] > 0.05


def changed(bundles: dict[str, Path], tmp_path: Path, name: str, change: Callable[[Broken], object], **root: Any) -> Path:
    """A bundle changed and sealed again, under a name of its own."""
    from vxp.bundles import open_bundle

    whole = open_bundle(bundles[name])
    for path in whole.paths:
        (tmp_path / "open" / path).parent.mkdir(parents=True, exist_ok=True)
        with whole.stream(path) as source:
            (tmp_path / "open" / path).write_bytes(source.read())
    broken = Broken(tmp_path / "open", tmp_path / root.get("submission_id", "changed"))
    shutil.rmtree(tmp_path / "open")
    broken.json("submission.json", lambda d: d.update(root))
    change(broken)
    broken.seal()
    return broken.folder


def test_an_audit_that_differs_is_shown_and_hides_the_submission(
    bundles: dict[str, Path], kept: Path, tmp_path: Path
) -> None:
    def better(b: Broken) -> None:
        b.table("samples", lambda t: t.update({"deletion@1|steps:28|fill:mean": [
            max(0.0, v - 0.01) for v in t["deletion@1|steps:28|fill:mean"]]}))
        b.rescore()

    bundle = changed(bundles, tmp_path, "saliency", better, submission_id="tampered",
                     submitter={"name": "Nobody", "contact": "nobody@example.org"})
    statement = audited(bundle, tmp_path / "differs.json")
    assert said(leaderboard.add_, bundle, kept, [statement])[0] == 0
    found = of(built(kept), "tampered")
    assert found["refuted"]
    assert not found["shown"]
    assert "VXP-R001" in codes(built(kept), "tampered")


def test_an_invalid_bundle_leaves_no_record(bundles: dict[str, Path], tmp_path: Path) -> None:
    bundle = changed(bundles, tmp_path, "saliency", lambda b: b.json("result", lambda d: d["scores"][0].update(mean=0.0)))
    code, text = said(leaderboard.add_, bundle, tmp_path / "records", [])
    assert code == 1
    assert "VXP-K010" in text
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(("file", "change", "code"), [
    ("samples.parquet", lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "VXP-I003"),
    ("result.json", lambda data: data.replace(b'"mean": ', b'"mean": 1'), "VXP-I002"),
    ("submission.json", lambda data: data.replace(b"Title of", b"Topic of"), "VXP-I007"),
])
def test_a_record_changed_in_the_repository_is_found(
    file: str, change: Callable[[bytes], bytes], code: str, kept: Path, tmp_path: Path
) -> None:
    (path,) = next(kept.glob("lab-saliency-*")).rglob(file)
    path.write_bytes(change(path.read_bytes()))
    exit_code, text = said(leaderboard.build, kept, tmp_path / "site", check=False)
    assert exit_code == 1
    assert code in text
    assert not (tmp_path / "site").exists()


def test_a_record_sealed_anew_is_another_submission(kept: Path, tmp_path: Path) -> None:
    """Whoever changes a mean and every digest above it changes the root, for which neither name nor audit speaks."""
    record = next(kept.glob("lab-saliency-*"))
    broken = Broken(record / "bundle", tmp_path / "again")
    broken.json("result", lambda d: d["scores"][0].update(mean=0.0))
    broken.seal(rows=False)
    shutil.rmtree(record / "bundle")
    shutil.move(broken.folder, record / "bundle")
    code, text = said(leaderboard.build, kept, tmp_path / "site", check=False)
    assert code == 1
    assert "VXP-K010" in text or "VXP-I007" in text


# ------------------------------------------------------------------------------------------------------------------ flags

STRANGER = {"name": "Stranger", "contact": "stranger@example.org"}


def test_the_same_maps_under_another_name_are_flagged(bundles: dict[str, Path], kept: Path, tmp_path: Path) -> None:
    """VXP-F011, by the bytes of the maps."""
    assert "VXP-F011" not in {c for n in NAMES for c in codes(built(kept), f"lab-{n}")}
    bundle = changed(bundles, tmp_path, "saliency", lambda b: None, submission_id="copy", submitter=STRANGER)
    said(leaderboard.add_, bundle, kept, [])
    document = built(kept)
    assert "VXP-F011" in codes(document, "copy")
    assert "VXP-F011" in codes(document, "lab-saliency")
    assert "VXP-F011" not in codes(document, "lab-grad-cam")


def test_maps_scaled_to_hide_a_copy_are_flagged(bundles: dict[str, Path], kept: Path, tmp_path: Path) -> None:
    """VXP-F011, by scores that no scale changes."""
    bundle = changed(bundles, tmp_path, "saliency", lambda b: b.tensors("shard", lambda t: t.update(values=t["values"] * 2)),
                     submission_id="scaled", submitter=STRANGER)
    assert said(leaderboard.add_, bundle, kept, [])[0] == 0
    found = next(f for f in of(built(kept), "scaled")["findings"] if f["code"] == "VXP-F011")
    assert "equal scores on 100% of the items" in found["examples"][0]["found"]


def test_a_power_of_anothers_maps_is_flagged(bundles: dict[str, Path], kept: Path, tmp_path: Path) -> None:
    """VXP-F011: a monotone change leaves the order of positions, and so the curves of every item, as they are."""
    file = tmp_path / "own.py"
    file.write_text("from vxp import explainers\n\n\ndef own(model, batch):\n"
                    "    return explainers.bind('saliency')(model, batch) ** 1.01\n")
    run = made_run(tmp_path / "run", f"{file}:own", metrics=METRICS[:3])
    bundle = sealed(run, tmp_path / "own.tar", "own", submission_id="own", title="Our method", submitter=STRANGER)
    code, text = said(leaderboard.add_, bundle, kept, [])
    assert code == 0, text
    document = built(kept)
    assert "VXP-F011" in codes(document, "own")
    assert "VXP-F011" not in codes(document, "lab-grad-cam")


def test_scores_that_move_with_anothers_are_flagged(bundles: dict[str, Path], kept: Path, tmp_path: Path) -> None:
    """VXP-F030: the maps of another with noise, which changes every score a little; not those of one's own."""
    def noisy(b: Broken) -> None:
        b.tensors("shard", lambda t: t.update(values=t["values"] + 1e-3))
        factors = np.random.default_rng(0).uniform(0.998, 1.0, 24)
        b.table("samples", lambda t: t.update({name: [v if v is None else v * f for v, f in zip(column, factors, strict=True)]
                                               for name, column in t.items() if "@" in name and not name.endswith("#status")}))
        b.rescore()

    for submitter in (STRANGER, of(built(kept), "lab-saliency")["submitter"]):
        (tmp_path / submitter["name"]).mkdir()
        bundle = changed(bundles, tmp_path / submitter["name"], "saliency", noisy, submission_id="noisy", submitter=submitter)
        code, text = said(leaderboard.add_, bundle, kept, [])
        assert code == 0, text
        document = built(kept)
        assert ("VXP-F030" in codes(document, "noisy")) == (submitter is STRANGER)
        assert "VXP-F011" not in codes(document, "noisy")
        assert "VXP-F030" not in codes(document, "lab-grad-cam")
        shutil.rmtree(next(kept.glob("noisy-*")))


def test_a_gain_on_every_item_is_flagged(bundles: dict[str, Path], kept: Path, tmp_path: Path) -> None:
    """VXP-F012."""
    root = of(built(kept), "lab-saliency")

    def gain(b: Broken) -> None:
        b.tensors("shard", lambda t: t.update(values=t["values"] + 1e-3))
        b.table("samples", lambda t: t.update({"deletion@1|steps:28|fill:mean": [
            0.9 * v for v in t["deletion@1|steps:28|fill:mean"]]}))
        b.rescore()

    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    facts = {"submitter": root["submitter"], "supersedes": root["root_digest"], "created": later.strftime("%Y-%m-%dT%H:%M:%SZ")}
    bundle = changed(bundles, tmp_path, "saliency", gain, submission_id="gain", **facts)
    signature, _ = signing.main(bundle, key("lab"))
    assert said(leaderboard.add_, bundle, kept, [], signature=signature)[0] == 0
    document = built(kept)
    assert "VXP-F012" in codes(document, "gain")
    assert "VXP-F012" not in codes(document, "lab-saliency")
    # it has taken the place of the earlier one
    assert any("superseded by" in why for why in of(document, "lab-saliency")["hidden_because"])


def test_a_stranger_supersedes_nothing(bundles: dict[str, Path], kept: Path, tmp_path: Path) -> None:
    root = of(built(kept), "lab-grad-cam")["root_digest"]
    bundle = changed(bundles, tmp_path, "saliency", lambda b: None, submission_id="usurper", submitter=STRANGER,
                     supersedes=root)
    assert said(leaderboard.add_, bundle, kept, [])[0] == 0
    assert of(built(kept), "lab-grad-cam")["shown"]


def worse(b: Broken, by: float = 0.05) -> None:
    """References made worse make a method look better."""
    b.table("references", lambda t: t.update(value=[v if v is None or not s.startswith("deletion@") else min(1, v + by)
                                                    for s, v in zip(t["signature"], t["value"], strict=True)]))
    b.rescore()


def test_references_of_another_machine_are_the_repositorys(bundles: dict[str, Path], kept: Path, tmp_path: Path) -> None:
    """Equal values of centre-gaussian were ordered otherwise on another processor, and its mean was off by eight tolerances."""
    bundle = changed(bundles, tmp_path, "grad-cam", lambda b: worse(b, 3e-4), submission_id="elsewhere", submitter=STRANGER)
    assert said(leaderboard.add_, bundle, kept, [])[0] == 0


def test_references_unlike_the_repositorys_are_refused(bundles: dict[str, Path], kept: Path, tmp_path: Path) -> None:
    """VXP-K030, when a record is added and when one that is there is built."""
    bundle = changed(bundles, tmp_path, "grad-cam", worse, submission_id="weak-references", submitter=STRANGER)
    code, text = said(leaderboard.add_, bundle, kept, [])
    assert (code, "VXP-K030" in text, len(list(kept.iterdir()))) == (1, True, len(NAMES))
    shutil.move(kept.parent / "references", tmp_path / "aside")
    assert said(leaderboard.add_, bundle, kept, [])[0] == 0
    (table,) = built(kept)["tables"]
    assert table["references"] == []  # never those of a submission
    assert not any("against" in s for e in table["entries"] for s in e["scores"])
    shutil.move(tmp_path / "aside", kept.parent / "references")
    code, text = said(leaderboard.build, kept, tmp_path / "site", check=False)
    assert (code, "VXP-K030" in text, (tmp_path / "site").exists()) == (1, True, False)


def test_references_are_kept_whole_and_once(bundles: dict[str, Path], added: Path, tmp_path: Path) -> None:
    run = bundles["saliency"].parent / "run"
    with pytest.raises(VxpError, match="is there already"):
        leaderboard.keep(Console(quiet=True), run, added)
    with pytest.raises(VxpError, match="no result with references beside it"):
        leaderboard.keep(Console(quiet=True), tmp_path, tmp_path / "records")
    assert not (tmp_path / "references").exists()
    shutil.copytree(added.parent, tmp_path / "board")
    file = next((tmp_path / "board" / "references").rglob("samples.parquet"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(VxpError, match=r"samples\.parquet"):
        leaderboard.build(Console(quiet=True), tmp_path / "board" / "records", tmp_path / "site", check=False)


# ------------------------------------------------------------------------------------------------------------- strangers


class Page(HTMLParser):
    """The elements and attributes of a page, as a browser finds them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {str(value) for name, value in attrs if name in ("href", "src", "action", "formaction", "style")}


HOSTILE = ('"><script>alert(1)</script><img src=x onerror=alert(1)>\'); --><a href="javascript:alert(1)">{{ 7*7 }}{% raw %}'
           '</pre></title>')


def test_texts_of_strangers_are_nothing_but_text_on_the_pages(
    bundles: dict[str, Path], added: Path, kept: Path, tmp_path: Path
) -> None:
    """Every text that a submitter can choose, in every place where it is shown, against the pages of an honest one."""
    said(leaderboard.build, added, tmp_path / "honest", check=False)
    honest = [Page(p.read_text()) for p in (tmp_path / "honest").rglob("*.html")]

    def everywhere(b: Broken) -> None:
        b.json("system.json", lambda d: (d["method"].update(source=HOSTILE, parameters={"x": HOSTILE, "y": [HOSTILE]}),
                                         d["implementation"].update(entry_point=HOSTILE, package=HOSTILE, version=HOSTILE,
                                                                    repo='https://x/"onmouseover="alert(1)')))
        from vxp.runs import result
        own = result.identity(json.loads(b.path("system.json").read_bytes()))
        b.json("set", lambda d: (d.update(system=own), d["explainer"].update(parameters={"x": HOSTILE, "y": [HOSTILE]})))
        b.json("result", lambda d: (d["explainer"].update(parameters={"x": HOSTILE, "y": [HOSTILE]}),
                                    d["cost"].update(device=HOSTILE)))

    person = {"name": HOSTILE, "contact": "javascript:alert(1)", "affiliation": HOSTILE}
    bundle = changed(bundles, tmp_path, "saliency", everywhere, submission_id="hostile", title=HOSTILE, submitter=person,
                     authors=[HOSTILE], license=HOSTILE, conflicts_of_interest=HOSTILE, statement_of_tuning=HOSTILE)
    code, text = said(leaderboard.add_, bundle, kept, [])
    assert code == 0, text
    assert said(leaderboard.build, kept, tmp_path / "site", check=False)[0] == 0
    pages = {p.name: p.read_text() for p in (tmp_path / "site").rglob("*.html")}
    assert any("alert(1)" in text for text in pages.values())
    known = {kind: set().union(*(getattr(p, kind) for p in honest)) for kind in ("tags", "attributes")}
    for name, text in pages.items():
        page = Page(text)
        assert page.tags <= known["tags"], name
        assert page.attributes <= known["attributes"], name
        assert all(not link.startswith(("javascript", "http", "data", "//")) for link in page.links), name
        assert "default-src 'none'" in text, name
        assert "{{ 7*7 }}" in text or "hostile" not in name, name


@pytest.mark.parametrize("part", ["report.json", "bundle", "audits", "audits/x.json", ""])
def test_links_in_a_record_are_not_followed(part: str, kept: Path, tmp_path: Path) -> None:
    """A pull request can bring them."""
    record = next(kept.glob("lab-saliency-*"))
    elsewhere = tmp_path / "elsewhere"
    if part == "audits/x.json":
        elsewhere.write_text('{"secret": 1}')
    else:
        shutil.move(record / part, elsewhere)
    (record / part if part else record).symlink_to(elsewhere)
    code, text = said(leaderboard.build, kept, tmp_path / "site", check=False)
    assert code == 1
    assert "VXP-S004" in text
    assert "secret" not in text
    assert not (tmp_path / "site").exists()


def test_a_report_too_large_is_not_read_and_strays_are_named(kept: Path, tmp_path: Path) -> None:
    record = next(kept.glob("lab-saliency-*"))
    (record / "audits" / "x.txt").write_text("x")
    assert "VXP-I004" in said(leaderboard.build, kept, tmp_path / "site", check=False)[1]
    with (record / "report.json").open("r+b") as file:
        file.truncate(2**30)
    assert "VXP-S006" in said(leaderboard.build, kept, tmp_path / "site", check=False)[1]


def test_an_audit_that_contradicts_itself_raises_nothing(kept: Path, tmp_path: Path) -> None:
    record = next(kept.glob("lab-grad-cam-*"))
    (file,) = (record / "audits").iterdir()
    statement = audit.read(file)
    statement["predicate"]["evidence"] = "E0"
    file.write_text(json.dumps(statement))
    signing.main(file, key("auditor"), file)
    assert of(built(kept), "lab-grad-cam")["audits"][0]["trusted"]
    assert of(built(kept), "lab-grad-cam")["evidence"] == "E1"
    assert said(leaderboard.build, kept, tmp_path / "site", check=False)[0] == 0


@pytest.mark.parametrize("part", ["audits", ""])
def test_nothing_is_written_through_a_link_of_a_record(part: str, bundles: dict[str, Path], kept: Path, tmp_path: Path) -> None:
    record = next(kept.glob("lab-saliency-*"))
    elsewhere = tmp_path / "elsewhere"
    shutil.move(record / part, elsewhere)
    (record / part if part else record).symlink_to(elsewhere)
    before = sorted(p.relative_to(elsewhere) for p in elsewhere.rglob("*"))
    code, text = said(leaderboard.add_, bundles["saliency"], kept, [audited(bundles["saliency"], tmp_path / "new.json")])
    assert code == 1
    assert "VXP-S004" in text
    assert sorted(p.relative_to(elsewhere) for p in elsewhere.rglob("*")) == before
