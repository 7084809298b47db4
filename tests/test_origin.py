"""What made the maps is named by the distribution that it came from: ours, another's, or none for one's own file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import vxp_schemas
from vxp import explainers
from vxp.core import explainer
from vxp.origin import origin
from vxp.runs import result

HOWTO = Path(__file__).parent / "howto"
SOURCE = """
from vxp import explainer


@explainer("its-own", signed=True)
def its_own(model, batch):
    return batch.inputs.mean(1)
"""


def implementation(request: Any) -> dict[str, Any]:
    document = result.system(explainers.bind(request))
    vxp_schemas.validate(document)
    found: dict[str, Any] = document["implementation"]
    return found


@pytest.mark.parametrize("name", [n for n, e in explainers.catalogue().items() if e.training is None])
def test_our_explainers_come_from_our_distribution(name: str) -> None:
    found = implementation(name)
    assert found["entry_point"].startswith("vxp_explainers.")
    assert (found["package"], found["version"]) == ("vxp", version("vxp"))
    assert origin("vxp.core") == ("vxp", version("vxp"))


@pytest.mark.parametrize("file", ["taylor.py:taylor_blur", "method.py:vanilla"])
def test_a_file_of_ones_own_has_its_digest_and_no_package(file: str) -> None:
    path, _, name = file.partition(":")
    assert implementation(f"{HOWTO}/{file}") == {
        "entry_point": f"vxp_user_{path.removesuffix('.py')}:{name}", "source_digest": vxp_schemas.file_digest(HOWTO / path)}


def test_a_file_of_ones_own_has_no_package_wherever_it_lies() -> None:
    """Not even in the folder of an installed distribution."""
    folder = Path(str(import_module("vxp_explainers").__file__)).parent
    assert "package" not in implementation(f"{folder}/saliency.py:saliency")


def test_two_files_of_one_name_are_two_systems(tmp_path: Path) -> None:
    digests = []
    for folder, text in (("a", SOURCE), ("b", SOURCE.replace("mean", "sum")), ("c", SOURCE)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(text)
        digests.append(result.system_digest(explainers.bind(f"{tmp_path / folder}/mine.py:its_own")))
    assert digests[0] == digests[2] != digests[1]


def test_a_function_of_a_notebook_has_no_package() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(SOURCE, names)
    assert implementation(names["its_own"]).keys() <= {"entry_point", "source_digest"}


# ------------------------------------------------------------------------------------------------- packages of others

Layout = Callable[[Path, str], Path]


def metadata(site: Path, package: str, **more: str) -> None:
    """The metadata of the distribution of a package, as installers lay them."""
    folder = site / f"{package}-2.3.dist-info"
    folder.mkdir(parents=True)
    files = {"METADATA": f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 2.3\n", **more}
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    names = "".join(f"{folder.name}/{name.replace('__', '.')},,\n" for name in files)
    if "RECORD" in more:
        (folder / "RECORD").write_text(more["RECORD"] + names)


def source(folder: Path, package: str) -> Path:
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text("")
    (folder / package / "maps.py").write_text(SOURCE)
    return folder


def editable(folder: Path) -> str:
    return json.dumps({"dir_info": {"editable": True}, "url": folder.as_uri()})


def installed(site: Path, package: str) -> Path:
    """From a wheel."""
    metadata(site, package, RECORD=f"{package}/__init__.py,,\n{package}/maps.py,,\n")
    return source(site, package)


def edited(site: Path, package: str) -> Path:
    """In place, as hatchling, flit, poetry and, for a checkout with src/, setuptools do it."""
    checkout = site.parent / "checkout with a space"
    (site / "_edited.pth").parent.mkdir(parents=True)
    (site / "_edited.pth").write_text(f"import os\n{checkout / 'src'}\n")
    metadata(site, package, direct_url__json=editable(checkout), RECORD="_edited.pth,,\n")
    return source(checkout / "src", package)


def edited_flat(site: Path, package: str) -> Path:
    """In place, as setuptools does it for a checkout with the package at its top."""
    checkout = site.parent / "checkout with a space"
    metadata(site, package, direct_url__json=editable(checkout), top_level__txt=f"{package}\n", RECORD="__finder.py,,\n")
    return source(checkout, package)


def announced(site: Path, package: str) -> Path:
    """A checkout on PYTHONPATH, of which only the metadata are found."""
    metadata(site, package, entry_points__txt=f"[vxp.explainers]\nmine = {package}.maps\n")
    return source(site.parent / "elsewhere", package)


@pytest.mark.parametrize("layout", [installed, edited, edited_flat, announced])
def test_an_explainer_of_another_package_is_that_packages(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = f"vxp_{layout.__name__}_maps"  # a name that begins as ours do
    for folder in {layout(tmp_path / "site", package), tmp_path / "site"}:
        monkeypatch.syspath_prepend(folder)
    found = implementation(import_module(f"{package}.maps").its_own)
    assert found == {"entry_point": f"{package}.maps:its_own", "package": package.replace("_", "-"), "version": "2.3",
                     "source_digest": vxp_schemas.file_digest(Path(sys.modules[f"{package}.maps"].__file__ or ""))}


def test_a_module_beside_a_distribution_is_none_of_its(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the folder that packages are installed to, nor in the checkout of an edited one."""
    for folder in (tmp_path / "site", edited(tmp_path / "site", "vxp_beside_maps").parent):
        (folder / f"{folder.name[:4]}_helper.py").write_text(SOURCE)
        monkeypatch.syspath_prepend(folder)
        module = import_module(f"{folder.name[:4]}_helper")
        assert implementation(module.its_own).keys() == {"entry_point", "source_digest"}


def test_the_module_of_a_wrapped_function_counts() -> None:
    inner = import_module("vxp_explainers.saliency").saliency.explain
    assert implementation(explainer("again", signed=True)(inner))["package"] == "vxp"
