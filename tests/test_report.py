"""The report: self-contained, escaped, true to the documents, and right in a real browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console
from vxp import report
from vxp.core import VxpError
from vxp.documents import store
from vxp.report import read, standing
from vxp.report.words import columns, interval, number, statuses
from vxp.runs import commands
from vxp.runs.commands import Order
from vxp.runs.context import Quiet

METRICS = ("deletion|steps:4", "average-drop|keep:50", "average-drop|keep:15", "energy-pointing-game",
           "max-sensitivity|samples:1", "gini")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    order = Order("shapes", None, None, None, ("grad-cam", "saliency", "input-x-gradient"), METRICS, "cpu", "fp32", 24, 16, 1)
    commands.run_(order, out, Quiet())
    report.write(out)
    return out


def copied(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns(".units"))
    return tmp_path / "copy"


def page(folder: Path) -> str:
    return (folder / "report.html").read_text()


def result(folder: Path, explainer: str) -> dict:
    (path,) = folder.glob(f"results/shapes-{explainer}-????????/result.json")
    return json.loads(path.read_text())


def test_the_page_needs_nothing_from_outside(folder: Path) -> None:
    html = page(folder)
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:)[a-z./]""", html)
    assert "<script" not in html
    assert len(html) < 5_000_000


def test_every_mean_and_interval_stands_on_the_page(folder: Path) -> None:
    text = re.sub(r"<[^>]+>", " ", page(folder))
    for explainer in ("random", "oracle", "grad-cam", "saliency"):
        for score in result(folder, explainer)["scores"]:
            assert score["signature"] in text
            if "mean" in score:
                assert number(score["mean"], score["metric"]["id"]) in text
                assert interval(score["ci"], score["metric"]["id"]) in text


def test_what_was_not_run_is_said_in_words(folder: Path) -> None:
    assert page(folder).count("not run: reference") == 5


def test_methods_tied_for_best_are_marked_and_references_never(folder: Path) -> None:
    rows = re.findall(r'<tr class="([^"]*)"><th scope="row">([^<]*)</th>(.*?)</tr>', page(folder), re.S)
    marked = {name for _, name, cells in rows if "tied for best" in cells}
    assert marked
    assert marked <= {"grad-cam", "saliency", "input-x-gradient"}


def test_few_clusters_mark_nobody(tmp_path: Path) -> None:
    order = Order("shapes", None, None, None, ("grad-cam", "saliency"), ("deletion|steps:2",), "cpu", "fp32", 6, 16, 1)
    commands.run_(order, tmp_path / "out", Quiet())
    html = report.write(tmp_path / "out").read_text()
    assert "No two explainers are called separated here" in html
    assert 'title="tied for best"' not in html


def test_names_from_strangers_are_escaped(folder: Path, tmp_path: Path) -> None:
    out = copied(folder, tmp_path)
    index = out / "gallery" / "index.json"
    entries = json.loads(index.read_text())
    entries[0]["item_id"] = "<img src=x onerror=alert(1)>"
    entries[0]["target_name"] = "\"><script>alert(2)</script>"
    index.write_text(json.dumps(entries))
    html = report.write(out).read_text()
    assert "<img src=x" not in html
    assert "<script" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match="holds no results"):
        report.write(tmp_path)


@pytest.mark.parametrize("file", ["samples.parquet", "curves.safetensors", "environment.json"])
def test_damaged_files_are_named(folder: Path, tmp_path: Path, file: str) -> None:
    out = copied(folder, tmp_path)
    for path in out.glob(f"results/*/{file}"):
        path.write_bytes(path.read_bytes()[:-2] + b"!!")
    with pytest.raises(VxpError, match=rf"{file} is damaged or was changed"):
        report.write(out)


def test_words() -> None:
    assert number(0.12345, "deletion") == "0.123"
    assert number(0.12345, "average-drop") == "12.3 %"
    assert number(10123.4, "entropy") == "10123.4"
    score = {"n": 24, "statuses": {"ok": 20, "undefined:constant-map": 4}, "metric": {"id": "gini"}}
    assert statuses(score) == "4 of 24 undefined: constant map"
    assert statuses({"n": 3, "statuses": {"not-run:budget": 3}}) == "not run: budget"
    heads = columns(["average-drop@2|keep:50|mask:soft", "average-drop@2|keep:15|mask:soft", "gini@1"])
    assert heads == {"average-drop@2|keep:50|mask:soft": ("average-drop", "keep 50"),
                     "average-drop@2|keep:15|mask:soft": ("average-drop", "keep 15"), "gini@1": ("gini", "")}


def test_the_terminal_tables_fit_and_hold_the_means(folder: Path) -> None:
    run = read.read(folder)
    console = Console(width=100, record=True, force_terminal=False)
    for table in report.console_tables(run):
        console.print(table)
    text = console.export_text()
    assert max(len(line) for line in text.splitlines()) <= 100
    for score in result(folder, "grad-cam")["scores"]:
        assert number(score["mean"], score["metric"]["id"]) in text


