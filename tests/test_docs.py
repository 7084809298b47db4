"""The documentation says what the code does: its code runs, its commands parse, its documents are valid, it builds."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
import torch
import typer.main
import vxp
import vxp_schemas
from torchvision.io import write_png
from vxp import core, datasets, explainers, metrics, models, tasks
from vxp.catalogue import split
from vxp.cli import app
from vxp.datasets import Source
from vxp.models import torchvision_models
from vxp.runs import fitting

if TYPE_CHECKING:
    from conftest import Vxp

ROOT = Path(__file__).resolve().parents[1]
HOWTO = ROOT / "tests" / "howto"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def ident(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language, those that include a file left out."""
    found = re.findall(rf"^```{language}[^\n]*\n(.*?)^```", page.read_text(), re.M | re.S)
    return [block for block in found if "--8<--" not in block]


# --------------------------------------------------------------------------------------------------- code and documents


def script(name: str) -> Any:
    """A script of docs/, as a module."""
    if str(ROOT / "docs") not in sys.path:
        sys.path.append(str(ROOT / "docs"))
    return importlib.import_module(name)


def generated() -> Any:
    return script("_generate")


@pytest.mark.parametrize("path", generated().PAGES)
def test_generated_page_is_up_to_date(path: str) -> None:
    assert (ROOT / "docs" / path).read_text() == generated().PAGES[path](), "run `python docs/_generate.py`"


def test_every_page_with_the_note_is_held() -> None:
    marked = [page for page in (ROOT / "docs").rglob("*.md") if generated().NOTE in page.read_text()]
    assert {str(page.relative_to(ROOT / "docs")) for page in marked} <= set(generated().PAGES)


def test_comparison_has_the_numbers_of_the_records() -> None:
    assert (ROOT / "docs" / "comparison.md").read_text() == script("_comparison").page(), "run `python docs/_comparison.py`"


def test_every_metric_and_explainer_of_ours_has_a_section() -> None:
    for kind, found in (("metrics", metrics.catalogue()), ("explainers", explainers.catalogue())):
        made = generated().PAGES[f"reference/{kind}.md"]()
        assert all(f"\n## {name}\n" in made for name in found)


def test_the_python_page_is_read_without_the_sites_generator() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    assert not re.search(r"^:::", page, re.M)
    shown = set(re.findall(r"^### (\S+)$", page, re.M))
    assert set(vxp.__all__) - {"__version__"} <= shown
    assert {edit.__name__ for edit in get_args(core.Edit)} <= shown
    # a call as it is written, the words of its docstring, and the members of a class
    assert "\nclass Removed(order: Held, a: int, b: int, fill: str)\n" in page
    assert "\ndef load(name: str, *, model: str | None = None, data: Path | None = None) -> Task\n" in page
    assert "\ndef load(\n    name: str,\n    *,\n    device: str = 'cpu',\n    clips: bool = False,\n" in page
    assert "\nMaps [B, h, w] float32 of one explainer on its native grid, [B, t, h, w] of clips, scores [B, K] of " in page
    assert "\n| `raw() -> Tensor` | The inputs as raw pixels in [0, 1]. |\n" in page
    assert " at 0x" not in page


def test_signs_of_markdown_in_a_docstring_are_escaped() -> None:
    assert generated().prose("a*b < c_d and `e*f`") == r"a\*b &lt; c\_d and `e*f`"


def test_home_and_readme_show_the_same_call() -> None:
    for language in ("python", "text"):
        assert blocks(ROOT / "README.md", language) == blocks(ROOT / "docs" / "index.md", language)


def printed(text: str) -> dict[str, float]:
    """The mean of every signature in the printed scores."""
    return {signature: float(mean) for signature, mean in re.findall(r"^  (\S+) +mean +(\S+)", text, re.M)}


def test_the_call_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks(ROOT / "README.md", "python")
    names: dict[str, Any] = {}
    exec(compile(block, "<README.md>", "exec"), names)
    assert names["maps"].shape[0] == 4
    assert list(names["scores"]) == ["deletion@1|steps:28|fill:mean", "insertion@1|steps:28|fill:blur"]
    assert set(names["scores"]["deletion"].status) == {"ok"}
    (shown,) = blocks(ROOT / "README.md", "text")
    # to the last digit but one: sums in another order differ between processors
    assert printed(capsys.readouterr().out) == pytest.approx(printed(shown), abs=2e-3)


