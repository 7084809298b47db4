"""Parts of images: exact removal, the metric of it, its references and superpixels as regions, and a run of figures."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import vxp
from bundle_tools import sealed
from scipy import stats
from torch import Tensor, nn
from vxp import datasets, explainers, models, tasks
from vxp.core import Batch, VxpError
from vxp.datasets import figures, stamps, stamps_blocks
from vxp.runs import run
from vxp.runs.context import Context, Settings
from vxp.validation import validate
from vxp_explainers import class_mean_patch

if TYPE_CHECKING:
    from conftest import Vxp

needs_stamps = pytest.mark.skipif(bool(stamps.missing()), reason="needs the stamps: vxp data get stamps")
REFERENCES = ("part-random", "part-area", "part-centre", "part-drop")
H = W = 8

# -------------------------------------------------------------------------------------------------------------- by hand


class Weighted(nn.Module):
    """The logit of class 0 is the sum of the weighted brightness of all positions; class 1 has 0."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.arange(H * W, dtype=torch.float32).view(H, W) / (H * W) - 0.3)

    def forward(self, x: Tensor) -> Tensor:
        said = (x.mean(1) * self.weight).flatten(1).sum(1)
        return torch.stack([said, torch.zeros_like(said)], 1)


def labels() -> Tensor:
    """Four parts: a row, a square, two single positions and the last two rows; and ground."""
    found = torch.full((H, W), -1)
    found[0], found[2:4, 2:4], found[5, 0], found[5, 7], found[6:] = 0, 1, 2, 2, 3
    return found


def items(n: int = 2) -> tuple[Tensor, Tensor]:
    """Images [n, 3, H, W] between levels, and each without every part, in levels: darker where the part was."""
    raw = torch.rand(n, 3, H, W, generator=torch.Generator().manual_seed(0))
    own, dark = (raw * 255).round(), (raw * 100).round()
    of = labels()
    without = torch.stack([torch.where(of == k, dark, own) for k in range(4)], 1)
    return raw, without.to(torch.uint8)


def deletion(maps: Tensor, metric: str = "part-deletion", **more: object) -> vxp.Score:
    raw, without = items(len(maps))
    given = {"truth": {"without": without}, "objects": labels(), "targets": torch.zeros(len(maps), dtype=torch.long)} | more
    (found,) = vxp.score(Weighted(), raw, maps, metrics=(metric,), **given).values()
    return found


def losses(metric: str = "rendered") -> list[list[float]]:
    raw, without = items()
    found = []
    for image, drawn in zip(raw, without, strict=True):
        rows = []
        for k in range(4):
            row = drawn[k] / 255 if metric == "rendered" else image.masked_fill(labels() == k, 0.0)
            # a level that is the item's own leaves the item's value
            kept = (labels() != k) if metric == "rendered" else torch.zeros(H, W, dtype=torch.bool)
            rows.append(torch.where(kept, image, row))
        said = Weighted()(torch.stack([image, *rows]))[:, 0]
        found.append((said[0] - said[1:]).tolist())
    return found


def part_scores(map: Tensor, pool: str = "mean") -> list[float]:
    values = [map[labels() == k] for k in range(4)]
    return [float(v.mean() if pool == "mean" else v.sum()) for v in values]


@pytest.mark.parametrize(("metric", "removal", "pool"), [
    ("part-deletion", "rendered", "mean"), ("part-deletion|pool:sum", "rendered", "sum"),
    ("part-deletion|removal:black", "black", "mean")])
def test_part_deletion_is_the_rank_correlation_with_what_is_lost(metric: str, removal: str, pool: str) -> None:
    maps = torch.randn(2, H, W, generator=torch.Generator().manual_seed(3))
    found = deletion(maps, metric)
    for i, lost in enumerate(losses(removal)):
        wanted = stats.spearmanr(part_scores(maps[i], pool), lost).statistic
        assert float(found.values[i]) == pytest.approx(wanted, abs=1e-6)


def test_a_map_of_what_is_lost_has_one_and_its_opposite_minus_one() -> None:
    scores = torch.tensor(losses())
    planes = vxp.painted(labels().expand(2, H, W), scores)
    assert deletion(planes, kind="regions").values.tolist() == pytest.approx([1.0, 1.0], abs=1e-9)
    assert deletion(-planes[:, 1]).values.tolist() == pytest.approx([-1.0, -1.0], abs=1e-9)


