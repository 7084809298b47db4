"""The standard's text holds together, and says what the registry and the code say."""

from __future__ import annotations

import importlib.util
import inspect
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import vxp_schemas
from vxp import explainers, imputation, random, stats
from vxp.core import Batch, Metric, perturb, segments
from vxp.documents import store
from vxp.media import image as images
from vxp.metrics import ALIASES, _masked, _road, _similarity, catalogue, random_logit
from vxp.models import identity, randomise
from vxp.runs import writing
from vxp.runs.explanations import write_set
from vxp_explainers import _common
from vxp_schemas import _strict

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "spec"
CHAPTERS = sorted(SPEC.glob("[0-9]*.md"))
PAGES = {path.stem: path for path in sorted((SPEC / "metrics").glob("*.md")) if path.stem != "index"}
TEXTS = [*CHAPTERS, *PAGES.values(), SPEC / "vectors" / "README.md"]


def ident(path: Path) -> str:
    return str(path.relative_to(SPEC))


@cache
def script(name: str) -> Any:
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def generated() -> Mapping[str, str]:
    made: Mapping[str, str] = script("_generate").spec_pages()
    return made


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    """A text without what is generated, code and comments."""
    body = re.sub(r"<!-- (facts|links) -->.*?<!-- /\1 -->", "", text(path), flags=re.S)
    return re.sub(r"```.*?```|<!--.*?-->|`[^`]*`", "", body, flags=re.S)


def section(page: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\n<!-- links -->|\Z)", page, re.M | re.S)
    assert found is not None, f"no section {title!r}"
    return found[1]


def metric_of(name: str) -> Metric:
    return catalogue()[name]


# ---------------------------------------------------------------------------------------------------------- the metrics


def test_every_metric_has_a_page_and_every_page_a_metric() -> None:
    assert sorted(PAGES) == sorted(catalogue())


@pytest.mark.parametrize("path", sorted(SPEC.rglob("*.md")), ids=ident)
def test_generated_parts_are_up_to_date(path: Path) -> None:
    if "vectors" not in path.parts:
        assert text(path) == generated()[f"../{path.relative_to(ROOT)}"], "run `python docs/_generate.py`"


def test_nothing_generated_is_missing() -> None:
    assert all((ROOT / "docs" / name).resolve().is_file() for name in generated())


@pytest.mark.parametrize("name", PAGES)
def test_page_has_its_sections_in_order(name: str) -> None:
    page = text(PAGES[name])
    assert page.startswith(f"# {name}\n\n<!-- facts -->\n")
    assert re.findall(r"^## (.+)$", page, re.M) == list(script("_generate").SECTIONS)
    assert all(section(page, title).strip() for title in script("_generate").SECTIONS)


@pytest.mark.parametrize("name", PAGES)
def test_steps_are_numbered_and_named(name: str) -> None:
    steps = re.findall(r"^(\d+)\. (\S+)", section(text(PAGES[name]), "Algorithm"), re.M)
    assert steps
    assert steps == [(str(i), f"`{name}.{i}`") for i in range(1, len(steps) + 1)]


@pytest.mark.parametrize("name", PAGES)
def test_every_parameter_is_described_and_no_other(name: str) -> None:
    described = re.findall(r"^- `([a-z0-9_]+)`: \S", section(text(PAGES[name]), "Parameters"), re.M)
    assert described == list(metric_of(name).parameters)
    if not described:
        assert section(text(PAGES[name]), "Parameters").strip() == "None."


@pytest.mark.parametrize("name", PAGES)
def test_every_undefined_case_is_described_in_order_and_no_other(name: str) -> None:
    described = re.findall(r"^- `undefined:([a-z-]+)`: \S", section(text(PAGES[name]), "Undefined"), re.M)
    assert described == list(metric_of(name).undefined)
    if not described:
        assert re.match(r"(None|Never)\b", section(text(PAGES[name]), "Undefined").strip())


@pytest.mark.parametrize("name", PAGES)
def test_page_has_a_change_log_up_to_its_version(name: str) -> None:
    versions = re.findall(r"^- (\d+): \S", section(text(PAGES[name]), "Change log"), re.M)
    assert versions == [str(v) for v in range(1, metric_of(name).version + 1)]


@pytest.mark.parametrize("name", PAGES)
def test_keys_of_draws_name_versions_that_exist(name: str) -> None:
    for purpose, version in re.findall(r'"([a-z-]+)@(\d+)[/"]', text(PAGES[name])):
        if purpose in catalogue():
            # a key keeps the version that it began with, so that a later one may draw the same numbers
            assert 1 <= int(version) <= metric_of(purpose).version


