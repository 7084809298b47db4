"""Every command that the program prints works: it is provoked, and run as it was printed."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import vxp_schemas
from bundle_tools import STATEMENT, sealed
from PIL import Image
from vxp import explainers
from vxp.bundles import cite
from vxp.cli import app, main
from vxp.datasets import stamps
from vxp.maintain import data_get
from vxp.runs import result

ROOT = Path(__file__).resolve().parents[1]
QUICK = ["--metrics", "gini", "--batch-size", "4", "--threads", "1", "--device", "cpu"]
"""What is put behind a command that scores, so that a test is short; everything else is run as printed."""

MODEL = """
from vxp.models import loading

def tiny():
    return loading.shapes_cnn(), {"mean": (.5,) * 3, "std": (.25,) * 3, "input_size": 64}
"""
METHOD = """
def brightness(model, batch, *, power: float = 1.0, inverted: bool = False):
    maps = batch.raw().mean(1) ** power
    return 1 - maps if inverted else maps
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images, a model, an explainer and maps, as a newcomer has them."""
    folder = tmp_path / "my desk"  # what is printed is quoted
    (folder / "imgs").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 70, 80, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / "imgs" / f"{i}.png")
    (folder / "model.py").write_text(MODEL)
    (folder / "method.py").write_text(METHOD)
    np.save(folder / "maps.npy", np.random.default_rng(1).random((3, 8, 8), dtype=np.float32))
    monkeypatch.chdir(folder)
    return folder


Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """Run a command line and return what it printed, both streams."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(line: str, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", shlex.split(line))
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        assert stop.value.code == code, f"{line}\n{printed.out}\n{printed.err}"
        return printed.out + printed.err

    return run


def commands(text: str) -> list[str]:
    """The commands at the ends of lines."""
    return re.findall(r"(?:^|: )(vxp [a-z].*)$", text, re.M)


def parsed(line: str) -> tuple[Any, dict[str, Any]]:
    """The command of a line and its parameters, by the parser that runs it."""
    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with command.make_context(command.name, words) as context:
        return command, dict(context.params)


# ---------------------------------------------------------------------------------------------- what to do after a command


OWN = "--images imgs --model model.py:tiny"


@pytest.mark.parametrize("line", [
    f"vxp explain {OWN} --explainer grad-cam --out npset",
    f"vxp explain {OWN} --limit 2 --explainer method.py:brightness --out npset",
    "vxp explain shapes --limit 2 --explainer saliency --out npset",
    "vxp explain shapes --model model.py:tiny --limit 2 --explainer saliency --out npset",
    f"vxp import {OWN} --maps maps.npy --name mine --unsigned --out npset",
])
def test_a_set_is_scored_by_the_printed_command(line: str, desk: Path, said: Said) -> None:
    (command,) = commands(said(f"{line} --batch-size 4 --threads 1 --device cpu"))
    assert command.startswith("vxp score npset ")
    said(shlex.join([*shlex.split(command), *QUICK]))
    assert len(list(desk.glob("npset-scores/results/*/result.json"))) >= 4


@pytest.mark.parametrize("line", [f"vxp data export {OWN}", "vxp data export shapes --limit 3"])
def test_exported_items_come_back_by_the_printed_command(line: str, desk: Path, said: Said) -> None:
    (command,) = commands(said(f"{line} --device cpu --out items"))
    (desk / "items" / "maps").mkdir()
    for i, values in enumerate(np.load(desk / "maps.npy")):
        np.save(desk / "items" / "maps" / f"{i:05d}.npy", values)
    (command,) = commands(said(f"{command} --batch-size 4 --threads 1 --device cpu"))
    said(shlex.join([*shlex.split(command), *QUICK]))
    assert list(desk.glob("items-set-scores/results/*my-method*/result.json"))


def test_from_a_run_to_a_board_by_printed_commands(desk: Path, said: Said) -> None:
    (desk / "submission.json").write_text(json.dumps(STATEMENT))
    said(shlex.join(["vxp", "run", *OWN.split(), "--explainer", "saliency", "--out", "run", *QUICK]))
    (command,) = commands(said("vxp seal run --explainer saliency --out 'the bundle.tar'"))
    assert "no errors found" in said(command)
    (command,) = commands(said("vxp leaderboard add 'the bundle.tar' --records 'the records'"))
    said(command)
    assert (desk / "site" / "index.html").exists()