def test_equal_scores_share_their_rank() -> None:
    maps = vxp.painted(labels().expand(2, H, W), torch.tensor([[1.0, 1.0, 0.0, 2.0]]).expand(2, 4))[:, 1]
    found = deletion(maps)
    for i, lost in enumerate(losses()):
        assert float(found.values[i]) == pytest.approx(stats.spearmanr([2.5, 2.5, 1.0, 4.0], lost).statistic, abs=1e-9)


def test_where_part_deletion_is_not_defined() -> None:
    maps = torch.randn(2, H, W, generator=torch.Generator().manual_seed(3))
    level = torch.where(labels() < 0, 1.0, 0.5).expand(2, H, W)
    assert deletion(level).status == ("undefined:constant-groups",) * 2
    two, (_, without) = labels().clamp_max(1), items()
    assert deletion(maps, objects=two, truth={"without": without[:, :2]}).status == ("undefined:too-few-regions",) * 2
    same = (items()[0] * 255 + 0.5).floor().to(torch.uint8)[:, None].expand(-1, 4, -1, -1, -1)
    assert deletion(maps, truth={"without": same}).status == ("undefined:zero-variance",) * 2


def test_what_part_deletion_lacks_is_said() -> None:
    maps = torch.randn(2, H, W)
    with pytest.raises(VxpError, match="not divided into parts"):
        deletion(maps, objects=None)
    with pytest.raises(VxpError, match=r"removal:mean, or take a task"):
        deletion(maps, truth=None)
    with pytest.raises(VxpError, match="4 parts and are rendered without each of 3"):
        deletion(maps, truth={"without": items()[1][:, :3]})


# ----------------------------------------------------------------------------------------------------------- references


def batch() -> Batch:
    raw, without = items()
    return Batch(("a", "b"), raw, torch.zeros(2, dtype=torch.long), seed=5, truth={"without": without},
                 parts={"part": labels().flatten().expand(2, H * W)})


@pytest.mark.parametrize("name", REFERENCES)
def test_references_of_parts_are_regions_of_the_parts(name: str) -> None:
    found = explainers.bind(name)(Weighted(), batch())
    assert found.shape == (2, 2, H, W)
    assert torch.equal(found[:, 0].long(), labels().expand(2, H, W))
    assert torch.equal(found[1:], explainers.bind(name)(Weighted(), batch().select([1])))
    bare = replace(batch(), parts={})
    with pytest.raises(VxpError, match="not divided into parts"):
        explainers.bind(name)(Weighted(), bare)


def scores_of(name: str) -> list[list[float]]:
    planes = explainers.bind(name)(Weighted(), batch())
    return [[float(planes[i, 1][labels() == k][0]) for k in range(4)] for i in range(2)]


def test_the_scores_of_the_references_by_hand() -> None:
    assert scores_of("part-area")[0] == pytest.approx([8 / 64, 4 / 64, 2 / 64, 16 / 64])
    corner = math.hypot(3.5, 3.5)
    square = (math.hypot(1.5, 1.5) + 2 * math.hypot(1.5, 0.5) + math.hypot(0.5, 0.5)) / 4
    centre = scores_of("part-centre")[0]
    assert centre[1] == pytest.approx(1 - square / corner, abs=1e-6)
    assert centre[2] == pytest.approx(1 - math.hypot(1.5, 3.5) / corner, abs=1e-6)
    assert np.array(scores_of("part-drop")) == pytest.approx(np.array(losses()), abs=1e-5)
    assert scores_of("part-random")[0] != scores_of("part-random")[1]


def test_the_ceiling_needs_renderings_and_no_method_has_to_beat_it() -> None:
    assert explainers.references(("without",), "regions") == list(REFERENCES)
    assert explainers.references(("mask",), "regions") == list(REFERENCES[:3])
    with pytest.raises(VxpError, match="the truth 'without'"):
        explainers.bind("part-drop")(Weighted(), replace(batch(), truth={}))
    with pytest.raises(VxpError, match="expected one of"):
        explainers.bind("part-drop|readout:loss")(Weighted(), batch())


# ---------------------------------------------------------------------------------------------------------- superpixels


