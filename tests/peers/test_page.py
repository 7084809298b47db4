"""The page docs/differences.md shows the numbers that the tests measure, of the versions that are installed here."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import pytest
from vxp.metrics import catalogue

from .conftest import DIFFERENCES, library

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
SHOWN: dict[str, str] = json.loads(DIFFERENCES.read_text(encoding="utf-8"))
HEADINGS = {"quantus": "Quantus", "grad-cam": "pytorch-grad-cam", "captum": "Captum", "pysaliency": "pysaliency",
            "saliency": "Saliency", "authors": "The authors' own code"}
MODULES = {"quantus": "quantus", "grad-cam": "pytorch_grad_cam", "captum": "captum", "pysaliency": "pysaliency.metrics",
           "saliency": "saliency.metrics.pic"}
TESTS = [node for name in ("test_divergence.py", "test_originals.py")
         for node in ast.parse((Path(__file__).parent / name).read_text(encoding="utf-8")).body]


def table(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its first two rows."""
    section = re.split(r"^## ", PAGE, flags=re.M)
    (found,) = (part for part in section if re.match(rf"{heading}[ \n]", part))
    rows = [line.strip("| ").split(" | ") for line in found.splitlines() if line.startswith("|")]
    return rows[2:]


@pytest.mark.parametrize("name", HEADINGS)
def test_every_row_shows_the_numbers_that_were_measured_for_it(name: str) -> None:
    """In bold, in order, no more and no fewer; the names of the rows are those of the measurements."""
    own = [(key.split("/")[1], value) for key, value in SHOWN.items() if key.split("/")[0] == name]
    expected = [(row, [value for _, value in values]) for row, values in groupby(own, key=lambda pair: pair[0])]
    rows = table(HEADINGS[name])
    assert [(cells[0].replace("`", ""), re.findall(r"\*\*(.+?)\*\*", cells[3])) for cells in rows] == expected
    assert all(len(cells) == 6 for cells in rows)
    assert all("fault" in cells[1] or "choice" in cells[1] for cells in rows)


def test_what_is_in_bold_is_measured() -> None:
    assert len(re.findall(r"\*\*.+?\*\*", PAGE)) == len(SHOWN) + 2  # the two kinds, where they are explained


def measurements() -> list[str]:
    """A pattern for the first argument of every call of `measured` in the tests."""
    found = []
    for call in (node for test in TESTS for node in ast.walk(test)):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "measured":
            name = call.args[0]
            parts = name.values if isinstance(name, ast.JoinedStr) else [name]
            found.append("".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[^/]+" for part in parts))
    return found


def test_every_number_of_the_page_is_measured_by_a_test() -> None:
    patterns = measurements()
    assert [key for key in SHOWN if not any(re.fullmatch(pattern, key) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, key) for key in SHOWN)] == []


def test_every_divergence_cites_a_page_or_clause_that_exists() -> None:
    clauses = {found for path in (ROOT / "spec").glob("*.md")
               for found in re.findall(r"^\*\*(\d+\.\d+\.\d+)\*\*", path.read_text(encoding="utf-8"), re.M)}
    for test in TESTS:
        if not isinstance(test, ast.FunctionDef) or not test.name.startswith("test_"):
            continue
        text = ast.get_docstring(test) or ""
        pages, cited = re.findall(r"spec/[\w/-]+\.md", text), re.findall(r"\b\d+\.\d+\.\d+(?=[:;])", text)
        assert pages or text.startswith(("No clause", "So that")), f"{test.name} cites nothing"
        assert all((ROOT / page).exists() for page in pages), f"{test.name}: {pages}"
        assert set(cited) <= clauses, f"{test.name}: {cited}"
    assert set(re.findall(r"\[(\d+\.\d+\.\d+)\]\(", PAGE)) <= clauses


def test_every_metric_is_compared_or_said_not_to_be() -> None:
    start, end = PAGE.index("## Where they agree"), PAGE.index("## Quantus")
    first = " ".join(line.split("|")[1] for line in PAGE[start:end].splitlines() if line.startswith("|"))
    compared = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", first)) & set(catalogue())
    (said,) = re.findall(r"<!-- alone -->\nNo counterpart in these libraries is known of (.+)\.\n<!-- /alone -->", PAGE)
    alone = set(said.split(", "))
    assert compared | alone == set(catalogue())
    assert not compared & alone


@pytest.mark.parametrize("name", MODULES)
def test_the_versions_are_those_of_the_page_and_the_extra(name: str) -> None:
    library(MODULES[name])
    number = version(name)
    assert f"{name} {number}" in PAGE
    assert f"## {HEADINGS[name]} {number}\n" in PAGE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"{name}=={number}" in project["optional-dependencies"]["peers"]