# ------------------------------------------------------------------------------------------------- clauses and citations


def clauses() -> list[tuple[Path, tuple[int, ...]]]:
    return [(path, tuple(map(int, number.split(".")))) for path in CHAPTERS
            for number in re.findall(r"^\*\*(\d+\.\d+\.\d+)\*\*", text(path), re.M)]


def test_numbers_of_clauses_are_unique_and_rise_within_their_chapter_and_section() -> None:
    for path in CHAPTERS[1:]:
        chapter = int(path.name[:2])
        assert text(path).startswith(f"# {chapter} ")
        numbers = [number for where, number in clauses() if where == path]
        assert numbers, path.name
        assert numbers == sorted(set(numbers))
        assert {number[0] for number in numbers} == {chapter}
        for section_number in dict.fromkeys(number[:2] for number in numbers):
            own = [number[2] for number in numbers if number[:2] == section_number]
            assert own == list(range(1, len(own) + 1)), f"{path.name}: {section_number} leaves a number out"
    for path in CHAPTERS:
        under = ""
        for heading, number in re.findall(r"^## (\d+\.\d+) |^\*\*(\d+\.\d+)\.\d+\*\*", text(path), re.M):
            under = heading or under
            assert not number or number == under, f"{path.name}: clause {number} under the heading {under!r}"


def test_contents_name_every_chapter() -> None:
    named = re.findall(r"^(\d+)\. \[[^\]]+\]\(([^)]+)\)", text(CHAPTERS[0]), re.M)
    assert named == [(str(int(path.name[:2])), path.name) for path in CHAPTERS[1:]]
    assert vxp_schemas.SPEC_VERSION in text(CHAPTERS[0])


@pytest.mark.parametrize("path", TEXTS, ids=ident)
def test_cited_clauses_and_steps_exist(path: Path) -> None:
    known = {".".join(map(str, number)) for _, number in clauses()}
    body = re.sub(r"<!-- facts -->.*?<!-- /facts -->", "", text(path), flags=re.S)
    for number in re.findall(r"(?<![\w.@/#\-])(\d+\.\d+\.\d+)(?![\w\-]|\.\w)", prose(path)):
        assert number in known or number == "1.0.0", f"clause {number}"
    for name, step in re.findall(r"`([a-z][a-z0-9-]*)\.(\d+)`", body):
        assert name in PAGES, f"{name}.{step}"
        assert f"`{name}.{step}`" in re.findall(r"^\d+\. (`\S+`)", text(PAGES[name]), re.M), f"step {name}.{step}"


