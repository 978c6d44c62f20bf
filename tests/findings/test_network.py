"""The facts that rules rest on, against enumeration over the graph and over what every element reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

import eyeshot
from eyeshot.analysis.findings import Network
from eyeshot.analysis.report import Layer
from eyeshot.core.patches import Patch
from tests.corpus import CORPUS
from tests.oracles.brute_force import members, read_sets

Spec = dict[str, Any]


def network(source: Any, input: Any = None) -> Network:
    return Network(eyeshot.analyze(source, input))


def names(layers: Any) -> list[str]:
    return [layer.name for layer in layers]


def marked(patch: Patch | None, shape: tuple[int, ...]) -> np.ndarray:
    """Bool array [*shape] of a patch."""
    out = np.zeros(shape, bool)
    if patch is not None:
        at = tuple(slice(b, e) for b, e in zip(patch.begin, patch.end, strict=True))
        out[at] = patch.array
    return out


#: A stem, two rows that change nothing, two outputs of which one is pooled, a branch that leads nowhere.
BRANCHED: Spec = {
    "inputs": {"image": [1, 8], "depth": [1, 8]},
    "layers": {
        "stem": {"op": "conv", "kernel": 3, "inputs": "image"},
        "act": {"op": "relu", "inputs": "stem"},
        "wide": {"op": "conv", "kernel": 3, "padding": 1, "dilation": 1, "inputs": "act"},
        "add": {"op": "add", "inputs": ["act", "wide"]},
        "aux": {"op": "conv", "kernel": 1, "inputs": "wide"},
        "other": {"op": "conv", "kernel": 2, "stride": 2, "inputs": "depth"},
        "pool": {"op": "global_avg_pool", "inputs": "add"},
        "head": {"op": "linear", "features": 2, "dim": 1, "inputs": "pool"},
    },
    "outputs": ["head", "other"],
}


def test_a_network_with_several_inputs_and_outputs() -> None:
    net = network(BRANCHED)
    layer = net.report.__getitem__
    assert names(net.layers) == list(BRANCHED["layers"])
    assert list(net.sources.values()) == ["image", "depth"]
    assert names(net.outputs) == ["other", "head"]
    assert names(net.maps) == ["add", "other"]
    assert names(net.weighted) == ["stem", "wide", "aux", "other", "head"]
    assert names(net.parents(layer("add"))) == ["act", "wide"]
    assert net.parents(layer("stem")) == [] and net.parents(layer("other")) == []
    assert [net.sources[v] for v in net.inputs(layer("other"))] == ["depth"]
    assert {v: names(some) for v, some in net.children.items() if v in net.sources} == {
        v: ["stem"] if name == "image" else ["other"] for v, name in net.sources.items()
    }
    used = {name for name in names(net.layers) if layer(name)._value in net.used}
    assert used == set(names(net.layers)) - {"aux"}


@pytest.mark.parametrize("name", CORPUS)
def test_values_belong_to_one_layer_each(name: str) -> None:
    """What a layer is made of and made from, by walking the graph from its tensor."""
    net = network(CORPUS[name])
    graph, marks = net.graph, {layer._value for layer in net.layers}
    assert [layer._value for layer in net.layers] == sorted({m.value for m in graph.layers})
    ends = marks | set(net.sources)

    def made(v: int) -> set[int]:
        behind = [made(i) for i in graph.inputs[v] if i not in ends]
        return {v}.union(*behind)

    for layer in net.layers:
        own = made(layer._value)
        assert net.made(layer) == sorted(own)
        assert net.inputs(layer) == sorted({i for v in own for i in graph.inputs[v]} - own)
        parents = [net.layer(v) for v in net.inputs(layer) if v in marks]
        assert net.parents(layer) == parents
    for v in range(len(graph.prims)):
        later = [layer for layer in net.layers if layer._value >= v]
        assert net.owner(v) is (later[0] if later else None)
    read = {v for layer in net.layers for v in net.inputs(layer)}
    if not net.report.outputs:
        assert {layer._value for layer in net.outputs} == marks - read


@pytest.mark.parametrize("name", CORPUS)
def test_what_is_read_is_enumerated(name: str) -> None:
    """``reading``: elements with a set that is not empty; ``used``, of inputs: the union of outputs' sets."""
    spec = CORPUS[name]
    net, sets = network(spec), read_sets(spec)
    for layer in net.layers:
        expected = np.frompyfunc(bool, 1, 1)(sets[layer.name]).astype(bool)
        assert (marked(net.reading.get(layer._value), layer.shape) == expected).all()
        assert (layer._value in net.reading) == expected.any()
    size = sum(int(np.prod(net.graph.shapes[v])) for v in net.sources)
    read = np.zeros(size, bool)
    for output in net.outputs:
        read |= members(sets[output.name].reshape(-1), size).any(axis=0)
    at = 0
    for v in net.sources:
        shape = net.graph.shapes[v]
        part = read[at : at + int(np.prod(shape))].reshape(shape)
        assert (marked(net.used.get(v), shape) == part).all()
        assert (v in net.used) == part.any()
        at += part.size