def test_trained_weights_are_used_as_printed(desk: Path, said: Said) -> None:
    printed = said("vxp fit 'l-cam-img|epochs:1|batch:4' --model shapes-cnn --data shapes --seed 700 --count 8 --threads 1 "
                   "--device cpu --out 'my weights.safetensors'")
    option = printed.partition("Use it: ")[2].splitlines()[0]
    said(shlex.join(["vxp", "run", "shapes", "--limit", "2", *shlex.split(option), "--out", "run", *QUICK]))


# ------------------------------------------------------------------------------------------------------- what errors advise


@pytest.mark.parametrize(("line", "advice"), [
    ("vxp run shapes", "vxp list explainers"),
    ("vxp run shapes -e grad-cm", "vxp list explainers"),
    ("vxp run shpes -e saliency", "vxp list tasks"),
    ("vxp run shapes -e saliency -m deletoin", "vxp list metrics"),
    ("vxp run shapes -e saliency --model efficientnet-lite", "vxp list models"),
    ("vxp run --images imgs -e saliency", "vxp list models"),
    ("vxp run --images vocs:imgs --model shapes-cnn -e saliency", ""),
    ("vxp fit tame --model shapes-cnn --out x.safetensors", "vxp list datasets"),
    ("vxp fit tame --model shapes-cnn --data shpes --out x.safetensors", "vxp list datasets"),
    ("vxp runn", "vxp --help"),
])
def test_what_an_error_advises_runs(line: str, advice: str, desk: Path, said: Said) -> None:
    printed = said(line, code=2)
    assert "Traceback" not in printed
    assert advice in printed
    if advice:
        said(advice)


def test_a_set_of_own_images_says_what_it_needs(desk: Path, said: Said) -> None:
    said(f"vxp explain {OWN} --explainer saliency --out npset --batch-size 4 --threads 1 --device cpu")
    assert "--images DIR --model MODEL" in said("vxp score npset --out scores", code=2)
    other = OWN.replace("model.py:tiny", "shapes-cnn")
    assert "name the same with --model" in said(f"vxp score npset {other} --out scores", code=2)
    said(shlex.join(["vxp", "score", "npset", *OWN.split(), "--out", "scores", *QUICK]))


def test_absent_stamps_are_got_by_the_printed_command(desk: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "located", lambda *_: None)
    monkeypatch.delenv(stamps.VARIABLE, raising=False)
    (command,) = re.findall("`(vxp [^`]+)`", said("vxp run stamps -e saliency", code=2))
    monkeypatch.setattr(data_get, "get", lambda name: f"the folder of {name}")
    assert "the folder of stamps" in said(command)


def test_what_stands_in_the_way_of_a_comparison_is_shown_by_the_printed_command(desk: Path, said: Said) -> None:
    said(shlex.join(["vxp", "run", *OWN.split(), "--explainer", "saliency", "--out", "run", *QUICK]))
    bundle = sealed(desk / "run", desk / "a bundle")
    (bundle / "system.json").write_text("{}")
    printed = said("vxp compare 'a bundle'", code=2)
    (command,) = re.findall(r"(vxp validate .*) says why", printed)
    assert "VXP-I" in said(command, code=1)


# ------------------------------------------------------------------------------------ the command that makes a result again


def again(html: Path) -> str:
    return (re.findall(r"<pre>(vxp [^<]*)</pre>", html.read_text())[0].replace("&#39;", "'").replace("&#34;", '"')
            .replace("&amp;", "&"))


