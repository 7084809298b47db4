"""The network of graphs over frames and objects, and the weighted in-degree that it says of its frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from vxp import models
from vxp.core import Batch, Case, Normalization, VxpError
from vxp.engine import Engine, Job
from vxp.explainers import bind
from vxp.kinds import TEMPORAL
from vxp.metrics import bind_all as bind_metrics
from vxp.models.graph_net import GraphBlock, GraphNet
from vxp.models.sequences import Scorer

FEATURES, OBJECTS, N = 5, 3, 7


def net(objects: int = OBJECTS, seed: int = 0) -> GraphNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GraphNet(FEATURES, objects, 4).requires_grad_(False).eval()


def made(n: int = 3, objects: int = OBJECTS, frames: int = N) -> Batch:
    inputs = torch.randn(n, FEATURES * (1 + objects), frames, generator=torch.Generator().manual_seed(4))
    ids, targets = tuple(f"video-{i}" for i in range(n)), torch.zeros(n, dtype=torch.long)
    return Batch(ids, inputs, targets, Normalization((0.0,), (1.0,)))


# --------------------------------------------------------------------------------------------------- the paper, in plain loops


def linear(x: np.ndarray, name: str, state: dict[str, np.ndarray]) -> np.ndarray:
    return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)


def adjacency(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    q, k = linear(x, "block.query", state), linear(x, "block.key", state)
    found = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        squares = [float(q[i] @ k[j]) ** 2 for j in range(len(x))]
        found[i] = [square / sum(squares) for square in squares]
    return found


def block(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    a = adjacency(x, state)
    for layer in range(2):
        y = a @ linear(x, f"block.layers.{layer}", state)
        y = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-5)
        x = np.maximum(0, y * state[f"block.norms.{layer}.weight"] + state[f"block.norms.{layer}.bias"])
    return x.mean(0)


def described(video: np.ndarray, state: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, and the local and the global adjacency of frames, of a video [D, n]."""
    frames = [video[:, t].reshape(1 + OBJECTS, FEATURES) for t in range(video.shape[1])]
    local, whole = np.stack([block(frame[1:], state) for frame in frames]), np.stack([frame[0] for frame in frames])
    both = np.concatenate([block(local, state), block(whole, state)])
    logits = linear(np.maximum(0, linear(both, "head.0", state)), "head.2", state)
    return logits, adjacency(local, state), adjacency(whole, state)


@pytest.mark.parametrize("frames", [1, N])
def test_the_network_is_its_definition(frames: int) -> None:
    model, batch = net(), made(frames=frames)
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    logits, adjacencies = model(batch.inputs), model.adjacencies(batch.inputs)
    assert list(adjacencies) == ["local", "global"]
    for i in range(3):
        wanted, local, whole = described(batch.inputs[i].double().numpy(), state)
        np.testing.assert_allclose(logits[i].numpy(), wanted, atol=1e-4)
        np.testing.assert_allclose(adjacencies["local"][i].numpy(), local, atol=1e-4)
        np.testing.assert_allclose(adjacencies["global"][i].numpy(), whole, atol=1e-4)
        nodes = batch.inputs[i].T.reshape(frames, 1 + OBJECTS, FEATURES).double().numpy()
        objects = np.stack([adjacency(nodes[t, 1:], state).sum(0) for t in range(frames)])
        np.testing.assert_allclose(model.object_degrees(batch.inputs)[i].numpy(), objects, atol=1e-4)


def test_the_logits_do_not_depend_on_the_order_of_frames_or_objects() -> None:
    """Sums over nodes know no order, and the graphs none of time."""
    model, batch = net(), made()
    nodes = batch.inputs.unflatten(1, (1 + OBJECTS, FEATURES))
    turned = nodes[:, [0, 2, 3, 1]].flatten(1, 2)[:, :, [3, 1, 0, 6, 5, 2, 4]]
    torch.testing.assert_close(model(turned), model(batch.inputs))


def test_another_width_is_refused() -> None:
    with pytest.raises(VxpError, match=r"given \(2, 19, 7\), expected \[B, 20, n\]: 5 numbers of the frame and of each of its"):
        net()(torch.zeros(2, 19, 7))


# ------------------------------------------------------------------------------------------------------------ what it explains


