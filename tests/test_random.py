"""Draws: the published vectors, the addressing, the distributions, and nobody else's generator."""

import hashlib
import math
import random as standard

import numpy as np
import pytest
import torch
from oracles import philox as oracle
from vxp import random
from vxp.core import VxpError

KEY = random.key(7, "photo/café-1", "deletion@1", "noise")

PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
"""Random123's known-answer vectors of philox4x32-10."""


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_published_vectors(counter: tuple[int, ...], key: tuple[int, int], words: str) -> None:
    c0, c1, c2, c3 = counter
    for counters in (torch.tensor([c0]), np.array([c0])):  # as on a GPU, as on a CPU
        block = random.blocks(key, counters, c1, c2, c3)
        assert " ".join(f"{int(word[0]):08x}" for word in block) == words


def test_key_is_the_digest_of_canonical_json() -> None:
    first = hashlib.sha256('[7,"photo/café-1","deletion@1","noise"]'.encode()).digest()[:8]
    expected = (int.from_bytes(first[:4], "little"), int.from_bytes(first[4:], "little"))
    assert expected == KEY
    others = {random.key(*name) for name in ((8, "a", "b", "c"), (7, "x", "b", "c"), (7, "a", "x", "c"), (7, "a", "b", "x"))}
    assert len(others | {random.key(7, "a", "b", "c")}) == 5


@pytest.mark.parametrize("positions", [1, 5, random.CHUNK - 1, random.CHUNK, random.CHUNK + 1])
def test_positions_do_not_depend_on_how_many_are_drawn(positions: int) -> None:
    many = random.philox(KEY, 3, random.CHUNK + 2)
    assert torch.equal(random.philox(KEY, 3, positions), many[:, :positions])
    assert np.array_equal(many.numpy().astype(np.uint64), oracle.words(KEY, 3, random.CHUNK + 2))


def test_a_draw_beyond_32_bits_goes_on_in_the_next_word() -> None:
    far = random.philox(KEY, 2**32 + 5, 2)
    assert torch.equal(far, torch.stack(random.blocks(KEY, torch.arange(2), 5, 1, 0)))
    assert not torch.equal(far, random.philox(KEY, 5, 2))


def test_uniforms_are_the_upper_24_bits() -> None:
    u = random.uniforms(KEY, 0, 5000, 4)
    assert u.dtype == torch.float32
    assert u.shape == (4, 5000)
    assert np.array_equal(u.double().numpy(), oracle.uniforms(KEY, 0, 5000))
    assert torch.equal(random.uniforms(KEY, 0, 5000, 2), u[:2])


def test_normals_of_some_positions_are_those_of_all() -> None:
    every = random.normals(KEY, 7, 2 * random.CHUNK + 9, 3)
    for at in (torch.tensor([0]), torch.arange(1, random.CHUNK + 30, 3), torch.arange(random.CHUNK + 3, 2 * random.CHUNK + 9)):
        assert torch.allclose(random.normals(KEY, 7, at, 3), every[:, at], rtol=0, atol=1e-6)
    assert random.normals(KEY, 7, torch.zeros(0, dtype=torch.int64), 3).shape == (3, 0)


def test_normals_are_box_muller() -> None:
    z = random.normals(KEY, 0, 5000, 3)
    assert np.abs(z.double().numpy() - oracle.normals(KEY, 0, 5000)[:3]).max() < 1e-6
    assert torch.equal(random.normals(KEY, 0, 5000, 1), z[:1])
    bound = 5 / math.sqrt(z.numel())
    assert abs(float(z.mean())) < bound
    assert abs(float(z.std()) - 1) < bound


def test_subset_is_the_smallest_draws() -> None:
    for draw in (0, 3, 4, 9):
        words = random.philox(KEY, draw // 4, 100)[draw % 4].tolist()
        smallest = sorted(range(100), key=lambda place: (words[place], place))
        for n in (0, 1, 37, 100):
            chosen = random.subset(KEY, draw, 100, n)
            assert chosen.dtype == torch.bool
            assert chosen.nonzero()[:, 0].tolist() == sorted(smallest[:n])


def test_ties_go_to_the_lower_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "_four", lambda key, block, positions, device: torch.tensor([[5, 1, 5, 1, 5]]))
    assert random.subset.__wrapped__(KEY, 0, 5, 3).tolist() == [True, True, False, True, False]


def test_integers() -> None:
    assert random.integers(KEY, 0, 1) == 0
    drawn = [random.integers(KEY, draw, 10) for draw in range(200)]
    assert set(drawn) == set(range(10))
    assert drawn[6] == math.floor(float(random.uniforms(KEY, 6, 1)[0, 0]) * 10)


@pytest.mark.parametrize("wrong", [
    lambda: random.uniforms(KEY, 0, 3, 5), lambda: random.normals(KEY, 0, 3, 0), lambda: random.subset(KEY, 0, 3, 4),
    lambda: random.subset(KEY, 0, 3, -1), lambda: random.integers(KEY, 0, 0),
])
def test_impossible_draws_say_what_is_possible(wrong: object) -> None:
    with pytest.raises(VxpError, match="expected"):
        wrong()  # type: ignore[operator]


def test_no_global_generator_is_touched() -> None:
    def states() -> tuple[object, ...]:
        name, words, *rest = np.random.get_state()
        return torch.get_rng_state().tolist(), name, words.tolist(), rest, standard.getstate()

    before = states()
    random.normals(KEY, 0, 100, 3)
    random.subset(KEY, 0, 100, 5)
    random.integers(KEY, 0, 9)
    assert states() == before
    value = random.uniforms(KEY, 0, 9)
    torch.manual_seed(1)
    np.random.seed(1)
    assert torch.equal(random.uniforms(KEY, 0, 9), value)