@pytest.mark.parametrize("name", ["slic-lime", "slic-kernel-shap"])
def test_superpixels_with_scores_are_found(name: str) -> None:
    """Of a model that adds up weighted brightness, a superpixel counts what is lost where it shows black."""
    side = 32
    raw = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).repeat_interleave(8, 2).repeat_interleave(8, 3)
    weight = torch.rand(side, side, generator=torch.Generator().manual_seed(2))

    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            said = (x.mean(1) * weight).flatten(1).sum(1) / 500
            return torch.stack([said, torch.zeros_like(said)], 1)

    given = Batch(("a", "b"), raw, torch.zeros(2, dtype=torch.long), seed=5)
    found = explainers.bind(f"{name}|samples:120|superpixels:9|fill:black")(Sum(), given)
    plain = explainers.bind(f"{name.removeprefix('slic-')}|samples:120|superpixels:9|fill:black")(Sum(), given)
    for i in range(2):
        of = found[i, 0].long()
        count = int(of.max()) + 1
        assert 4 <= count <= 20
        lost = [float((given.inputs[i].mean(0) * weight)[of == k].sum()) for k in range(count)]
        scores = [float(found[i, 1][of == k][0]) for k in range(count)]
        assert stats.spearmanr(scores, lost).statistic > 0.9
        assert all(len(plain[i][of == k].unique()) == 1 for k in range(count)), "the superpixels are those of the map"
    assert torch.equal(found[1:], explainers.bind(f"{name}|samples:120|superpixels:9|fill:black")(Sum(), given.select([1])))


# -------------------------------------------------------------------------------------------------------- stamps-blocks


@needs_stamps
def test_blocks_of_a_stamp_are_alike_in_size_and_leave_the_ground() -> None:
    for item in islice(stamps_blocks.propose(0), 6):
        sample, whole = stamps_blocks.load(item), stamps.load(item)
        ground = torch.from_numpy(stamps.ground_of(item).astype(np.uint8)).movedim(-1, 0)
        of, without = sample.parts["part"], sample.truth["without"]
        sizes = [int((of == k).sum()) for k in range(6)]
        assert max(sizes) < 1.3 * min(sizes)
        assert torch.equal(sample.image, whole.image)
        assert torch.equal(sample.truth["mask"], whole.truth["mask"])
        assert bool((of[sample.truth["mask"]] >= 0).all())
        # the ground is seen where there is no block, and everywhere once all blocks are gone
        assert torch.equal(sample.image[:, of < 0], ground[:, of < 0])
        for k in range(6):
            assert torch.equal(without[k], torch.where(of == k, ground, sample.image))
        gone = sample.image
        for k in range(6):
            gone = torch.where(of == k, without[k], gone)
        assert torch.equal(gone, ground)


@needs_stamps
def test_other_blocks_than_the_frozen_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    item = next(stamps_blocks.propose(0))
    assert datasets.at(datasets.source("stamps-blocks"), stamps.located()).load(item).parts["part"].max() == 5
    monkeypatch.setattr(stamps_blocks, "changed", lambda item, folder=None: np.tri(stamps.SIZE, dtype=bool))
    with pytest.raises(VxpError, match="the blocks here have SHA-256"):
        stamps_blocks.load(item)


def test_cuts_divide_as_evenly_as_rows_allow() -> None:
    seen = np.zeros((10, 4), bool)
    seen[1:9] = True
    assert stamps_blocks._cut(seen, 0, 2).tolist() == [0] * 5 + [1] * 5
    seen[8] = False
    assert stamps_blocks._cut(seen, 0, 3).tolist() == [0] * 3 + [1] * 3 + [2] * 4