SOURCES = sorted(path for folder in ("harness", "reference_explainers", "schemas", "tests", "docs")
                 for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_code_cites_the_standard_by_clause_and_nothing_that_is_not_published(path: Path) -> None:
    body, known = text(path), {".".join(map(str, number)) for _, number in clauses()}
    for number in re.findall(r"\bclauses? (\d+\.\d+\.\d+)", body):
        assert number in known, f"clause {number}"
    for label in re.findall(r"\bclause \[([a-z.-]+)\]", body):
        assert label in script("_generate").spec_labels(), f"clause [{label}]"
    assert not re.search(r"\brule \d", body)


@pytest.mark.parametrize("source", sorted({m.source for m in catalogue().values()}
                                          | {e.source for e in explainers.catalogue().values()}))
def test_a_source_is_no_file_of_ours(source: str) -> None:
    assert not re.search(r"\b[a-z-]+\.(md|py)\b", source)
    for number in re.findall(r"\bclause (\S+)", source):
        assert number in {".".join(map(str, clause)) for _, clause in clauses()}


@pytest.mark.parametrize("path", TEXTS, ids=ident)
def test_cited_labels_are_defined(path: Path) -> None:
    for label in re.findall(r"\[([a-z][a-z.-]*)\](?![(:\[])", prose(path)):
        assert label in script("_generate").spec_labels(), f"[{label}]"


def test_labels_are_defined_once_and_stand_in_their_clause() -> None:
    found = [(path, label) for path in CHAPTERS for label in re.findall(r'<a id="([^"]+)"></a>', text(path))]
    assert len({label for _, label in found}) == len(found)
    assert all(re.fullmatch("[a-z][a-z.-]*", label) for _, label in found)
    for path in CHAPTERS:
        for anchors, clause in re.findall(r'^((?:<a id="[^"]+"></a>)+)\n(\*\*\d.*?)(?=\n\n|\Z)', text(path), re.M | re.S):
            labels = re.findall(r'id="([^"]+)"', anchors)
            assert any(f"[{label}]" in clause for label in labels), f"{path.name}: {labels}"
        assert not re.search(r'<a id="[^"]+"></a>\n(?!\*\*)', text(path)), f"{path.name}: an anchor without a clause"


@pytest.mark.parametrize("path", TEXTS, ids=ident)
def test_cited_statuses_are_registered(path: Path) -> None:
    for status in re.findall(r"`((?:undefined|failed|not-run):[a-z-]+)`", text(path)):
        assert status in vxp_schemas.STATUSES


@pytest.mark.parametrize("path", [*TEXTS, SPEC / "metrics" / "index.md", SPEC / "statuses.md"], ids=ident)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", text(path), re.M):
        file, _, anchor = "".join(link).partition("#")
        target = path.parent / file
        assert target.is_file(), link
        assert not anchor or f'<a id="{anchor}"></a>' in text(target), link


@pytest.mark.parametrize("path", TEXTS, ids=ident)
def test_nothing_is_left_open(path: Path) -> None:
    assert not re.search(r"\b(TODO|TBD|FIXME|XXX|should probably|to be decided|or similar|etc\.)", text(path))
    assert "\N{EM DASH}" not in text(path)


def test_metrics_of_zeros_and_ones_are_named() -> None:
    chapter = " ".join(text(SPEC / "07-aggregation.md").split())
    (named,) = re.findall(r"every score is 0 or 1 by definition \(([^)]*)\)", chapter)
    assert sorted(named.split(", ")) == sorted(m.id for m in catalogue().values() if m.binary)


def test_aliases_are_named() -> None:
    chapter = " ".join(text(SPEC / "08-results.md").split())
    for alias, (target, preset) in ALIASES.items():
        assert f"`{alias}` for `{'|'.join([target, *(f'{k}:{v}' for k, v in preset.items())])}`" in chapter


def test_schemas_of_the_text_are_those_of_the_standard() -> None:
    listed = text(SPEC / "08-results.md").partition("| document | says |")[2].partition("## 8.2")[0]
    assert sorted(re.findall(r"^\| `([a-z]+)` \|", listed, re.M)) == sorted(vxp_schemas.DOCUMENT_TYPES.values())


def columns_written(function: Callable[..., Any]) -> list[str]:
    return re.findall(r'^ +"([a-z_]+)": pa\.array', inspect.getsource(function), re.M)


def test_columns_of_the_text_are_those_that_are_written() -> None:
    items = section(text(SPEC / "03-explanations.md"), "3.5 Files of a set")
    cells = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", items, re.M)
    assert [name for cell in cells for name in re.findall("[a-z_]+", cell)] == columns_written(write_set)
    scores = text(SPEC / "08-results.md").partition("`samples.parquet` has one row")[2].partition("float64")[0]
    assert re.findall(r"`([a-z_]+)`", scores) == columns_written(writing._samples)


def test_fills_of_the_text_are_those_of_the_code() -> None:
    named = re.findall(r'<a id="fill\.([a-z-]+)"></a>', text(SPEC / "05-common.md"))
    assert sorted(named) == sorted(perturb.FILLS)


# ------------------------------------------------------------------------------------------------------------- constants


def constants() -> dict[str, str]:
    table = text(SPEC / "05-common.md").partition("| constant | value |")[2]
    return dict(re.findall(r"^\| ([^|\n]*[a-z0-9]) \| ([^|\n]+) \|$", table, re.M))


def blur_radius(side: int) -> str:
    """How far one white pixel spreads on a black image of this side."""
    image = torch.zeros(1, 3, side, side)
    image[..., side // 2, side // 2] = 1
    across = Batch(("a",), image, torch.tensor([0])).fill_image("blur")[0, 0, side // 2]
    return str(int((across > 0).sum()) // 2)


def weight(down: int, across: int) -> str:
    centre = torch.zeros(1, 1, 5, 5)
    centre[..., 2, 2] = 1
    return f"1/{round(1 / float(imputation._neighbours(centre)[0, 0, 2 + down, 2 + across]))}"


def both(pair: tuple[Any, Any]) -> str:
    return ", ".join(f"0x{v:08X}" for v in pair)


IN_CODE: Mapping[str, Callable[[], str]] = {
    "Philox multipliers": lambda: both(random.MULTIPLIERS), "Philox key increments": lambda: both(random.WEYL),
    "Philox rounds": lambda: str(random.ROUNDS),
    "blur radius at 224": lambda: blur_radius(224), "blur radius at 23": lambda: blur_radius(23),
    "blur radius at 22": lambda: blur_radius(22),
    "nli direct weight": lambda: weight(0, 1), "nli diagonal weight": lambda: weight(-1, 1),
    "nli noise": lambda: f"{imputation.NLI_NOISE:g}",
    "rise-blur width": lambda: str(images.RISE_WIDTH), "rise-blur sigma": lambda: f"{images.RISE_SIGMA:g}",
    "saturated below": lambda: f"{_masked.SATURATED:g}",
    "SLIC compactness": lambda: f"{segments.COMPACTNESS:g}",
    "ROAD rates in percent": lambda: ", ".join(map(str, _road.RATES)),
    "SSIM window and sigma of similarities": lambda: f"{_similarity.WINDOW}, {_similarity.SIGMA:g}",
    "SSIM C1 and C2": lambda: ", ".join(f"{math.sqrt(c):g}²" for c in (random_logit.C1, random_logit.C2)),
    "sd of other randomised tensors": lambda: f"{randomise.OTHER_SD:g}",
    "sigma of centre-gaussian": lambda: f"{explainers.catalogue()['centre-gaussian'].parameters['sigma']:g}",
    "luminance weights": lambda: ", ".join(f"{w:g}" for w in _common.LUMA),
    "probe inputs": lambda: str(identity.PROBE), "probe tolerance": lambda: f"{identity.ATOL:g}",
    "level of intervals": lambda: f"{stats.LEVEL:g}", "clusters for an interval": lambda: str(stats.MIN_CLUSTERS),
    "few clusters below": lambda: str(stats.FEW_CLUSTERS), "resamples of a mean": lambda: str(stats.RESAMPLES),
    "groups left out of a set at most": lambda: str(stats.SET_GROUPS),
    "no spread below": lambda: f"{stats.ROUNDING:g}", "no variance of a resample below": lambda: f"{stats.intervals.FLAT:g}",
    "rows of a shard at most": lambda: str(store.SHARD_ROWS),
    "bytes of a shard at most": lambda: str(store.SHARD_BYTES),
    "bytes of a document at most": lambda: str(_strict.MAX_BYTES),
    "levels of a document at most": lambda: str(_strict.MAX_DEPTH),
}


def test_every_constant_of_the_table_is_checked() -> None:
    assert list(constants()) == list(IN_CODE)


@pytest.mark.parametrize("name", IN_CODE)
def test_constant_is_that_of_the_code(name: str) -> None:
    assert constants()[name] == IN_CODE[name]()


def test_check_values_of_the_text_are_those_of_the_generator() -> None:
    chapter = " ".join(text(SPEC / "05-common.md").split())
    words = " ".join(f"{int(w):08x}" for w in random.philox((0, 0), 0, 1)[:, 0])
    assert f"give {words}" in chapter
    key = random.key(0, "item", "fill-noise@1", "noise")
    canonical = vxp_schemas.canonical([0, "item", "fill-noise@1", "noise"])
    assert f"`{canonical.decode()}` of {len(canonical)} bytes, and the key K0 = {key[0]}, K1 = {key[1]}" in chapter
    first, second = (", ".join(f"{u:.4f}" for u in column) for column in random.uniforms(key, 0, 2, 3).T.tolist())
    assert f"at position 0 are, to four digits, {first}, and at position 1 they are {second}." in chapter
    normals = random.normals(random.key(0, "item", "nli@1", "noise"), 3, 1, 4)[:, 0].tolist()
    assert ("are, to four digits, " + ", ".join(f"{n:.4f}" for n in normals).replace("-", "−") + ".") in chapter


# -------------------------------------------------------------------------------------------------------------- the site


def test_site_makes_anchors_and_links_of_numbers_and_labels() -> None:
    page = "**5.1.1** By [map], 5.3.1 and `a.2`, not [0, 1], 9.9.9 or `5.3.1`.\n\n1. `a.1` First.\n\n[map]: 05-common.md#map\n"
    where = {"5.1.1": "spec/05-common.md", "5.3.1": "spec/05-common.md", "a.1": "spec/metrics/a.md", "a.2": "spec/metrics/a.md"}
    assert script("_hooks").linked(page, "spec/05-common.md", where) == (
        '<a id="5.1.1"></a><strong>5.1.1</strong> By [\\[map\\]][map], [5.3.1](05-common.md#5.3.1) and '
        "[`a.2`](metrics/a.md#a.2), not [0, 1], 9.9.9 or `5.3.1`.\n\n"
        '1. <a id="a.1"></a><code>a.1</code> First.\n\n[map]: 05-common.md#map\n')
