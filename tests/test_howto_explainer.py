"""The how-to of an explainer, run whole: its two files in a copy of the checkout, its command, then what CI asks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from howto_tools import checkout, done, files

NAME = "taylor-blur"
WHOLE = (
    "tests/test_docs.py::test_generated_page_is_up_to_date",
    "tests/test_docs.py::test_every_page_with_the_note_is_held",
    "tests/test_docs.py::test_every_metric_and_explainer_of_ours_has_a_section",
    "tests/test_lists.py::test_the_stored_facts_of_explainers_are_their_declarations",
    "tests/test_explainers.py::test_the_package_is_scanned_for_declarations",
    "tests/test_explainers.py::test_explainers_are_declarations",
    "tests/test_clip_explainers.py::test_the_explainers_of_clips",
    "tests/test_clip_references.py::test_references_are_admitted_by_what_they_declare",
    "tests/test_clips.py::test_explainers_say_what_they_make",
    "tests/test_spec.py::test_a_source_is_no_file_of_ours[First-order Taylor",
    "tests/test_taylor_blur.py",
)
"""The tests that look at the explainers as a whole, and those of the page."""
SUITES = ("explainers", "clip_explainers", "printed", "origin")
"""The tests that run over the explainers, of which those of the new one are run."""


def test_what_the_page_says_makes_an_explainer_of_the_project(tmp_path: Path) -> None:
    copy, written = checkout(tmp_path / "checkout"), files("explainer", "reference_explainers/vxp_explainers")
    assert len(written) == 2
    copy.take(written)
    came, changed = copy.made("explainer")
    assert (came, changed) == (set(), {"docs/reference/explainers.md", "reference_explainers/vxp_explainers/explainers.json",
                                        "README.md"})
    said = copy.checked(WHOLE, [f"[{NAME}]", f"-{NAME}]", f"[{NAME}-"], SUITES)
    for suite in ("explainers", "printed", "origin"):
        assert re.search(rf"^tests/test_{suite}\.py::.*{NAME}.* PASSED", said, re.M)
    done([sys.executable, "-m", "ruff", "check", "--no-cache", *written], copy.folder, copy.environment)
