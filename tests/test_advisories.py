"""Least versions against known advisories, and what the template of a results repository installs."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LIST: dict[str, Any] = json.loads((Path(__file__).parent / "advisories.json").read_bytes())
TEMPLATE = ROOT / "docs" / "templates" / "results-repository"
LEAST = {r.name: Version(next(s.version for s in r.specifier if s.operator == ">=")) for r in map(
    Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])}
"""The least version of every dependency."""


@pytest.mark.parametrize("advisory", LIST["advisories"], ids=lambda a: a["id"])
def test_no_admitted_version_has_a_known_hole_that_is_reached(advisory: dict[str, Any]) -> None:
    assert advisory["package"] in LIST["packages"]
    assert advisory["why"]
    assert not advisory["reached"] or Version(advisory["fixed"]) <= LEAST[advisory["package"]], advisory["why"]


def test_every_package_that_reads_strangers_files_has_a_least_version() -> None:
    assert set(LIST["packages"]) <= LEAST.keys()


def test_the_template_pins_actions_by_commit_and_packages_by_hash() -> None:
    text = (TEMPLATE / ".github" / "workflows" / "submissions.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"].values()
    used = [step["uses"] for job in jobs for step in job["steps"] if "uses" in step]
    assert used
    assert [u for u in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", u)] == []
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert len(installs) == 1
    assert {"--require-hashes", "--only-binary=:all:"} <= set(installs[0].split())
    assert (TEMPLATE / "requirements.in").read_text().startswith("vxp==")
