"""Texts and rules as explanations: what is causal by removal, the explainers that tell it, runs from end to end, and what the
validator and the report make of them. How texts are read and compared is in test_texts.py."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import vxp_schemas
from bundle_tools import Broken, sealed
from torch import Tensor, nn
from vxp import datasets, explainers, models, outputs, tasks
from vxp.core import Bank, Batch, Case, Outcome, VxpError
from vxp.datasets import montage, montage_words, shapes_factors, shapes_rules
from vxp.documents import rules, words
from vxp.documents.rules import Literal, Rule
from vxp.documents.words import Claim, Words
from vxp.engine import Engine, Job
from vxp.kinds import KINDS, decoded, encoded, rule_of, ruled
from vxp.metrics import bind_all
from vxp.models.sequences import Scorer
from vxp.report import told
from vxp.runs import explain_worker, run
from vxp.runs.context import Context, Settings
from vxp.validation import validate
from vxp_explainers import _logic, _sentences

if TYPE_CHECKING:
    from conftest import Vxp

needs_photos = pytest.mark.skipif(bool(montage.MONTAGE.missing()), reason="needs the photos of vxp[demo]")
RULES = "shapes-rules@1"
needs_rules = pytest.mark.skipif(RULES not in vxp_schemas.registry("tasks"), reason=f"needs the task {RULES}")
CLAIMS = ("claim-precision", "claim-recall")
TEXTS = ("random-words", "true-not-causal", "causal-words")


class Sums(nn.Module):
    """A step is scored by its first feature, and by how far the second one lies from its mean over all steps."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0] + self.weight * (x[:, 1] - x[:, 1].mean(1, keepdim=True)) ** 2


def videos() -> tuple[nn.Module, Batch]:
    """Two sequences of ten steps in five fragments, at ten frames a second and two frames a step."""
    x = torch.rand(2, 3, 10, generator=torch.Generator().manual_seed(4))
    x[0, 1, 4:6] = x[1, 1, :2] = 5
    of = torch.tensor([k for k in range(5) for _ in range(2)]).expand(2, 10)
    segments = torch.tensor([[4 * k, 4 * k + 4] for k in range(5)]).expand(2, 5, 2)
    return Scorer(Sums(), "bdt").eval(), Batch(("a", "b"), x, torch.full((2,), -1), parts={"fragment": of}, segments=segments,
                                              rates=torch.tensor([10.0, float("nan")], dtype=torch.float64))


