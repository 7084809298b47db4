"""The how-to of a kind of explanation, run whole: its files and edits in a copy of the checkout, its command, the checks."""

from __future__ import annotations

import sys
from pathlib import Path

from howto_tools import checkout, done, files

WHOLE = (
    "tests/test_types.py::test_the_file_is_what_the_schemas_give",
    "tests/test_docs.py::test_generated_page_is_up_to_date",
    "tests/test_schemas.py::test_registry_documents_are_valid_and_stand_under_their_name",
    "tests/test_spec.py::test_cited_labels_are_defined",
    "tests/test_spec.py::test_labels_are_defined_once_and_stand_in_their_clause",
    "tests/test_spec.py::test_nothing_generated_is_missing",
    "tests/test_clips.py::test_explainers_say_what_they_make",
    "tests/test_imports.py::test_imports_point_up_the_layers[kinds/columns.py]",
    "tests/test_imports.py::test_no_cycles",
    "tests/test_columns.py",
)
"""The tests that look at documents, pages and imports as a whole, and those of the page."""
EDITED = {"harness/vxp/documents/__init__.py", "schemas/vxp_schemas/v1/defs.schema.json", "spec/03-explanations.md"}


def test_what_the_page_says_makes_a_kind(tmp_path: Path) -> None:
    copy, written = checkout(tmp_path / "checkout"), files("kind", "")
    edits = written.pop("/kind.diff")
    assert len(written) == 2
    copy.take(written)
    before = copy.state()
    done(["git", "apply", str(edits)], copy.folder, copy.environment)
    assert {path for path, content in copy.state().items() if before.get(path) != content} == EDITED
    assert copy.made("kind") == (set(), {"schemas/vxp_schemas/typed.py"})
    copy.checked(WHOLE, (), ())
    done([sys.executable, "-m", "ruff", "check", "--no-cache", "tests/test_columns.py", "harness/vxp/kinds",
          "harness/vxp/documents"], copy.folder, copy.environment)