def test_the_code_of_the_quickstart_runs_in_order() -> None:
    names: dict[str, Any] = {}
    for block in blocks(ROOT / "docs" / "quickstart.md", "python"):
        exec(compile(block, "<quickstart.md>", "exec"), names)
    assert set(names["document"]) == {"deletion@1|steps:7|fill:mean", "gini@1"}
    assert list(names["scores"]) == ["random-logit@2|window:11|sigma:1.5|weights:gaussian|span:1.0|clip:0.0|flip:none"]
    assert names["scores"]["random-logit"].status == ("ok", "ok")


@pytest.mark.parametrize("page", PAGES, ids=ident)
def test_documents_on_the_page_are_valid(page: Path) -> None:
    for block in blocks(page, "json"):
        document = vxp_schemas.loads(block.encode())
        if "type" in document:
            vxp_schemas.validate(document)


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent == ROOT], ids=ident)
def test_links_of_the_page_lead_somewhere(page: Path) -> None:
    text = re.sub(r"<!--.*?-->", "", page.read_text(), flags=re.S)
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / link).exists(), f"{page.name} links {link}"


def test_every_dependency_is_listed_with_its_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = (ROOT / "THIRD_PARTY.md").read_text().lower()
    for requirement in [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]:
        name = re.split(r"[\[<>=~! ]", requirement)[0].lower()
        assert re.search(rf"\b{re.escape(name)}\b", listed), f"{name} is not in THIRD_PARTY.md"


def test_every_file_of_a_data_set_is_listed() -> None:
    listed = (ROOT / "THIRD_PARTY.md").read_text()
    for document in vxp_schemas.registry("datasets").values():
        for file in document.get("files", []):
            if "/" in file["path"] and file.get("package", "").startswith("scikit"):
                assert Path(file["path"]).name in listed


# ------------------------------------------------------------------------------------------------------------- commands


def commands(program: str) -> list[tuple[str, str]]:
    """(page, command line) of every line of a shell block that begins with this program."""
    return [(ident(page), line) for page in PAGES for block in blocks(page, "sh")
            for line in block.replace("\\\n", " ").splitlines() if line.startswith(f"{program} ")]


def parsed(line: str) -> tuple[Any, dict[str, Any]]:
    """The command of a line and its parameters, parsed by the parser that runs it."""
    words = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with command.make_context(command.name, words) as context:
        return command, dict(context.params)


def is_model(name: str) -> bool:
    base = name.partition("@")[0]
    if ".py:" in base:
        return callable(models.from_file(f"{HOWTO}/{base}"))
    family, _, architecture = base.partition("/")
    if family == "timm":
        return architecture in pytest.importorskip("timm", reason="needs vxp[timm]").list_models()
    return base in models.model_names() or (family == "torchvision" and bool(torchvision_models.chosen(base)))


@pytest.mark.parametrize(("page", "line"), commands("vxp"))
def test_command_line_names_what_exists(page: str, line: str) -> None:
    command, given = parsed(line)
    if command.name == "fit":
        head, parameters = split(given.pop("explainer"), "explainer")
        training = explainers.catalogue()[head].training
        assert training is not None
        assert fitting.recipe_of(training, torch.nn.Identity(), given.get("recipe"), parameters, head)
        assert given["images"] or datasets.source(given["data"])
    # vxp seal names a method of a run, whatever made it
    for name in given.get("explainer") or [] if command.name != "seal" else []:
        head, _, parameters = name.partition("|")
        bound = explainers.bind("|".join([f"{HOWTO}/{head}", parameters]).strip("|") if ".py:" in head else name)
        assert callable(bound.explainer.explain)
    if model := given.get("model"):
        assert is_model(model)
    for name in ",".join(given.get("metrics") or []).split(","):
        assert not name or metrics.bind(name)
    known = [*tasks.names(), "shapes-few@1"]
    assert given.get("task") in {None, *(name.partition("@")[0] for name in known)}


@pytest.mark.parametrize(("page", "line"), commands("make"))
def test_make_knows_the_target(page: str, line: str) -> None:
    target = shlex.split(line, comments=True)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


def test_commands_in_the_text_exist() -> None:
    root: Any = typer.main.get_command(app)
    for page in PAGES:
        for words in re.findall(r"`vxp ([a-z][^`]*)`", page.read_text()):
            command, *rest = root.commands[words.split()[0]], *words.split()[1:]
            command = command.commands[rest[0]] if hasattr(command, "commands") else command
            options = {name for parameter in command.params for name in parameter.opts}
            for option in re.findall(r"(?<=\s)--[a-z-]+", words):
                assert option in options, f"{ident(page)}: `vxp {words}`"