class Weighted(nn.Module):
    """Two classes: the logit of the second one is the weighted sum of the brightness of the quarters of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([3.0, 0.0, 1.0, -1.0]))

    def forward(self, x: Tensor) -> Tensor:
        quarters = nn.functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), 2).flatten(1)
        said = quarters @ self.weights
        return torch.stack([torch.zeros_like(said), said], 1)


NAMES = ("head", "body", "tail", "feet")


def images(*weights: float) -> tuple[Weighted, Batch]:
    """Two white images of which each quarter can be taken out, and the model."""
    model = Weighted().eval()
    if weights:
        model.weights.data = torch.tensor(weights)
    whole, without = torch.ones(2, 3, 4, 4), torch.full((2, 4, 3, 4, 4), 255, dtype=torch.uint8)
    for part, (y, x) in enumerate(((0, 0), (0, 2), (2, 0), (2, 2))):
        without[:, part, :, y : y + 2, x : x + 2] = 0
    of = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]).flatten().expand(2, 16)
    return model, Batch(("a", "b"), whole, torch.ones(2, dtype=torch.long), truth={"without": without}, parts={"part": of},
                        named=NAMES)


def claiming(attribute: str, *values: str) -> Words:
    return Words("", tuple(Claim(attribute, value, "cause") for value in values))


def scores(model: nn.Module, batch: Batch, payload: Tensor, *metrics: str, kind: str = "text") -> dict[str, Outcome]:
    wanted = bind_all(metrics)
    found = Engine(model, 4).score(Job(Case(batch, payload, "none", explained=KINDS[kind]), wanted))
    return {asked: found[bound.signature] for asked, bound in zip(metrics, wanted, strict=True)}


# ------------------------------------------------------------------------------------------- claims against what removal does


@pytest.mark.parametrize(("share", "claimed", "precision", "recall"), [
    (0.5, ("head",), 1.0, 1.0), (0.5, ("head", "tail"), 0.5, 1.0), (0.5, ("tail",), 0.0, 0.0), (0.5, (), None, 0.0),
    (0.1, ("head",), 1.0, 0.5), (0.1, ("head", "tail", "body"), 2 / 3, 1.0), (0.0, ("feet",), 0.0, 0.0),
])
def test_a_part_is_a_cause_where_removal_lowers_the_target(
    share: float, claimed: Sequence[str], precision: float | None, recall: float | None
) -> None:
    """Without its head the target falls from .95 to .50, without its tail to .88; the body does nothing, the feet raise it."""
    found = scores(*images(), encoded([claiming("part", *claimed)] * 2), f"claim-precision|share:{share}",
                   f"claim-recall|share:{share}")
    for outcome, expected in zip(found.values(), (precision, recall), strict=True):
        if expected is None:
            assert outcome.status == ("undefined:no-claim",) * 2
        else:
            assert outcome.values.tolist() == pytest.approx([expected] * 2)


def test_what_no_part_changes_has_no_cause() -> None:
    found = scores(*images(0.0, 0.0, 0.0, 0.0), encoded([claiming("part", "head")] * 2), *CLAIMS)
    assert found["claim-precision"].values.tolist() == [0.0, 0.0]
    assert found["claim-recall"].status == ("undefined:no-cause",) * 2


def test_parts_need_names_and_images_without_them() -> None:
    model, batch = images()
    payload = encoded([claiming("part", "head")] * 2)
    for changed, said in (({"truth": {}}, "no truth 'without'"), ({"named": NAMES[:3]}, "of 4 parts, and 3 parts have names")):
        with pytest.raises(VxpError, match=said):
            scores(model, Batch(**{**vars(batch), **changed}), payload, "claim-recall")


def test_fragments_are_causes_by_what_their_removal_does_to_the_order() -> None:
    """The fragment that stands out decides the order of all others: the third one, and in the second sequence the first."""
    model, batch = videos()
    change = explainers.bind("leave-one-out")(model, batch)
    causes = [[str(k + 1) for k in range(5) if change[i, k] >= change[i].max() / 2] for i in range(2)]
    assert ("3" in causes[0], "1" in causes[1]) == (True, True)
    payload = encoded([claiming("shot", *some) for some in causes])
    found = scores(model, batch, payload, *CLAIMS)
    assert all(outcome.values.tolist() == [1.0, 1.0] for outcome in found.values())
    others = encoded([claiming("shot", *(str(k) for k in range(1, 6) if str(k) not in some)) for some in causes])
    assert scores(model, batch, others, *CLAIMS)["claim-precision"].values.tolist() == [0.0, 0.0]
    spelt = encoded([claiming("shot", *(f"0{k}" for k in some)) for some in causes])
    assert scores(model, batch, spelt, *CLAIMS)["claim-recall"].values.tolist() == [0.0, 0.0]


def test_all_explanations_share_the_rows_of_removal() -> None:
    model, batch = videos()
    engine, wanted = Engine(model, 16), bind_all(CLAIMS)
    for words_ in (claiming("shot", "1"), claiming("shot", "2")):
        engine.score(Job(Case(batch, encoded([words_] * 2), "none", explained=KINDS["text"]), wanted))
    assert engine.tally.run == 2 * engine.tally.asked / 4


# -------------------------------------------------------------------------------------------------------------- explainers


def told_by(name: str, model: nn.Module, batch: Batch) -> list[Words]:
    return [decoded(row) for row in explainers.bind(name)(model, batch)]


@pytest.mark.parametrize("made", [videos, images], ids=["videos", "images"])
def test_ceiling_and_foil_bracket_every_text(made: Callable[[], tuple[nn.Module, Batch]]) -> None:
    model, batch = made()
    causal, foil = (scores(model, batch, explainers.bind(name)(model, batch), *CLAIMS)
                    for name in ("causal-words", "true-not-causal"))
    assert all(outcome.values.tolist() == [1.0, 1.0] for outcome in causal.values())
    assert all(outcome.values.tolist() == [0.0, 0.0] for outcome in foil.values())


@pytest.mark.parametrize("made", [videos, images], ids=["videos", "images"])
@pytest.mark.parametrize("name", [*TEXTS, "fragment-text|by:leave-one-out", "part-text|by:saliency"])
def test_a_text_does_not_depend_on_neighbours_and_leaves_the_model(
    name: str, made: Callable[[], tuple[nn.Module, Batch]]
) -> None:
    model, batch = made()
    if name.partition("-")[0] == ("part" if made is videos else "fragment"):
        with pytest.raises(VxpError, match="expl"):
            explainers.bind(name)(model, batch)
        return
    before = {key: value.clone() for key, value in model.state_dict().items()}
    whole = explainers.bind(name)(model, batch)
    for order in ([1, 0], [1]):
        assert torch.equal(explainers.bind(name)(model, batch.select(order)), whole[order])
    assert torch.equal(explainers.bind(name)(model, batch), whole)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    assert outputs.of(model).id in explainers.catalogue()[name.partition("|")[0]].outputs


def test_what_a_ranking_says_is_told_with_times() -> None:
    model, batch = videos()
    first, second = told_by("fragment-text|by:leave-one-out|k:2", model, batch)
    ranked = explainers.bind("leave-one-out")(model, batch).argsort(dim=1, descending=True, stable=True)
    a, b, *_, least = (int(k) for k in ranked[0])
    times = [f"0:0{4 * k // 10}.{4 * k % 10} to 0:0{(4 * k + 4) // 10}.{(4 * k + 4) % 10}" for k in (a, b)]
    assert first.text == (f"The order of the frames hangs most on shot {a + 1} ({times[0]}) and then shot {b + 1} "
                          f"({times[1]}). Shot {least + 1} counts least.")
    assert [claim.value for claim in first.claims] == [str(a + 1), str(b + 1)]
    # the rate of the second one is not known
    assert "(" not in second.text
    with pytest.raises(VxpError, match="'lime'"):
        told_by("fragment-text|by:lime", model, batch)
    with pytest.raises(VxpError, match="its own 1280 features, and these are 3"):
        told_by("causal-words|names:efficientnet-lite0", model, batch)


def test_a_heat_map_is_told_by_its_parts() -> None:
    found = told_by("part-text|by:saliency|k:3", *images())
    assert found[0] == Words("The answer hangs most on the head, then the tail and then the feet.",
                             tuple(Claim("part", name, "cause") for name in ("head", "tail", "feet")))
    assert told_by("causal-words|share:0.1", *images())[0].text == "The answer hangs most on the head and then the tail."


def test_nothing_that_counts_is_told_so() -> None:
    assert told_by("causal-words", *images(0.0, 0.0, 0.0, 0.0))[0] == _sentences.of_parts([]) == Words(
        "The answer hangs on no single part.")
    assert _sentences.of_shots([], ((0, 2),), None).claims == ()
    said = _sentences.of_shots([1, 0], ((0, 15), (15, 45)), 15, ("hay", "castle"))
    assert said.text == ("The order of the frames hangs most on shot 2 (0:01 to 0:03, seen as castle) and then shot 1 (0:00 to "
                         "0:01, seen as hay).")


def test_random_words_are_keyed_by_the_item() -> None:
    model, batch = videos()
    many = Batch(**{**vars(batch), "ids": tuple(f"{n}" for n in range(40)), "inputs": batch.inputs[:1].expand(40, 3, 10),
                    "targets": torch.full((40,), -1), "parts": {"fragment": batch.parts["fragment"][:1].expand(40, 10)},
                    "segments": None, "rates": None})
    drawn = [tuple(claim.value for claim in said.claims) for said in told_by("random-words|k:2", model, many)]
    assert len(set(drawn)) > 12
    assert all(len(set(pair)) == 2 for pair in drawn)
    counts = np.bincount([int(value) for pair in drawn for value in pair], minlength=6)[1:]
    assert counts.min() > 6
    assert [len(said.claims) for said in told_by("random-words|k:9", model, batch)] == [5, 5]


def test_what_a_batch_knows_reaches_an_explainer_in_its_own_process() -> None:
    _, batch = videos()
    _, pictures = images()
    bank = Bank(NAMES[:1], torch.rand(1, 2, 3, 4, 4), torch.rand(1, 2, 3, 4, 4), False, torch.ones(2, 1, 2, 1).bool(),
                torch.zeros(2, 1, 2, dtype=torch.long))
    for one, kind in ((batch, "text"), (Batch(**{**vars(pictures), "bank": bank}), "rules")):
        said, tensors = explain_worker.batch_message(one, None, kind)  # type: ignore[arg-type]
        again = explain_worker._batch(json.loads(json.dumps(said)), tensors)
        assert (again.named, again.concepts) == (one.named, one.concepts)
        for name in ("segments", "rates"):
            assert (getattr(one, name) is None) == (getattr(again, name) is None)
        if one.bank is not None:
            assert again.bank is not None
            assert again.bank.values is one.bank.values
            assert again.bank.labels is one.bank.labels


# ------------------------------------------------------------------------------------------------------------------ rules


ROUND, RED, BRIGHT = (Literal(name, True) for name in ("round", "red", "ground"))
FORMULA = Rule(((ROUND, RED), (Literal("round", False), BRIGHT)), 1, 0)


def test_a_rule_is_read_written_and_asked() -> None:
    data = rules.canonical(FORMULA)
    assert data == (b'{"otherwise":0,"rule":[[{"concept":"round","is":true},{"concept":"red","is":true}],'
                    b'[{"concept":"round","is":false},{"concept":"ground","is":true}]],"says":1}')
    assert rules.of_bytes(data + bytes(9)) == rule_of(ruled([FORMULA])[0]) == FORMULA
    assert rules.told(FORMULA) == "round & red or !round & ground"
    assert (FORMULA.literals, rules.told(Rule((), 0)), rules.told(Rule(((),), 0))) == (4, "never", "always")
    assert FORMULA.fires({"round": True, "red": True, "ground": False})
    assert not FORMULA.fires({"round": True, "red": False, "ground": True})
    assert not Rule(((Literal("square", False),),), 1).fires({"round": True})
    assert Rule(((),), 1).fires({})


@pytest.mark.parametrize(("found", "said"), [
    ([], "expected an object with rule, says, otherwise"), ({"says": 1, "otherwise": None}, "it has no rule"),
    ({"rule": [], "says": True, "otherwise": 0}, "says is True, expected the number of a class"),
    ({"rule": [], "says": "disc", "otherwise": 0}, "says is 'disc'"),
    ({"rule": [], "says": None, "otherwise": 0}, "says is None"),
    ({"rule": [], "says": 1, "otherwise": -1}, "otherwise is -1, expected the number of a class, or null"),
    ({"rule": {}, "says": 1, "otherwise": 0}, "rule is an object of 0"),
    ({"rule": [[]] * 65, "says": 1, "otherwise": 0}, "at most 64 alternatives"),
    ({"rule": [{}], "says": 1, "otherwise": 0}, "alternative 0 is an object of 0"),
    ({"rule": [[{"concept": "red"}]], "says": 1, "otherwise": 0}, "literal 0 of alternative 0 has no is"),
    ({"rule": [[{"concept": "red", "is": 1}]], "says": 1, "otherwise": 0}, "is of literal 0 of alternative 0 is 1"),
    ({"rule": [[{"concept": "red", "is": n} for n in (True, False)]], "says": 1, "otherwise": 0}, "several literals of 'red'"),
    ({"rule": [], "says": 1, "otherwise": 0, "why": ""}, "unknown key 'why'"),
])
def test_what_is_no_rule_is_told(found: Any, said: str) -> None:
    with pytest.raises(VxpError, match=said):
        rules.of_bytes(json.dumps(found).encode())


def test_an_unknown_concept_and_no_rule_are_refused_of_an_explainer() -> None:
    _, batch = images()
    kind = KINDS["rules"]
    assert torch.equal(kind.checked([Rule(((Literal("tail", True),),), 1)] * 2, batch, "it"), ruled(  # type: ignore[arg-type]
        [Rule(((Literal("tail", True),),), 1)] * 2))
    with pytest.raises(VxpError, match="the rule names wings, and the concepts of the task are head, body"):
        kind.checked(ruled([Rule(((Literal("wings", True),),), 1)] * 2), batch, "it")
    with pytest.raises(VxpError, match="it: item 0"):
        kind.checked(torch.zeros(2, 4096, dtype=torch.uint8), batch, "it")


class Says(nn.Module):
    """The formula, of images whose three pixels show the three concepts, but for one combination: round, not red, bright."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        round_, red, bright = (x[:, 0, 0, k] > 0.5 for k in range(3))
        yes = (round_ & red) | (~round_ & bright) | (round_ & ~red & bright)
        return self.scale * torch.stack([~yes, yes], 1)


