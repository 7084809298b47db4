"""The how-to of a metric, run whole: its files in a copy of the checkout, its command, then what CI asks of the catalogue."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest
from vxp.models import from_file

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "howto" / "metric.md").read_text(encoding="utf-8")
NAME = "comprehensiveness"
GLOBAL = (
    "tests/test_spec.py::test_every_metric_has_a_page_and_every_page_a_metric",
    "tests/test_spec.py::test_nothing_generated_is_missing",
    "tests/test_spec.py::test_metrics_of_zeros_and_ones_are_named",
    "tests/test_conformance.py::test_no_vectors_are_left_of_what_is_no_metric",
    "tests/test_conformance.py::test_vectors_are_small_enough_to_carry",
    "tests/test_docs.py::test_generated_page_is_up_to_date",
    "tests/test_docs.py::test_every_page_with_the_note_is_held",
    "tests/test_docs.py::test_every_metric_and_explainer_of_ours_has_a_section",
    "tests/peers/test_page.py::test_every_metric_is_compared_or_said_not_to_be",
)
"""The tests that look at the catalogue, the vectors or the pages as a whole."""
SUITES = ("spec", "conformance", "metrics_oracle", "properties", "schemas", "limits")
"""The tests that run over the catalogue, of which those of the new metric are run: the others are as they were."""
CHOICE = f"""
def pytest_collection_modifyitems(config, items):
    items[:] = [item for item in items if {NAME!r} in item.nodeid or item.nodeid.startswith({GLOBAL!r})]
"""


def files() -> dict[str, Path]:
    """What the page has one write, by its place in the checkout."""
    found = re.findall(r'^```\w+ title="([^"]+)"\n--8<-- "([^"]+)"$', PAGE, re.M)
    return {title if "/" in title else f"harness/vxp/metrics/{title}": ROOT / file for title, file in found}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout without what a metric does not touch."""
    copy = tmp_path_factory.mktemp("howto") / "checkout"
    for folder in ("harness", "schemas", "spec", "docs", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns(
            "__pycache__", ".*_cache", *(("leaderboard", "img") if folder == "docs" else ())))
    (copy / "reference_explainers").symlink_to(ROOT / "reference_explainers")
    for file in ("Makefile", "pyproject.toml", "README.md", "mkdocs.yml"):
        shutil.copy(ROOT / file, copy)
    # the interpreter that runs these tests, as the virtual environment of the Makefile
    (copy / ".venv" / "bin").mkdir(parents=True)
    interpreter = copy / ".venv" / "bin" / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    interpreter.chmod(0o755)
    return copy


@pytest.fixture(scope="module")
def environment(checkout: Path) -> Mapping[str, str]:
    paths = [str(checkout / folder) for folder in ("harness", "reference_explainers", "schemas")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def done(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def state(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and ".pytest_cache" not in path.parts}


def test_what_the_page_says_makes_a_metric_of_the_standard(checkout: Path, environment: Mapping[str, str]) -> None:
    for place, file in files().items():
        assert not (checkout / place).exists()
        shutil.copy(file, checkout / place)
    before = state(checkout)
    (command,) = re.findall(r"^make metric .*$", PAGE, re.M)
    done(shlex.split(command), checkout, environment)
    after = state(checkout)

    # what came or changed is what the page says, and nothing of any other metric
    assert {path for path in after if path not in before} == {
        f"schemas/vxp_schemas/registry/metrics/{NAME}@1.json", f"spec/vectors/cases/{NAME}@1.json"}
    assert {path for path in before if after[path] != before[path]} == {
        f"spec/metrics/{NAME}.md", "spec/metrics/index.md", "spec/vectors/LOCK.json", "docs/reference/metrics.md",
        "docs/differences.md", "README.md"}
    locks = [json.loads(found["spec/vectors/LOCK.json"]) for found in (before, after)]
    assert {name: digest for name, digest in locks[1].items() if name != f"{NAME}@1"} == locks[0]

    # the checks of CI that a metric can break
    (checkout / "choice.py").write_text(CHOICE)
    chosen = {**environment, "PYTHONPATH": os.pathsep.join([str(checkout), environment["PYTHONPATH"]])}
    whole = sorted({test.partition("::")[0] for test in GLOBAL} | {f"tests/test_{suite}.py" for suite in SUITES})
    said = done([sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "choice", *whole], checkout, chosen)
    assert all(f"{test} PASSED" in said or f"{test}[" in said for test in GLOBAL)
    for suite in ("spec", "conformance", "metrics_oracle", "properties"):
        assert re.search(rf"^tests/test_{suite}\.py::.*{NAME}.* PASSED", said, re.M)
    conformance = [sys.executable, "-m", "vxp", "conformance", "--vectors", "spec/vectors", "--metrics", NAME]
    told = done(conformance, checkout, environment)
    assert f"conforms: {len(json.loads(after[f'spec/vectors/cases/{NAME}@1.json']))} passed" in told
    done([sys.executable, "-m", "ruff", "check", "--no-cache", *files()], checkout, environment)


def test_a_page_that_is_not_there_is_written_with_what_the_declaration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sections are those that every page has, and what is not known stays empty, for which CI is red."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    declared = from_file(f"{files()[f'harness/vxp/metrics/{NAME}.py']}:{NAME}")
    written = import_module("_generate").blank_page(declared)
    wanted = files()[f"spec/metrics/{NAME}.md"].read_text(encoding="utf-8")
    headings = re.findall(r"^#+ .+$", written, re.M)
    assert headings == re.findall(r"^#+ .+$", wanted, re.M)
    assert "\n- `share`:\n- `fill`:\n" in written
    assert "\n- `undefined:constant-map`:\n" in written
    assert "<!-- facts -->\n<!-- /facts -->" in written
    assert f"## Algorithm\n\n1. `{NAME}.1`\n" in written