# ------------------------------------------------------------------------------------------------------------- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_site_holds_its_pages_and_includes_the_complete_files(site: Path) -> None:
    for page in ("index", "quickstart", "concepts", "figures", "reference/cli", "reference/python", "third-party",
                 "changelog", "security", "contributing"):
        assert (site / f"{page}.html").is_file()
    for page, word in (("model", "blackbird"), ("metric", "comprehensiveness"), ("explainer", "taylor_blur"),
                       ("dataset", "GRATINGS"), ("task", "shapes-few")):
        assert word in (site / "howto" / f"{page}.html").read_text()
    assert not list(site.rglob("*.py"))


def test_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|img|iframe)[^>]*\bsrc=\"(?:https?:)?//|<link[^>]*rel=\"(?:stylesheet|preconnect)\""
                       r"[^>]*href=\"(?:https?:)?//")
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text()), f"{page.relative_to(site)} loads something from elsewhere"


# ------------------------------------------------------------------------------------- how to: each complete file, run


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment where the how-to files are installed as a package with the entry points that the pages show."""
    folder = tmp_path_factory.mktemp("plugin") / "howto-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: howto\nVersion: 1.0\n")
    lines = []
    for page in sorted((ROOT / "docs" / "howto").glob("*.md")):
        for block in blocks(page, "toml"):
            for group, points in tomllib.loads(block)["project"]["entry-points"].items():
                lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    assert len(lines) == 6
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(
        [str(folder.parent), str(HOWTO), *filter(None, [os.environ.get("PYTHONPATH")])])}


def python(environment: Mapping[str, str], folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env={**environment, "COLUMNS": "200"}, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


INSTALLED = """
import contextlib, io, json, sys, torch, vxp
from vxp import metrics
from vxp.cli import main
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 5, 2, bias=False)).eval()
with torch.no_grad():
    model[1].weight.zero_()
    model[1].weight[1, :20] = 1.0  # the log-odds of class 1 are the sum of the first channel
inputs = torch.ones(1, 3, 4, 5)
maps = torch.arange(20.0).view(1, 4, 5)
asked = ("comprehensiveness|share:10", "comprehensiveness|share:50", "comprehensiveness")
scores = vxp.score(model, inputs, torch.cat([maps]), targets=[1], metrics=asked)
flat = vxp.score(model, inputs, torch.zeros(1, 4, 5), targets=[1], metrics=asked[:1])
try:
    refused = str(metrics.bind("comprehensiveness|share:0"))
except metrics.VxpError as error:
    refused = str(error)
listed = {}
for kind in ("metrics", "explainers", "datasets"):
    sys.argv = ["vxp", "list", kind]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main()
    listed[kind] = said.getvalue()
print(json.dumps({"scores": [scores.to_dict(), flat.to_dict()], "refused": refused, "listed": listed}))
"""


@pytest.fixture(scope="module")
def installed(plugin: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process says in which the how-to files are installed."""
    said: dict[str, Any] = json.loads(python(plugin, tmp_path_factory.mktemp("installed"), "-c", INSTALLED))
    return said


def test_howto_metric_is_found_and_scores(installed: dict[str, Any]) -> None:
    scores, flat = installed["scores"]
    # 20 positions of value 1; removing k of them by the mean, 0, leaves log-odds of 20 - k
    gone = {share: 1 / (1 + torch.tensor(-20.0).exp()) - 1 / (1 + torch.tensor(20.0 * share / 100 - 20).exp())
            for share in (10, 50)}
    assert list(scores) == ["comprehensiveness@1|share:10|fill:mean", "comprehensiveness@1|share:50|fill:mean"]
    for share, expected in gone.items():
        assert scores[f"comprehensiveness@1|share:{share}|fill:mean"]["values"] == pytest.approx([float(expected)], abs=1e-6)
    assert flat["comprehensiveness@1|share:10|fill:mean"]["status"] == ["undefined:constant-map"]


def test_howto_metric_refuses_a_share_that_is_none(installed: dict[str, Any]) -> None:
    assert "parameter 'share': got 0, expected 1 to 99" in installed["refused"]


@pytest.mark.parametrize(("kind", "name"), [("metrics", "comprehensiveness"), ("explainers", "taylor-blur"),
                                            ("datasets", "gratings")])