def test_what_is_all_padding_along_one_dim_is_not_used() -> None:
    """Rows at -1 and 2 of a map of two rows: columns are read, and yet nothing is."""
    lost = {"op": "conv", "kernel": [2, 2], "dilation": 3, "padding": 1}
    net = network({"input": [1, 2, 5], "layers": {"norm": {"op": "batch_norm"}, "lost": lost}})
    assert net.report["lost"]._value not in net.reading
    assert not {net.report["norm"]._value, *net.sources} & set(net.used)


def test_tensors_are_layers_without_a_name() -> None:
    net = network(BRANCHED)
    found = net.tensors(range(len(net.graph.prims)))
    for layer in net.layers:
        assert found[layer._value].size == layer.size
        assert found[layer._value].shape == layer.shape


class Reused(nn.Module):
    """An identity that shares the convolution's tensor, and arithmetic behind the last module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3)
        self.same = nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.same(self.conv(x))
        return y, y.flip(2)


def test_rows_that_share_a_tensor_are_one_layer() -> None:
    net = network(Reused(), (1, 1, 9))
    values: dict[int, list[Layer]] = {}
    for layer in net.report:
        values.setdefault(layer._value, []).append(layer)
    assert names(net.layers) == [rows[0].name for _, rows in sorted(values.items())]
    assert {layer._value for layer in net.outputs} == {
        net.report[name]._value for name in names(net.report.outputs)
    }
    assert net.layer(net.report["conv"]._value) is net.report["conv"]


def test_a_graph_of_onnx(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    weight = onnx.numpy_helper.from_array(np.zeros((1, 1, 3), np.float32), "w")
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1]),
        node("Relu", ["a"], ["b"], name="relu"),
        node("Conv", ["a", "w"], ["c"], name="left"),
    ]
    graph = onnx.helper.make_graph(
        nodes, "g", [info("x", 1, [1, 1, 8])], [info("b", 1, [1, 1, 8])], [weight]
    )
    path = tmp_path / "net.onnx"
    onnx.save(onnx.helper.make_model(graph), path)
    net = network(path)
    # An activation shares its tensor with the convolution, and goes by its name.
    assert names(net.report.outputs) == ["relu"]
    assert names(net.outputs) == names(net.maps) == ["conv"]
    assert names(net.weighted) == ["conv", "left"]
    assert net.report["left"]._value in net.reading
    assert net.report["left"]._value not in net.used


@pytest.mark.parametrize(
    ("layers", "maps"),
    [
        ({"a": [3, 1, 0], "b": {"op": "conv", "kernel": 6}}, ["b"]),  # one unit
        ({"a": [3, 1, 0], "g": "global_avg_pool", "f": "flatten"}, ["a"]),
        ({"a": [2, 2, 0], "t": {"op": "flatten", "start": 2}, "l": {"op": "linear", "features": 2}},
         ["a"]),  # tokens in a row
        ({"a": [3, 1, 0], "g": "global_avg_pool", "m": {"op": "mul", "inputs": ["a", "g"]}}, ["m"]),
        ({"a": [2, 2, 0], "t": {"op": "attention"}}, ["t"]),
        ({"a": [3, 1, 1], "g": "global_avg_pool", "b": {"op": "conv", "kernel": 1, "inputs": "a"}},
         ["a", "b"]),
    ],
)  # fmt: skip
def test_last_maps(layers: Spec, maps: list[str]) -> None:
    assert names(network({"input": [1, 8, 8], "layers": layers}).maps) == maps


def test_a_last_map_follows_all_axes_of_one_input() -> None:
    """A template that is pooled scales the search image: what follows that alone is a map."""
    net = network({
        "inputs": {"search": [1, 8, 8], "template": [1, 4, 4]},
        "layers": {
            "a": {"op": "conv", "kernel": 3, "inputs": "search"},
            "b": {"op": "conv", "kernel": 3, "inputs": "template"},
            "g": {"op": "global_avg_pool", "inputs": "b"},
            "m": {"op": "mul", "inputs": ["a", "g"]},
        },
    })  # fmt: skip
    assert names(net.maps) == ["m"]