def test_the_terminal_marks_what_the_page_marks(folder: Path) -> None:
    """Each cell that does not beat a reference names it, and each method that is tied for best has its mark, in both."""
    run = read.read(folder)
    found = standing.standing(run)
    shown = [standing.cell(s, score, found) for s in run.systems for score in s.scores.values()]
    below, tied = [cell.below for cell in shown if cell.below], sum(cell.tied for cell in shown)
    assert below
    assert tied
    html = page(folder)
    assert html.count("not better than ") == len(below)
    assert html.count('title="tied for best"') == tied
    console = Console(width=100, record=True, force_terminal=False)
    console.print(*report.console_tables(run, 100))
    text = console.export_text()
    assert len(re.findall("not better than", text)) == len(below)
    assert text.count("●") == tied
    assert "not better than" in report.legend(run)


def test_a_flag_is_said_in_the_terminal_as_on_the_page(tmp_path: Path) -> None:
    order = Order("shapes", None, None, None, ("saliency",), ("gini",), "cpu", "fp32", 6, 16, 1)
    commands.run_(order, tmp_path / "out", Quiet())
    run = read.read(tmp_path / "out")
    said = standing.flags(run)
    assert [title for title, _ in said] == ["Few clusters", "Limited run"]
    html = report.write(run).read_text()
    for title, text in said:
        assert f"{title}. {text}" in report.heading(run)
        assert f"<strong>{title}.</strong> {text}" in html
    assert report.legend(run) == ""


def test_results_of_other_items_are_refused(folder: Path, tmp_path: Path) -> None:
    out = copied(folder, tmp_path)
    (path,) = out.glob("results/shapes-saliency-*/samples.parquet")
    table = store.read_table(path.read_bytes())
    store.write_table(path, {name: table[name].take(list(range(len(table)))[::-1]) for name in table.column_names})
    document = json.loads((path.parent / "result.json").read_text())
    document["samples"] = store.descriptor(path, out, store.PARQUET, len(table))
    store.write_document(path.parent / "result.json", document)
    with pytest.raises(VxpError, match="other items"):
        report.write(out)


FAILING = '''import torch
def failing(model, batch):
    if "shape-00002" in batch.ids:
        raise RuntimeError("on purpose")
    return torch.rand(len(batch), 7, 7)
'''


def test_a_map_that_failed_is_words_and_equal_ids_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FAILING)
    asked = (f"{tmp_path / 'own.py'}:failing", "integrated-gradients|steps:2", "integrated-gradients|steps:3")
    order = Order("shapes", None, None, None, asked, ("deletion|steps:2",), "cpu", "fp32", 3, 16, 1)
    commands.run_(order, tmp_path / "out", Quiet())
    html = report.write(tmp_path / "out").read_text()
    assert html.count("failed: explainer error</small></td>") == 1 + 1  # the gallery's cell and the score's note
    console = Console(width=100, record=True, force_terminal=False)
    for table in report.console_tables(read.read(tmp_path / "out")):
        console.print(table)
    text = " ".join(console.export_text().split())  # a narrow column folds it
    assert "1 of 3 failed: explainer error" in text
    for name in ("integrated-gradients|steps:2", "integrated-gradients|steps:3"):
        assert name in html
        assert name in text


BROWSER = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars"]


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed (apt-get install chromium)")
def test_in_a_real_browser(folder: Path, tmp_path: Path) -> None:
    """The tables, curves and pictures are there once a browser has read the page, and every picture decodes."""
    probe = ("<script>addEventListener('load', () => { document.body.dataset.probe = JSON.stringify({"
             "tables: document.querySelectorAll('table').length, figures: document.querySelectorAll('figure svg').length,"
             "pictures: document.images.length,"
             "broken: [...document.images].filter(i => i.loading !== 'lazy' && !i.naturalWidth).length,"
             "wide: document.documentElement.scrollWidth > innerWidth}) })</script></body>")
    probed = tmp_path / "probed.html"
    policy = re.compile(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>")
    assert "default-src 'none'" in policy.search(page(folder)).group()  # no script, nothing from elsewhere
    probed.write_text(policy.sub("", page(folder)).replace("</body>", probe))
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=390,900",
               "--virtual-time-budget=5000", "--dump-dom", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    seen = json.loads(re.search(r'data-probe="([^"]*)"', done.stdout).group(1).replace("&quot;", '"'))
    assert seen["tables"] == 5 + 1
    assert seen["figures"] == 1
    assert seen["pictures"] == 8 * (1 + 8)
    assert seen["broken"] == 0
    assert not seen["wide"], "the page scrolls sideways on a phone"