def test_howto_files_are_listed_once_installed(installed: dict[str, Any], kind: str, name: str) -> None:
    assert name in installed["listed"][kind]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two images, one with a mask."""
    folder = tmp_path / "my-photos"
    (folder / "masks").mkdir(parents=True)
    generator = torch.Generator().manual_seed(4)
    for name in ("one", "two"):
        write_png(torch.randint(0, 256, (3, 230, 250), generator=generator, dtype=torch.uint8), str(folder / f"{name}.png"))
    mask = torch.zeros(1, 230, 250, dtype=torch.uint8)
    mask[:, 60:160, 60:160] = 255
    write_png(mask, str(folder / "masks" / "one.png"))
    return folder


@pytest.mark.parametrize(("page", "name", "parameters"), [("docs/howto/explainer.md", "taylor-blur", {"radius": 11}),
                                                          ("README.md", "vanilla", {})])
def test_the_command_on_ones_own_images_runs(
    photos: Path, page: str, name: str, parameters: dict[str, Any], run_vxp: Vxp,
) -> None:
    (line,) = [line for where, line in commands("vxp") if where == page and "--images" in line]
    for file in HOWTO.glob("*.py"):
        shutil.copy(file, photos.parent)
    small = ["--metrics", "deletion|steps:4,energy-pointing-game", "--batch-size", "8", "--threads", "1", "--device", "cpu"]
    words = shlex.split(line)[1:]
    assert run_vxp(*words, *small, folder=photos.parent).returncode == 0
    (found,) = (photos.parent / words[-1] / "results").glob(f"*-{name}-*/result.json")
    document = vxp_schemas.loads(found.read_bytes())
    vxp_schemas.validate(document)
    assert document["division"] == "open"
    assert (document["explainer"]["id"], document["explainer"]["parameters"]) == (name, parameters)
    assert [s["statuses"] for s in document["scores"]] == [{"ok": 2}, {"ok": 1, "undefined:empty-truth": 1}]
    assert (photos.parent / words[-1] / "report.html").is_file()


def test_howto_model_runs_with_its_weights(photos: Path, monkeypatch: pytest.MonkeyPatch, run_vxp: Vxp) -> None:
    monkeypatch.chdir(photos.parent)
    shutil.copy(HOWTO / "birds.py", photos.parent)
    model, facts = models.from_file("birds.py:factory")()
    page = ROOT / "docs" / "howto" / "model.md"
    (block,) = blocks(page, "python")
    exec(compile(block, "<model.md>", "exec"), {"model": model})
    (line,) = [line for where, line in commands("vxp") if where == ident(page) and "birds.py:factory" in line]
    words = shlex.split(line)[1:]
    small = ["--metrics", "deletion|steps:4", "--batch-size", "8", "--threads", "1", "--device", "cpu"]
    assert run_vxp(*words, *small).returncode == 0
    out = photos.parent / words[-1]
    document = vxp_schemas.loads((out / "model.json").read_bytes())
    vxp_schemas.validate(document)
    assert (document["id"], document["status"]) == ("own-birds-birds", "unregistered")
    assert document["state_dict_digest"] == models.state_dict_digest(model)
    assert (document["input"]["size"], document["classes"]) == ([96, 96], {"count": len(facts["class_names"])})
    for name in ("grad-cam", "saliency"):
        (found,) = (out / "results").glob(f"*-{name}-*/result.json")
        result = vxp_schemas.loads(found.read_bytes())
        assert result["division"] == "open"
        assert result["model"] == vxp_schemas.reference(document)


def test_howto_dataset_makes_what_it_says() -> None:
    source = models.from_file(f"{HOWTO}/gratings.py:GRATINGS")
    assert isinstance(source, Source)
    assert source.missing() is None
    items = list(itertools.islice(source.propose(0), 6))
    assert items == list(itertools.islice(source.propose(0), 6))
    assert items[0].recipe != next(source.propose(1)).recipe
    assert [item.label for item in items] == [(0,), (1,)] * 3
    for item in items:
        assert json.loads(json.dumps(dict(item.recipe))) == item.recipe
        sample, again = source.load(item), source.load(item)
        assert torch.equal(sample.image, again.image)
        mask = sample.truth["mask"]
        assert (sample.image.shape, sample.image.dtype, int(mask.sum())) == ((3, 64, 64), torch.uint8, 24 * 24)
        assert set(sample.image[:, mask].unique().tolist()) == {32, 223}
        around = sample.image[:, ~mask]
        assert (int(around.min()), int(around.max())) == (96, 159)
        rows, columns = torch.where(mask)
        patch = sample.image[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        # vertical stripes change along a row, horizontal ones along a column
        assert bool((patch == patch[:1]).all()) == (item.label == (1,))
        assert bool((patch == patch[:, :1]).all()) == (item.label == (0,))