@pytest.mark.parametrize("line", [
    f"vxp run {OWN} --explainer 'method.py:brightness|power:2.0|inverted:true' --explainer grad-cam",
    "vxp run shapes --model model.py:tiny --limit 2 --explainer saliency",
    "vxp run shapes --limit 2 --explainer integrated-gradients --explainer rise",
])
def test_the_report_tells_how_its_run_is_made_again(line: str, desk: Path, said: Said) -> None:
    said(shlex.join([*shlex.split(line), "--out", "run", *QUICK]))
    command = again(desk / "run" / "report.html")
    for word, meant in (("IMAGES", "imgs"), ("MODEL", "model.py:tiny")):
        command = command.replace(f" {word} ", f" {meant} ")
    said(command)
    tables = [sorted(p.read_bytes() for p in (desk / run).glob("results/*/samples.parquet")) for run in ("run", "DIR")]
    assert tables[0] == tables[1] != []


def test_the_report_of_a_stored_set_names_the_set(desk: Path, said: Said) -> None:
    (command,) = commands(said(f"vxp import {OWN} --maps maps.npy --name mine --unsigned --out npset --device cpu --threads 1"))
    said(shlex.join([*shlex.split(command), *QUICK]))
    command = again(desk / "npset-scores" / "report.html")
    said(command.replace(" IMAGES ", " imgs ").replace(" MODEL ", " model.py:tiny ").replace(" SET ", " npset "))


@pytest.mark.parametrize("name", sorted(explainers.catalogue()))
def test_an_explainer_with_all_its_parameters_reads_back(name: str) -> None:
    bound = explainers.bind(name)
    system = {"method": {"name": bound.id, "parameters": result.json_parameters(bound.parameters)},
              "implementation": {"entry_point": f"{bound.explainer.explain.__module__}:x"}}
    card = vxp_schemas.registry_document("tasks", "shapes")
    command = cite.command(
        task=vxp_schemas.reference(card), model=card["model"], systems=[system], metrics=["gini@1"],
        settings={"device": "cpu", "precision": "fp32", "batch_size": 4, "threads": 1, "limit": None})
    _, given = parsed(command)
    assert given["task"] == "shapes"
    assert dict(explainers.bind(given["explainer"][0]).parameters) == dict(bound.parameters)


# --------------------------------------------------------------------------------------------- commands in texts of the code


TALK = {"again", "and", "count", "of", "runs", "writes"}
"""What follows the program's name where no command does."""


def named(text: str) -> list[str]:
    """The commands that a text names, with the options behind them."""
    return [found for found in re.findall(r"(?<![\w/.'-])vxp [a-z][a-z-]*(?: [a-z]+)?(?:(?! vxp )[^`;:,.()<])*", text)]


def texts() -> list[tuple[str, str]]:
    """Every string of the code but imports, every template, rule and registry document, by its file."""
    found = []
    for file in [*ROOT.glob("harness/vxp/**/*.py"), *ROOT.glob("reference_explainers/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append((file.name, "".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in node.values)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append((file.name, node.value))
    found += [(f.name, f.read_text()) for f in ROOT.glob("harness/vxp/**/*.j2")]
    found += [(f.name, json.dumps(json.loads(f.read_text()), ensure_ascii=False))
              for f in ROOT.glob("schemas/vxp_schemas/registry/**/*.json")]
    return [(name, text) for name, text in found if "vxp " in text]


def test_every_command_that_a_text_names_exists_with_its_options() -> None:
    root: Any = typer.main.get_command(app)
    seen = set()
    for file, text in texts():
        for line in named(text):
            _, first, *rest = line.split()
            if first in TALK:
                continue
            assert first in root.commands, f"{file}: {line}"
            command = root.commands[first]
            if hasattr(command, "commands") and rest:
                assert rest[0] in command.commands, f"{file}: {line}"
                command = command.commands[rest[0]]
            options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            for option in re.findall(r"(?<=\s)--[a-z-]+", line):
                assert option in options, f"{file}: {line}"
            seen.add(first)
    assert {"run", "seal", "validate", "verify", "fit", "list", "data", "import", "score", "leaderboard", "migrate"} <= seen


def test_the_order_that_a_rule_gives_is_one(tmp_path: Path) -> None:
    """Whole commands of the catalogue, with what they leave open filled in, are read by the parser."""
    fixes = " ".join(rule["fix"] for rule in vxp_schemas.rules())
    whole = re.findall(r"vxp seal DIR --explainer NAME --out BUNDLE|vxp data export TASK", fixes)
    assert len(set(whole)) == 2
    for line in whole:
        parsed(line)