def toy() -> GraphNet:
    """Frames are the corners of a space, and E is the matrix that is given."""
    model = net(objects=0)
    for linear, weight in ((model.block.query, torch.arange(1.0, 26).view(5, 5).T), (model.block.key, torch.eye(5))):
        linear.weight.copy_(weight)
        linear.bias.zero_()
    return model


def test_scores_are_the_column_sums_of_a_toy_graph() -> None:
    batch = Batch(("a",), torch.eye(5)[None], torch.zeros(1, dtype=torch.long), Normalization((0.0,), (1.0,)))
    expected = np.zeros(5)
    for i in range(5):
        squares = [(5 * i + j + 1) ** 2 for j in range(5)]
        expected += np.array(squares) / sum(squares)
    for read in ("mean", "global"):
        got = bind("wid", {"read": read})(toy(), batch)
        assert got[0].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert got.dtype == torch.float32
    assert float(got.sum()) == pytest.approx(5, abs=1e-5)
    with pytest.raises(VxpError, match="read is 'local', and the model has the graphs 'global'"):
        bind("wid", {"read": "local"})(toy(), batch)


def test_the_mean_is_over_both_graphs() -> None:
    model, batch = net(), made()
    local, whole, mean = (bind("wid", {"read": read})(model, batch) for read in ("local", "global", "mean"))
    torch.testing.assert_close(mean, (local + whole) / 2)
    assert not torch.allclose(local, whole)
    torch.testing.assert_close(local, model.adjacencies(batch.inputs)["local"].sum(1))
    torch.testing.assert_close(bind("wid")(model, batch.select([2, 0])), mean[[2, 0]])
    assert torch.equal(TEMPORAL.resampled(mean, (N,), bind("wid").on(TEMPORAL).explainer.resample), mean)


def test_it_is_scored_by_the_frames_that_it_rates_highest() -> None:
    """Frames are left out of sequences of any length; without them the logits are those of a shorter video."""
    model, batch = net(seed=3), made()
    batch = replace(batch, targets=model(batch.inputs).argmax(1))
    weights = bind("wid")(model, batch)
    wanted = bind_metrics(("top-p-average-drop|top:2|removal:remove",))
    (score,) = Engine(model).score(Job(Case(batch, weights, "frame", signed=False), wanted)).values()
    for i, target in enumerate(batch.targets.tolist()):
        whole = model(batch.inputs[i : i + 1]).double().softmax(1)[0]
        best = sorted(weights[i].argsort(descending=True, stable=True)[:2].tolist())
        left = model(batch.inputs[i : i + 1, :, best]).double().softmax(1)[0, target]
        assert float(score.values[i]) == pytest.approx(max(0.0, float((whole[target] - left) / whole[target])), abs=1e-5)


class Other(nn.Module):
    """A network of graphs whose matrices have another form."""

    def __init__(self, found: dict[str, Tensor]) -> None:
        super().__init__()
        self.found = found

    def adjacencies(self, inputs: Tensor) -> dict[str, Tensor]:
        return self.found

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mean(2)


def test_models_without_graphs_are_refused() -> None:
    batch = made()
    with pytest.raises(VxpError, match="'wid' needs a model with a method `adjacencies"):
        bind("wid")(nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten()), batch)
    with pytest.raises(VxpError, match=r"adjacency 'frames' is \(3, 2, 2\), expected \[3, 7, 7\]"):
        bind("wid")(Other({"frames": torch.zeros(3, 2, 2)}), batch)
    with pytest.raises(VxpError, match="gave no matrix"):
        bind("wid")(Other({}), batch)
    with pytest.raises(VxpError, match="read is 'all', expected one of 'mean', 'local', 'global'"):
        bind("wid", {"read": "all"})(net(), batch)
    with pytest.raises(VxpError, match="'wid' explains models whose output is classes, and the output of this model is seq"):
        bind("wid")(Scorer(nn.Linear(20, 1)), batch)


def test_a_node_without_edges_draws_from_nothing() -> None:
    block = GraphBlock(FEATURES)
    nn.init.zeros_(block.query.bias)
    found = block.adjacency(torch.zeros(2, 3, FEATURES))
    assert not found.any()
    assert torch.isfinite(block(torch.zeros(2, 3, FEATURES))).all()


def test_it_takes_a_pass_of_the_graphs_alone() -> None:
    model = net()
    with models.Passes(model) as passes:
        bind("wid")(model, made())
    assert passes.forward == 0
    assert bind("wid").passes == 1