def stated() -> tuple[nn.Module, Batch]:
    """All eight combinations, with the examples that learners need: the same ones ten times, with the formula as labels."""
    has = torch.tensor([[bool(n >> k & 1) for k in range(3)] for n in range(8)])
    shown = has.float()[:, None, None, :].expand(8, 3, 1, 3).contiguous()
    names = ("round", "red", "ground")
    labels = torch.tensor([int(FORMULA.fires(dict(zip(names, row, strict=True)))) for row in has.tolist()])
    where = torch.arange(8).repeat(3, 10)
    bank = Bank(names, shown[where], shown[where], False, has[where].expand(2, 3, 80, 3), labels[where].expand(2, 3, 80))
    model = Says().eval()
    return model, Batch(tuple("abcdefgh"), shown, model(shown).argmax(1), truth={"present": has}, clusters=tuple("abcdefgh"),
                        bank=bank)


def fidelity(model: nn.Module, batch: Batch, payload: Tensor) -> float:
    (wanted,) = bind_all(["rule-fidelity"])
    found = scores(model, batch, payload, "rule-fidelity", kind="rules")["rule-fidelity"]
    assert found.statistics is not None
    assert wanted.metric.reduce is not None
    counts = torch.ones(1, len(batch), dtype=torch.float64)
    return float(wanted.metric.reduce(found.statistics, torch.arange(len(batch)), counts))


