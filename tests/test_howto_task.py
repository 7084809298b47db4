"""The how-to pages of a data set and a task, run whole: their two files in a copy of the checkout, command, checks."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import vxp_schemas
from howto_tools import checkout, done, files, page

REGISTRY = "schemas/vxp_schemas/registry"
CARD = f"{REGISTRY}/tasks/shapes-few@1.json"
WHOLE = (
    "tests/test_docs.py::test_generated_page_is_up_to_date",
    "tests/test_schemas.py::test_registry_documents_are_valid_and_stand_under_their_name",
    "tests/test_schemas.py::test_registered_tasks_refer_to_registered_objects_by_their_digest",
    "tests/test_datasets.py::test_sources_are_found_by_scan",
    "tests/test_datasets.py::test_every_data_set_of_a_card_has_a_document",
    "tests/test_datasets.py::test_the_document_and_the_source_agree",
)
"""The tests that look at the registry and its pages as a whole."""


def test_what_the_pages_say_makes_a_data_set_and_a_task(tmp_path: Path) -> None:
    copy = checkout(tmp_path / "checkout")
    written = files("dataset", "harness/vxp/datasets") | files("task", "")
    assert set(written) == {"harness/vxp/datasets/gratings.py", CARD}
    copy.take(written)
    came, changed = copy.made("task")
    assert came == {f"{REGISTRY}/datasets/gratings@1.json", f"{REGISTRY}/items/shapes-few@1.json"}
    assert changed == {CARD, "docs/reference/tasks.md"}

    sealed = vxp_schemas.loads((copy.folder / CARD).read_bytes())
    assert sealed["items"]["rows"] == 40
    assert all("0" * 64 not in sealed[key]["digest"] for key in ("dataset", "model", "items"))
    rows = vxp_schemas.loads((copy.folder / REGISTRY / sealed["items"]["path"]).read_bytes())
    assert all(row["target"] in row["label"] for row in rows)
    (command,) = re.findall(r"^python (.*--check)$", page("task"), re.M)
    assert done([sys.executable, *shlex.split(command)], copy.folder, copy.environment) == "shapes-few: as stored\n"

    said = copy.checked(WHOLE, ["[shapes-few]"], ["datasets"])
    assert "test_the_document_and_the_source_agree[gratings] PASSED" in said
    for test in ("test_every_frozen_item_is_made_again_to_the_pixel", "test_the_list_is_frozen_again_byte_for_byte"):
        assert f"tests/test_datasets.py::{test}[shapes-few] PASSED" in said
    done([sys.executable, "-m", "ruff", "check", "--no-cache", "harness/vxp/datasets"], copy.folder, copy.environment)

    (command,) = re.findall(r"^vxp (run shapes-few .*)$", page("task"), re.M)
    done([sys.executable, "-m", "vxp", *shlex.split(command), "--limit", "2", "--threads", "1", "--batch-size", "16",
          "--device", "cpu"], copy.folder, copy.environment)
    assert len(list((copy.folder / "runs" / "shapes-few" / "results").glob("*/result.json"))) == 7
