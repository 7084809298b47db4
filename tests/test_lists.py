"""`vxp list` and `vxp show`: a line each, one of them whole, and both as the declarations say."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import vxp_schemas
from vxp import datasets, explainers, metrics, models
from vxp.cli import facts, lists
from vxp.maintain import listing
from vxp.runs import result

if TYPE_CHECKING:
    from conftest import Vxp

KINDS = sorted(lists.KINDS)


def rows(what: str) -> list[Mapping[str, str]]:
    kind = lists.KINDS[what]
    return [*(kind.row(name, one) for name, one in kind.found().items()), *lists.OTHERS.get(what, list)()]


# ------------------------------------------------------------------------------------------------ what the facts are held to


def test_the_stored_facts_of_explainers_are_their_declarations() -> None:
    assert listing.place().read_text(encoding="utf-8") == listing.text(), "run `make explainer`"


def test_every_kind_has_what_its_catalogue_has() -> None:
    assert facts.metrics() == {id: result.metric_document(metric) for id, metric in metrics.catalogue().items()}
    assert facts.explainers() == {id: explainers.facts(one) for id, one in explainers.catalogue().items()}
    assert set(facts.datasets()) == set(datasets.sources())
    assert [row["model"] for row in rows("models")] == sorted(models.model_names()) + list(facts.FAMILIES)


def test_a_package_with_another_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts that were stored before an explainer was added are not what there is."""
    package = tmp_path / "of_a_stranger"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "old.py").write_text("")
    stored = {"modules": ["old"], "explainers": {"kept": {"id": "kept"}}}
    (package / facts.LISTING).write_text(json.dumps(stored))
    monkeypatch.syspath_prepend(tmp_path)
    point = next(iter(facts.entry_points(group="vxp.explainers")))
    announced = type(point)("x", "of_a_stranger", "vxp.explainers")
    monkeypatch.setattr(facts, "entry_points", lambda group: [announced])
    assert facts.explainers() == stored["explainers"]
    (package / "new.py").write_text("")
    assert "saliency" in facts.explainers()


def test_signatures_are_those_of_the_metrics() -> None:
    for id, metric in metrics.catalogue().items():
        assert facts.signature(facts.metrics()[id]) == metrics.Bound(metric, metric.parameters).signature
    assert facts.signature(lists._named("metrics", lists.KINDS["metrics"], "morf")) == metrics.bind("morf").signature


# ------------------------------------------------------------------------------------------------------------ vxp list


@pytest.mark.parametrize("width", [60, 80, 120, 300])
@pytest.mark.parametrize("what", KINDS)
def test_a_terminal_gets_a_line_each_with_names_whole(what: str, width: int) -> None:
    found = rows(what)
    printed = lists.lines(found, width)
    assert len(printed) == len(found) + 1
    heads = list(found[0])
    for row, line in zip(found, printed[1:], strict=True):
        assert line.startswith(f"{row[heads[0]]}  ")
        if "model" in row:
            assert f"{row['model']}  " in line
    if width >= 120:
        assert max(map(len, printed)) <= width


def test_a_definition_is_cut_at_the_end_of_the_line() -> None:
    row = {"metric": "gini", "of": "", "definition": "Gini index of the values of the map"}
    assert lists.lines([row], 30) == ["metric  definition", "gini    Gini index of the val…"]
    assert lists.lines([row], 80)[1] == "gini    Gini index of the values of the map"
    assert lists.lines([row], None) == ["gini\t\tGini index of the values of the map"]


@pytest.mark.parametrize("what", KINDS)
def test_piped_a_list_is_separated_by_tabs_and_whole(what: str, run_vxp: Vxp) -> None:
    done = run_vxp("list", what)
    assert done.returncode == 0, done.stderr
    assert [line.split("\t") for line in done.stdout.splitlines()] == [list(row.values()) for row in rows(what)]
    assert json.loads(run_vxp("list", what, "--json").stdout) == rows(what)


def test_whether_data_is_here_is_asked_for(run_vxp: Vxp) -> None:
    done = json.loads(run_vxp("list", "tasks", "--here", "--json").stdout)
    assert {row["task"]: row["data"] for row in done}["shapes"] == "here"
    assert all(row["data"] in ("here", "absent") for row in done)
    done = json.loads(run_vxp("list", "datasets", "--here", "--json").stdout)
    assert {row["dataset"]: row["data"] for row in done}["voc"] == datasets.source("voc").missing()


# ------------------------------------------------------------------------------------------------------------ vxp show


@pytest.mark.parametrize("what", KINDS)
def test_every_thing_that_is_listed_is_shown(what: str, run_vxp: Vxp) -> None:
    kind = lists.KINDS[what]
    for name, one in kind.found().items():
        for width in (60, None):
            text = lists.page(kind.page(one), width)
            assert any(name in line for line in text) or what == "metrics"
    first = next(iter(kind.found()))
    assert json.loads(run_vxp("show", kind.one, first, "--json").stdout) == kind.found()[first]


def test_a_metric_is_shown_whole(run_vxp: Vxp) -> None:
    said = run_vxp("show", "metric", "irof").stdout
    document = vxp_schemas.registry_document("metrics", "irof")
    for text in (document["definition"], document["source"], document["clause"], *document["known_failure_modes"],
                 metrics.bind("irof").signature, *(f"{p['name']} = {p['default']}" for p in document["parameters"]),
                 *(f"{code}: {vxp_schemas.STATUSES[f'undefined:{code}']}" for code in document["undefined"])):
        assert text in said
    limits = [line for line in run_vxp("show", "metric", "deletion").stdout.splitlines() if " = " in line]
    assert limits[0] == "  steps = 224: integer, at least 1"
    assert "one of black, mean, blur" in limits[1]


def test_an_explainer_is_shown_with_its_docstring(run_vxp: Vxp) -> None:
    said = run_vxp("show", "explainer", "rise").stdout
    one = explainers.catalogue()["rise"]
    for part in (inspect.getdoc(one.explain) or "").split("\n\n"):
        assert " ".join(part.split()) in said
    assert all(f"  {name} = " in said for name in one.parameters)


def test_an_alias_is_shown_with_its_own_parameters(run_vxp: Vxp) -> None:
    said = run_vxp("show", "metric", "lerf").stdout
    assert "lerf is an alias of insertion|fill:mean." in said
    assert metrics.bind("lerf").signature in said


# ------------------------------------------------------------------------------------------------------ what is imported

HEAVY = ("torch", "torchvision", "scipy", "matplotlib", "captum", "numba", "pyarrow", "jinja2", "jsonschema", "skimage")


@pytest.mark.parametrize("arguments", [
    ["--help"], *(["list", what] for what in KINDS), ["show", "explainer", "rise"], ["explain-code", "VXP-C002"],
    ["validate", "nothere"], ["run", "--metric", "gini"]], ids=" ".join)
def test_what_only_reads_imports_nothing_heavy(arguments: list[str]) -> None:
    said = f"""
import sys
from vxp.cli import main
sys.argv = ["vxp", *{arguments!r}]
try:
    main()
finally:
    print("heavy:", *sorted({{*{HEAVY!r}, "vxp_explainers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-P", "-c", said], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "heavy:", done.stderr


def test_the_package_is_imported_by_what_is_named() -> None:
    said = f"""
import sys, vxp
assert set(vxp.__all__) == set(dir(vxp)), dir(vxp)
vxp.__version__, vxp.VxpError, vxp.VxpWarning
print(*sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-P", "-c", said], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