def test_fidelity_of_known_rules() -> None:
    """The model follows the formula in seven of eight combinations, and says yes to five."""
    model, batch = stated()
    assert fidelity(model, batch, ruled([FORMULA] * 8)) == pytest.approx(7 / 8)
    assert fidelity(model, batch, ruled([Rule(((ROUND, RED), (BRIGHT,)), 1, 0)] * 8)) == 1.0
    # silence is right where another class is predicted
    assert fidelity(model, batch, ruled([Rule(((ROUND, RED), (BRIGHT,)), 1)] * 8)) == 1.0
    assert fidelity(model, batch, ruled([Rule((), 1)] * 8)) == pytest.approx(3 / 8)
    # a rule for its own item alone, which is right on that, is asked about the seven others
    own = ruled([Rule(((),), said) for said in batch.targets.tolist()])
    assert fidelity(model, batch, own) == pytest.approx((5 * 4 + 3 * 2) / 56)


def test_learners_follow_what_they_are_fitted_on() -> None:
    model, batch = stated()
    names = ("rule-majority", "rule-tree", "rule-extraction", "rule-formula")
    made = {name: explainers.bind(name)(model, batch) for name in names}
    assert {name: fidelity(model, batch, payload) for name, payload in made.items()} == pytest.approx(
        {"rule-majority": 3 / 8, "rule-tree": 7 / 8, "rule-extraction": 1.0, "rule-formula": 7 / 8})
    assert rule_of(made["rule-formula"][0]) == FORMULA
    lengths = {name: scores(model, batch, payload, "rule-complexity", kind="rules")["rule-complexity"].values.tolist()
               for name, payload in made.items()}
    assert lengths["rule-formula"] == [4.0] * 8
    assert lengths["rule-majority"] == [0.0] * 8
    # each class has its rule, and says the other one otherwise
    assert {(rule_of(row).says, rule_of(row).otherwise) for row in made["rule-extraction"]} == {(0, 1), (1, 0)}
    for name in made:
        assert torch.equal(explainers.bind(name)(model, batch.select([5])), made[name][5:6])


