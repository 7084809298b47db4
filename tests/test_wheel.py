"""The wheel is whole: installed plainly, from another directory, it lists, loads and validates."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)], check=True,
                   capture_output=True)
    return next(out.glob("*.whl"))


def test_wheel_holds_three_packages_and_their_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("vxp/py.typed", "vxp/assets/shapes-cnn.safetensors", "vxp/assets/stamps_imagenet.json",
                   "vxp/assets/stamps_video.json", "vxp_explainers/grad_cam.py", "vxp_explainers/explainers.json",
                   "vxp_schemas/v1/result.schema.json",
                   "vxp_schemas/registry/tasks/photos@2.json",
                   "vxp_schemas/registry/metrics/deletion@1.json"):
        assert needed in names, f"{needed} is missing from the wheel"
    assert not [n for n in names if n.split("/")[0] not in ("vxp", "vxp_explainers", "vxp_schemas", "vxp-0.1.0.dist-info")]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)],
                   check=True)
    return target


@pytest.mark.parametrize("editable", [False, True], ids=["plain", "editable"])
def test_installed_command_works_from_another_directory(installed: Path, editable: bool, tmp_path: Path) -> None:
    path = {} if editable else {"PYTHONPATH": str(installed)}
    environment = {**os.environ, **path}
    where = subprocess.run([sys.executable, "-c", "import vxp; print(vxp.__file__)"], cwd=tmp_path, env=environment, check=True,
                           capture_output=True, text=True).stdout.strip()
    assert where.startswith(str(ROOT if editable else installed))
    listed = subprocess.run([sys.executable, "-m", "vxp", "list", "explainers"], cwd=tmp_path, env=environment, check=True,
                            capture_output=True, text=True).stdout
    assert "grad-cam" in listed
    assert "centre-gaussian" in listed