# -------------------------------------------------------------------------------------------------------------- figures


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six figures, and the sealed bundle of slic-lime."""
    folder = tmp_path_factory.mktemp("parts")
    task = tasks.load("figures")
    context = Context.of(task, models.load(task.model), folder / "run", Settings(batch_size=32, threads=1, limit=6),
                         ("part-deletion", "relevance-rank", "deletion|steps:4"))
    run.run(context, [explainers.bind(name) for name in ("slic-lime|samples:60|superpixels:20", "saliency")])
    return sealed(folder / "run", folder / "bundle", "slic-lime")


def test_figures_are_balanced_and_name_their_parts() -> None:
    task = tasks.load("figures")
    assert task.document["concepts"] == list(figures.SLOTS)
    assert [kind.id for kind in task.kinds] == ["regions", "heatmap2d"]
    counts = [sum(item.recipe["class"] == c for item in task.items) for c in range(12)]
    assert (len(task.items), min(counts)) == (120, 10)


def test_parts_go_from_run_to_verification(whole: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    assert [f for f in validate(whole).findings if f["severity"] == "error"] == []
    said = run_vxp("verify", whole, "--regenerate", "slic-lime", "--out", tmp_path / "audit.json", "--threads", "1")
    assert "evidence E3" in said.stdout, said.stdout


def test_a_mixed_task_has_the_references_of_both_kinds(whole: Path, run_vxp: Vxp) -> None:
    reports = {path.parent.name for path in (whole.parent / "run" / "explanations").rglob("set.json")}
    for name in (*REFERENCES, "random", "oracle", "saliency", "slic-lime"):
        assert any(name in one for one in reports), (name, reports)
    assert run_vxp("report", whole.parent / "run").returncode == 0
    page = (whole.parent / "run" / "report.html").read_text()
    assert "part-drop" in page
    assert "slic-lime" in page


# ----------------------------------------------------------------------------------------------------------- prototypes


def found_at(*cells: tuple[int, int], grid: int = 4) -> Tensor:
    """A plane for every cell at which a prototype is found, [P, grid, grid]."""
    planes = torch.zeros(len(cells), grid, grid)
    for p, (row, column) in enumerate(cells):
        planes[p, row, column] = 1.0
    return planes


def consistency(planes: Tensor, targets: list[int], window: int = 1, of: Tensor | None = None) -> vxp.Score:
    """Of images of 8 x 8 in which part 0 is the upper left quarter, part 1 the lower right one."""
    quarters = torch.full((H, W), -1)
    quarters[:4, :4], quarters[4:, 4:] = 0, 1
    raw = torch.zeros(len(planes), 3, H, W)
    (found,) = vxp.score(Many(), raw, planes, targets=targets, objects=quarters if of is None else of, kind="prototypes",
                         metrics=(f"prototype-consistency|window:{window}",)).values()
    return found


class Many(nn.Module):
    """Four classes, all alike."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 4)


UPPER, LOWER, GROUND = (0, 1), (3, 2), (0, 3)


def test_a_prototype_is_consistent_where_it_hits_one_part_of_most_items() -> None:
    # of five items of class 0 the first prototype hits part 0 in all, the second in four, the third in three
    cells = [*[(UPPER, UPPER, UPPER)] * 3, (UPPER, UPPER, LOWER), (UPPER, GROUND, GROUND)]
    planes = torch.stack([found_at(*some) for some in cells])
    # a window of one position hits part 0 in a quarter of the cells: (4/5 - 1/4)/(3/4) = .73 is not enough
    assert consistency(planes, [0] * 5).mean == pytest.approx(1 / 3)
    # where the part has one cell of 16, (4/5 - 1/16)/(15/16) = .79 is not enough either, and all of them are
    small = torch.full((H, W), -1)
    small[:2, 2:4], small[4:, 4:] = 0, 1
    assert consistency(planes, [0] * 5, of=small).mean == pytest.approx(1 / 3)


def test_classes_have_their_own_parts() -> None:
    planes = torch.stack([found_at(UPPER), found_at(UPPER), found_at(LOWER), found_at(LOWER)])
    assert consistency(planes, [0, 0, 1, 1]).mean == 1.0
    assert consistency(planes, [0, 1, 0, 1]).mean == 0.0
    # a prototype counts for the classes for which it speaks
    silent = torch.cat([planes, -torch.ones(4, 1, 4, 4)], 1)
    assert consistency(silent, [0, 0, 1, 1]).mean == 1.0
    silent[3, 1] = found_at(GROUND)[0]
    assert consistency(silent, [0, 0, 1, 1]).mean == pytest.approx(2 / 3)


def test_a_larger_window_alone_helps_nobody() -> None:
    generator = torch.Generator().manual_seed(0)
    planes, targets = torch.rand(40, 3, 4, 4, generator=generator), [i % 4 for i in range(40)]
    assert [consistency(planes, targets, window).mean for window in (1, 3, 7, 15)] == [0.0] * 4
    always = found_at(UPPER, LOWER).expand(40, 2, 4, 4)
    assert [consistency(always, targets, window).mean for window in (1, 3)] == [1.0] * 2
    # a window that holds the image hits all parts at every cell, so that nothing is known of any prototype
    assert consistency(always, targets, 15).mean == 0.0