def test_a_tree_of_several_classes_is_silent_of_others() -> None:
    has = torch.tensor([[True, False], [False, True], [False, False]] * 5)
    leaves = _logic.grown(has, torch.tensor([0, 1, 2] * 5), ("a", "b"), 3, 1)
    assert _logic.rule_of(leaves, 1) == Rule(((Literal("a", False), Literal("b", True)),), 1, None)
    assert _logic.rule_of(leaves, 7) == Rule((), 7, None)
    assert _logic.grown(has, torch.tensor([0, 1, 2] * 5), ("a", "b"), 3, 6) == [((), 0)]


def test_formulas_are_read() -> None:
    assert _logic.parsed("it", "round & red or !round&ground") == FORMULA.alternatives
    for formula in ("", "round &", "| red", "round | red", "or red", "round red", "!"):
        with pytest.raises(VxpError, match="cannot be read"):
            _logic.parsed("it", formula)
    model, batch = stated()
    with pytest.raises(VxpError, match="the formula names square"):
        explainers.bind("rule-formula|formula:square")(model, batch)
    with pytest.raises(VxpError, match=r"rule-tree.*needs examples of which all concepts"):
        explainers.bind("rule-tree")(model, Batch(**{**vars(batch), "bank": None}))


def test_the_examples_of_shapes_rules_are_what_they_say() -> None:
    found = shapes_rules.bank(2)
    assert found.values is not None
    assert found.labels is not None
    assert found.on.shape == found.off.shape == (8, 2, 3, 64, 64)
    for side, holds in ((0, False), (1, True)):
        assert all(bool((found.values[side, k, :, k] == holds).all()) for k in range(8))
    for has, label in zip(found.values.flatten(0, 2).tolist(), found.labels.flatten().tolist(), strict=True):
        assert FORMULA.fires(dict(zip(found.names, has, strict=True))) == bool(label)
    item = next(shapes_rules.propose(0))
    sample, drawn = shapes_rules.load(item), next(shapes_factors.propose(0))
    assert torch.equal(sample.image, shapes_factors.load(drawn).image)
    assert item.label == (shapes_factors.rule(shapes_factors.scene(drawn.recipe["seed"]), drawn.recipe["class"]),)


