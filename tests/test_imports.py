"""Imports go one way, and nothing in the harness imports the explainers."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import vxp
import vxp_explainers
from bundle_tools import made_run, sealed

ROOT = Path(vxp.__file__).parent

LAYERS = [
    {"clock", "errors", "catalogue", "origin", "machine"},
    {"documents"},
    {"random", "imputation", "bundles"},
    {"media"},
    {"kinds"},
    {"core"},
    {"outputs"},
    {"metrics", "models", "datasets"},
    {"engine", "explainers", "stats"},
    {"division"},
    {"api", "tasks"},
    {"runs"},
    {"maintain", "conformance", "validation"},
    {"report"},
    {"bench", "audit"},
    {"leaderboard"},
    {"cli"},
    {"__main__", "__init__"},
]
"""A module may import modules of its own layer or of one above it in this list."""


def depth(module: str) -> int:
    found = [i for i, layer in enumerate(LAYERS) if module in layer]
    assert found, f"vxp.{module} has no layer: add it to LAYERS, as high in the list as it can stand"
    return found[0]


def imports(file: Path) -> list[str]:
    """Modules imported when the file is imported, and those imported inside functions."""
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # a name may be a module of the package
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_point_up_the_layers(file: Path) -> None:
    here = file.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imports(file):
        parts = name.split(".")
        assert parts[0] != "vxp_explainers", f"{file}: the harness finds explainers by entry point, it never imports them"
        if parts[0] == "vxp" and len(parts) > 1 and (ROOT / f"{parts[1]}.py").exists() | (ROOT / parts[1]).is_dir():
            assert depth(parts[1]) <= depth(here), f"{file} imports {name}, which stands below it"


@pytest.mark.parametrize("name", ["batch", "requests", "case", "declarations"])
def test_what_flows_imports_torch_errors_machine_media_and_kinds_only(name: str) -> None:
    found = imports(ROOT / "core" / f"{name}.py")
    outside = {full.split(".")[0] for full in found}
    assert outside <= {"__future__", "hashlib", "inspect", "collections", "dataclasses", "functools", "typing", "torch", "vxp"}
    ours = [full for full in found if full.startswith("vxp")]
    assert all(full.startswith(("vxp.errors.", "vxp.machine.", "vxp.kinds.", "vxp.media.", "vxp.core.")) for full in ours)


def test_no_cycles() -> None:
    graph = {f.relative_to(ROOT).as_posix(): set() for f in FILES}
    for file in FILES:
        for name in imports(file):
            parts = name.split(".")[1:]
            for end in range(len(parts), 0, -1):
                base = "/".join(parts[:end])
                target = next((t for t in (f"{base}.py", f"{base}/__init__.py") if t in graph), None)
                if name.startswith("vxp.") and target and target != "__init__.py":
                    graph[file.relative_to(ROOT).as_posix()].add(target)
                    break
    done: set[str] = set()

    def visit(node: str, path: tuple[str, ...]) -> None:
        assert node not in path, f"import cycle: {' -> '.join([*path, node])}"
        if node not in done:
            for child in graph[node]:
                visit(child, (*path, node))
            done.add(node)

    for node in graph:
        visit(node, ())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return sealed(made_run(folder / "run", limit=4, metrics=("entropy", "deletion|steps:2")), folder / "bundle")


@pytest.mark.parametrize("level", ["structure", "integrity", "content"])
def test_the_checking_process_needs_no_torch_below_consistency(level: str, bundle: Path) -> None:
    """On a bundle whose every part is read: torch takes seconds and most of a gigabyte."""
    said = f"""
import sys
from pathlib import Path
from vxp.validation import validate
found = validate(Path({str(bundle)!r}), {level!r})
assert not found.stopped and not found.of("error"), found
assert found.document()["level"] == {level!r}
print(*sorted(name for name in ("torch", "scipy", "matplotlib", "jinja2") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-P", "-c", said], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.skipif(find_spec("pandas") is None, reason="pandas is not installed")
def test_the_checking_process_imports_no_pandas(bundle: Path) -> None:
    """Which pyarrow would, for a second, wherever it is installed."""
    done = subprocess.run([sys.executable, "-P", "-X", "importtime", "-m", "vxp.validation", "consistency", "whole"],
                          input=json.dumps(str(bundle)), capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["verdict"].startswith("no-errors-found"), done.stdout
    assert re.search(r"\| +torch$", done.stderr, re.M)
    assert not re.search(r"\| +pandas\.", done.stderr, re.M)  # the search for it is listed, and nothing in it


def test_a_command_imports_what_it_needs_only() -> None:
    """Every `vxp` begins so: torch alone takes seconds, and some explainers take as long again."""
    said = """
import sys, vxp.cli
print(*sorted({"torch", "scipy", "matplotlib", "jinja2"} & set(sys.modules)))
import vxp.metrics
assert "deletion" in vxp.metrics.catalogue()
print(*sorted({"scipy", "matplotlib"} & set(sys.modules)))
import vxp.explainers
assert "saliency" in vxp.explainers.catalogue()
print(*sorted({"captum", "scipy.stats", "torchvision", "matplotlib", "sklearn", "skimage"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-P", "-c", said], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["", "", ""]), done.stderr + done.stdout


# ------------------------------------------------------------------------------------------------------- the floor plan

CONTRIBUTING = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
OURS = [*FILES, *sorted(Path(vxp_explainers.__file__).parent.rglob("*.py"))]
MODULES, LINES, PARAMETERS = 14, 450, 7
"""The most modules outside the rooms, lines of a file, and parameters of a function."""
MANY = {"vxp/core/declarations.py metric", "vxp/core/declarations.py explainer", "vxp_explainers/lime.py lime",
        "vxp_explainers/st_occlusion.py st_occlusion"}
"""The functions with more parameters: the declarations, and two explainers, whose parameters are their protocol."""


def rooms() -> list[str]:
    """The rooms of the page for contributors, in its order."""
    return re.findall(r"^\| `([a-z]+)` \|", CONTRIBUTING.read_text(encoding="utf-8"), re.M)


def crowded() -> Iterator[str]:
    """The functions with too many parameters, those of the command line and the notebook's calls left out."""
    for file in OURS:
        place = file.relative_to(ROOT.parent if file.is_relative_to(ROOT) else Path(vxp_explainers.__file__).parents[1])
        if place.parts[:2] == ("vxp", "cli") or place.parts == ("vxp", "api.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
                if len([one for one in every if one.arg != "self"]) > PARAMETERS:
                    yield f"{place.as_posix()} {node.name}"


def test_the_rooms_of_the_page_are_the_folders() -> None:
    folders = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert sorted(rooms()) == folders


def test_the_page_lists_the_rooms_as_they_stand_on_each_other() -> None:
    depths = [depth(room) for room in rooms() if room != "assets"]
    assert depths == sorted(depths)


def test_few_modules_lie_outside_the_rooms() -> None:
    assert len(list(ROOT.glob("*.py"))) <= MODULES


@pytest.mark.parametrize("file", OURS, ids=lambda file: "/".join(file.parts[-2:]))
def test_a_file_is_short_enough_to_be_read(file: Path) -> None:
    lines = len(file.read_text().splitlines())
    assert lines <= LINES, f"{file.name} has {lines} lines, at most {LINES}: divide it by what it does"


def test_a_function_has_few_parameters() -> None:
    assert set(crowded()) <= MANY, "give what goes together a dataclass"
    assert len(MANY) <= 5
