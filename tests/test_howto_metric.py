"""The how-to of a metric, run whole: its files in a copy of the checkout, its command, then what CI asks of the catalogue."""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
from howto_tools import ROOT, checkout, done, files
from vxp.models import from_file

NAME = "comprehensiveness"
WRITTEN = files("metric", "harness/vxp/metrics")
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


def test_what_the_page_says_makes_a_metric_of_the_standard(tmp_path: Path) -> None:
    copy = checkout(tmp_path / "checkout")
    assert len(WRITTEN) == 3
    copy.take(WRITTEN)
    lock = copy.folder / "spec/vectors/LOCK.json"
    before = json.loads(lock.read_bytes())

    # what came or changed is what the page says, and nothing of any other metric
    vectors = f"spec/vectors/cases/{NAME}@1.json"
    assert copy.made("metric") == ({f"schemas/vxp_schemas/registry/metrics/{NAME}@1.json", vectors}, {
        f"spec/metrics/{NAME}.md", "spec/metrics/index.md", "spec/vectors/LOCK.json", "docs/reference/metrics.md",
        "docs/differences.md", "README.md"})
    assert {name: digest for name, digest in json.loads(lock.read_bytes()).items() if name != f"{NAME}@1"} == before

    # the checks of CI that a metric can break
    said = copy.checked(GLOBAL, [NAME], SUITES)
    for suite in ("spec", "conformance", "metrics_oracle", "properties"):
        assert re.search(rf"^tests/test_{suite}\.py::.*{NAME}.* PASSED", said, re.M)
    conformance = [sys.executable, "-m", "vxp", "conformance", "--vectors", "spec/vectors", "--metrics", NAME]
    told = done(conformance, copy.folder, copy.environment)
    assert f"conforms: {len(json.loads((copy.folder / vectors).read_bytes()))} passed" in told
    done([sys.executable, "-m", "ruff", "check", "--no-cache", *WRITTEN], copy.folder, copy.environment)


def test_a_page_that_is_not_there_is_written_with_what_the_declaration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sections are those that every page has, and what is not known stays empty, for which CI is red."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    declared = from_file(f"{WRITTEN[f'harness/vxp/metrics/{NAME}.py']}:{NAME}")
    written = import_module("_generate").blank_page(declared)
    wanted = WRITTEN[f"spec/metrics/{NAME}.md"].read_text(encoding="utf-8")
    headings = re.findall(r"^#+ .+$", written, re.M)
    assert headings == re.findall(r"^#+ .+$", wanted, re.M)
    assert "\n- `share`:\n- `fill`:\n" in written
    assert "\n- `undefined:constant-map`:\n" in written
    assert "<!-- facts -->\n<!-- /facts -->" in written
    assert f"## Algorithm\n\n1. `{NAME}.1`\n" in written