# -------------------------------------------------------------------------------------------------------- from run to board


def test_the_videos_of_montage_are_described() -> None:
    said = montage_words.described(["grass", "rocket", "grass", "cell", "grass"])
    assert said == Words("What stands out is the launch of a rocket and a cell under a microscope, seen in one shot only; the "
                         "video comes back to grass again and again.")
    assert set(montage_words.NAMES) == {photo for split in montage.PHOTOS.values() for photo in split}
    cards = [vxp_schemas.registry_document("tasks", name) for name in ("montage", "montage-words")]
    assert len({card["items"]["digest"] for card in cards}) == 1


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four videos of montage told in words."""
    return made(tmp_path_factory.mktemp("words"), "montage-words", "fragment-text|by:leave-one-out", 4)


def made(folder: Path, task: str, explainer: str, limit: int) -> Path:
    """A run, and the bundle of its method beside it."""
    opened = tasks.load(task)
    run.run(Context.of(opened, models.load(opened.model), folder / "run", Settings(batch_size=16, threads=1, limit=limit), ()),
            [explainers.bind(explainer)])
    sealed(folder / "run", folder / "bundle", explainer.partition("|")[0])
    return folder


def mean(folder: Path, explainer: str, metric: str) -> float:
    (path,) = (folder / "run").glob(f"results/*-{explainer}-*/result.json")
    (score,) = [s for s in json.loads(path.read_text())["scores"] if s["signature"].startswith(f"{metric}@")]
    return float(score["mean"])


@needs_photos
def test_words_go_from_run_to_board(spoken: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    bundle = spoken / "bundle"
    assert [f for f in validate(bundle).findings if f["severity"] == "error"] == []
    said = run_vxp(*shlex.split(f"verify {bundle} --regenerate fragment-text --out {tmp_path / 'audit.json'} --threads 1"))
    assert "evidence E3" in said.stdout, said.stdout
    board = tmp_path / "board"
    assert run_vxp(*shlex.split(f"leaderboard add {bundle} --records {board / 'records'}")).returncode == 0
    assert run_vxp(*shlex.split(f"leaderboard build --records {board / 'records'} --out {board / 'site'}")).returncode == 0
    assert any("claim-recall" in page.read_text() for page in (board / "site").rglob("*.html"))


@needs_photos
def test_claims_tell_causes_from_what_sounds_like_them(spoken: Path, run_vxp: Vxp) -> None:
    for metric in CLAIMS:
        assert mean(spoken, "causal-words", metric) == 1.0
        assert mean(spoken, "true-not-causal", metric) == 0.0
    assert mean(spoken, "fragment-text", "claim-precision") > mean(spoken, "random-words", "claim-precision")
    assert -1 <= mean(spoken, "fragment-text", "text-overlap") <= 1
    assert run_vxp("report", str(spoken / "run")).returncode == 0
    page = (spoken / "run" / "report.html").read_text()
    assert '<strong class="cause">shot ' in page
    assert 'aria-label="timeline of held-out/00"' in page


def test_parts_of_figures_are_told(tmp_path: Path, run_vxp: Vxp) -> None:
    folder = made(tmp_path, "figures-words", "part-text|by:saliency", 12)
    assert [f for f in validate(folder / "bundle").findings if f["severity"] == "error"] == []
    assert mean(folder, "causal-words", "claim-precision") == 1.0
    assert 0 < mean(folder, "random-words", "claim-precision") < 1
    assert run_vxp("report", str(folder / "run")).returncode == 0
    assert '<strong class="cause">' in (folder / "run" / "report.html").read_text()


def values(data: bytes) -> Callable[[Broken], object]:
    """The first item says these bytes."""
    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors["values"][0] = np.frombuffer(data.ljust(tensors["values"].shape[1], b"\0"), np.uint8)

    return lambda broken: broken.tensors("shard", change)


def findings(bundle: Path, folder: Path, change: Callable[[Broken], object], code: str) -> list[str]:
    broken = Broken(bundle, folder)
    change(broken)
    broken.seal()
    return [str(f) for f in validate(broken.folder).findings if f["code"] == code]


@needs_photos
@pytest.mark.parametrize(("code", "said", "data"), [
    ("VXP-C030", "has no claims", b'{"text":"It is red."}'), ("VXP-C030", "an explanation in words", b"It is red."),
    ("VXP-C030", "an explanation in words", b""), ("VXP-C030", "role of claim 0", json.dumps({"text": "", "claims": [
        {"attribute": "shot", "value": "1", "role": "reason"}]}).encode()),
])
def test_words_of_a_bundle_that_are_none_are_found(spoken: Path, tmp_path: Path, code: str, said: str, data: bytes) -> None:
    assert any(said in found for found in findings(spoken / "bundle", tmp_path / "broken", values(data), code))


@needs_photos
def test_words_of_another_type_or_length_are_found(spoken: Path, tmp_path: Path) -> None:
    def floats(tensors: dict[str, np.ndarray]) -> None:
        tensors["values"] = tensors["values"].astype(np.float32)

    found = findings(spoken / "bundle", tmp_path / "broken", lambda broken: broken.tensors("shard", floats), "VXP-C001")
    assert any("U8" in said for said in found)


@pytest.fixture(scope="module")
def ruling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 24 images explained by rules."""
    return made(tmp_path_factory.mktemp("rules"), "shapes-rules", "rule-extraction", 24)