def test_an_item_for_which_no_prototype_speaks_takes_no_part() -> None:
    planes = torch.stack([found_at(UPPER), found_at(UPPER), -found_at(UPPER)])
    found = consistency(planes, [0, 0, 0])
    assert found.status == ("ok", "ok", "undefined:no-positive-mass")
    assert found.mean == 1.0


def test_a_network_says_what_its_logits_are_made_of() -> None:
    task = tasks.load("figures-prototypes")
    model = models.load(task.model)
    batch = task.batch(0, 4, model)
    planes = explainers.bind("proto-maps")(model.module, batch)
    with torch.no_grad():
        logits = model.module(batch.inputs).gather(1, batch.targets[:, None])[:, 0]
    weights = model.module.head.weight.detach()[batch.targets]
    # a negative weight takes its largest similarity at the least of the plane
    said = torch.where(weights > 0, planes.flatten(2).amax(2), planes.flatten(2).amin(2)).sum(1)
    assert torch.allclose(said, logits, atol=1e-4)
    assert torch.allclose(planes[2:3], explainers.bind("proto-maps")(model.module, batch.select([2])), atol=1e-4)


def test_templates_are_found_on_their_parts_and_random_patches_anywhere() -> None:
    task = tasks.load("figures-prototypes")
    model = models.load(task.model)
    batch = task.batch(0, 60, model)
    scores = {}
    for name in ("part-template", "random-patches", "proto-maps", "class-mean-patch"):
        planes = explainers.bind(name)(model.module, batch)
        (found,) = vxp.score(model.module, batch.inputs, planes, batch.targets, metrics=("prototype-consistency",),
                             normalization=(model.normalization.mean, model.normalization.std),
                             objects=batch.parts["part"].view(60, 64, 64), kind="prototypes").values()
        scores[name] = found.mean
    assert scores["part-template"] == 1.0
    assert scores["random-patches"] == scores["class-mean-patch"] == 0.0
    assert scores["proto-maps"] > 0.8


def test_the_patch_that_is_looked_for_in_the_pixels_is_found_where_it_is() -> None:
    """An image that shows the mean patch of its class at a cell."""
    means = class_mean_patch._means()
    image = torch.full((1, 3, 64, 64), 0.5)
    image[0, :, 14:39, 26:51] = means[7].float()  # its middle, (26, 38), is that of cell (6, 9)
    given = Batch(("a",), image, torch.tensor([7]))
    plane = explainers.bind("class-mean-patch")(nn.Identity(), given)[0, 0]
    assert divmod(int(plane.argmax()), 16) == (6, 9)
    assert float(plane[6, 9]) == pytest.approx(math.log(1e4), abs=0.01)
    with pytest.raises(VxpError, match="the 12 classes of figures, got class 12"):
        explainers.bind("class-mean-patch")(nn.Identity(), replace(given, targets=torch.tensor([12])))


def test_other_models_have_no_prototypes() -> None:
    with pytest.raises(VxpError, match="got a Weighted: take the model figures-protopnet"):
        explainers.bind("proto-maps")(Weighted(), batch())


@pytest.mark.parametrize("given", [torch.rand(2, 8, 8), torch.rand(2, 0, 4, 4)])
def test_planes_of_another_form_are_refused(given: Tensor) -> None:
    with pytest.raises(VxpError, match=r"expected (a tensor|one prototype)"):
        consistency(given, [0, 1])


def test_prototypes_go_from_run_to_verification(tmp_path: Path, run_vxp: Vxp) -> None:
    task = tasks.load("figures-prototypes")
    context = Context.of(task, models.load(task.model), tmp_path / "run", Settings(batch_size=32, threads=1, limit=24),
                         ("prototype-consistency",))
    run.run(context, [explainers.bind("proto-maps")])
    bundle = sealed(tmp_path / "run", tmp_path / "bundle", "proto-maps")
    assert [f for f in validate(bundle).findings if f["severity"] == "error"] == []
    said = run_vxp("verify", bundle, "--all", "--regenerate", "proto-maps", "--out", tmp_path / "audit.json", "--threads", "1")
    assert "evidence E3" in said.stdout, said.stdout
    assert run_vxp("report", tmp_path / "run").returncode == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count('class="patch"') > 8, "the patches of the network's prototypes are shown"
    assert "part-template, a prototype for every part" in page