@needs_rules
def test_rules_go_from_run_to_verification(ruling: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    bundle = ruling / "bundle"
    assert [f for f in validate(bundle).findings if f["severity"] == "error"] == []
    said = run_vxp(*shlex.split(f"verify {bundle} --regenerate rule-extraction --out {tmp_path / 'audit.json'} --threads 1"))
    assert "evidence E3" in said.stdout, said.stdout
    assert mean(ruling, "rule-formula", "rule-fidelity") > mean(ruling, "rule-majority", "rule-fidelity")
    assert mean(ruling, "rule-formula", "rule-complexity") == 4
    assert run_vxp("report", str(ruling / "run")).returncode == 0
    assert '<table class="rule">' in (ruling / "run" / "report.html").read_text()


@needs_rules
@pytest.mark.parametrize(("said", "data"), [
    ("it has no otherwise", b'{"rule":[],"says":1}'), ("a rule", b"round and red"),
    ("is of literal 0", b'{"otherwise":0,"rule":[[{"concept":"red","is":"yes"}]],"says":1}'),
])
def test_rules_of_a_bundle_that_are_none_are_found(ruling: Path, tmp_path: Path, said: str, data: bytes) -> None:
    assert any(said in found for found in findings(ruling / "bundle", tmp_path / "broken", values(data), "VXP-C031"))


# ----------------------------------------------------------------------------------------------------------- on the page


def test_claims_are_marked_where_they_are_spelled() -> None:
    claims = (Claim("shot", "4", "cause"), Claim("part", "tail", "context"), Claim("colour", "red", "cause"))
    text, also = told.marked("Shot 4 & shot 41 count; the tail is there, <b>", claims)
    assert text == ('<strong class="cause">Shot 4</strong> &amp; shot 41 count; the <span class="context">tail</span> is '
                    "there, &lt;b&gt;")
    assert also == [claims[2]]


def test_a_rule_is_shown_as_a_table() -> None:
    data = np.frombuffer(rules.canonical(FORMULA), np.uint8).astype(np.float32)
    assert told.cell("rules", data, "ok", ("no", "yes"))["rule"] == {
        "concepts": ["round", "red", "ground"], "rows": [["yes", "yes", ""], ["no", "", "yes"]], "always": False, "says": "yes",
        "otherwise": "no"}
    assert told.cell("rules", data, "failed:explainer-error")["words"] == "failed: explainer error"
    silent = told.cell("text", np.frombuffer(words.canonical(Words("")), np.uint8).astype(np.float32), "ok")
    assert silent["words"] == "says nothing"


def test_data_sets_say_what_truths_they_have() -> None:
    assert datasets.source("montage-words").truth == ("texts",)
    assert datasets.source("shapes-rules").truth == ("present",)
