"""Windows against poisoning: convolutions and pools of all paddings, and what goes over channels.

The reference evaluator has ways of its own where a ceiling meets padding, where SAME meets strides, and with
the zeros between the taps of a dilated kernel: there onnxruntime is poisoned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model, reported
from tests.frontends.onnx.nodes import check

RNG = np.random.default_rng(0)


def data(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


CONVOLUTIONS = [
    ((1, 2, 7), (3, 2, 3), {}),
    ((2, 2, 7), (3, 2, 3), {"strides": [2], "pads": [1, 0]}),
    ((1, 2, 8), (2, 2, 3), {"strides": [3], "pads": [0, 2]}),
    ((1, 2, 9), (2, 2, 3), {"dilations": [2], "pads": [2, 1]}),
    ((1, 4, 6, 5), (4, 2, 3, 2), {"group": 2, "strides": [2, 1], "pads": [1, 0, 0, 1]}),
    ((1, 3, 5, 6), (6, 1, 2, 3), {"group": 3, "dilations": [2, 1]}),
    ((1, 1, 3, 4, 3), (2, 1, 2, 3, 2), {"strides": [1, 2, 1], "pads": [0, 1, 1, 1, 0, 0]}),
    ((1, 2, 7), (2, 2, 4), {"auto_pad": "SAME_UPPER"}),
    ((1, 2, 7), (2, 2, 4), {"auto_pad": "SAME_LOWER"}),
    ((1, 2, 8), (2, 2, 3), {"auto_pad": "SAME_UPPER", "strides": [3]}),
    ((1, 2, 8), (2, 2, 3), {"auto_pad": "SAME_LOWER", "strides": [2]}),
    ((1, 2, 7), (2, 2, 3), {"auto_pad": "VALID", "strides": [2]}),
    ((1, 2, 4), (2, 2, 1), {"kernel_shape": [1]}),
]


@pytest.mark.parametrize("fed", [(), (1,), (1, 2)])
@pytest.mark.parametrize("shape, weights, kwargs", CONVOLUTIONS)
def test_convolution(shape: Any, weights: Any, kwargs: Any, fed: Any) -> None:
    """Weights and bias that come from the input are read too: all of the channel's."""
    more = {1: data(*weights), 2: data(weights[0])}
    constants = {k: v for k, v in more.items() if k not in fed}
    check("Conv", data(*shape), *(more[k] for k in fed), constants, ort=True, opset=11, **kwargs)


def test_convolution_of_a_constant() -> None:
    """Of the weights alone, where they are the input."""
    model, feeds = node_model("Conv", data(2, 1, 3), constants={0: data(1, 1, 7)}, pads=[1, 1])
    assert_agrees(model, feeds)


TRANSPOSED = [
    ((1, 2, 4), (2, 3, 3), {}),
    ((2, 2, 4), (2, 1, 3), {"strides": [2], "pads": [1, 0]}),
    ((1, 1, 4), (1, 1, 3), {"strides": [2], "pads": [1, 1], "output_padding": [1]}),
    ((1, 1, 4), (1, 1, 2), {"strides": [3], "output_padding": [2]}),
    ((1, 1, 4), (1, 1, 3), {"strides": [2], "dilations": [3]}),
    ((1, 1, 4), (1, 1, 4), {"strides": [4], "dilations": [2]}),
    ((1, 4, 3, 2), (4, 1, 3, 2), {"group": 2, "strides": [1, 2], "pads": [0, 1, 2, 0]}),
    ((1, 1, 2, 2, 3), (1, 2, 2, 3, 2), {"strides": [2, 1, 1]}),
    ((1, 1, 4), (1, 1, 3), {"strides": [2], "output_shape": [8]}),
    ((1, 1, 4), (1, 1, 3), {"strides": [2], "output_shape": [8], "auto_pad": "SAME_UPPER"}),
    ((1, 1, 4), (1, 1, 3), {"strides": [2], "output_shape": [8], "auto_pad": "SAME_LOWER"}),
    ((1, 1, 4), (1, 1, 3), {"strides": [2], "auto_pad": "SAME_UPPER"}),
    ((1, 1, 4), (1, 1, 3), {"strides": [2], "auto_pad": "SAME_LOWER"}),
    ((1, 1, 4), (1, 1, 3), {"strides": [4], "auto_pad": "SAME_UPPER"}),
    ((1, 1, 4), (1, 1, 3), {"strides": [2], "auto_pad": "VALID"}),
    ((1, 1, 4, 3), (1, 1, 3, 3), {"strides": [3, 2], "output_shape": [10, 7]}),
]


@pytest.mark.parametrize("fed", [(), (1,), (1, 2)])
@pytest.mark.parametrize("shape, weights, kwargs", TRANSPOSED)
def test_transposed_convolution(shape: Any, weights: Any, kwargs: Any, fed: Any) -> None:
    """Each output reads the weights that meet an input there."""
    channels = weights[1] * kwargs.get("group", 1)
    more = {1: data(*weights), 2: data(channels)}
    constants = {k: v for k, v in more.items() if k not in fed}
    arrays = [more[k] for k in fed]
    check("ConvTranspose", data(*shape), *arrays, constants, ort=True, opset=11, **kwargs)


def test_output_shape_with_all_dims() -> None:
    """Some exporters name batch and channels too."""
    x, w = data(1, 1, 4), data(1, 1, 3)
    long, _ = node_model("ConvTranspose", x, constants={1: w}, strides=[2], output_shape=[1, 1, 8])
    short, feeds = node_model("ConvTranspose", x, constants={1: w}, strides=[2], output_shape=[8])
    boxes = [reported(m, feeds, {"x0": (2,)})[0][-1].boxes() for m in (long, short)]
    np.testing.assert_array_equal(*boxes)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize(
    "shape, kwargs",
    [
        ((1, 2, 7), {"kernel_shape": [3]}),
        ((2, 1, 8), {"kernel_shape": [3], "strides": [3]}),
        ((1, 1, 7), {"kernel_shape": [2], "strides": [3], "pads": [1, 1]}),
        ((1, 1, 7), {"kernel_shape": [2], "strides": [3], "ceil_mode": 1}),
        ((1, 1, 7), {"kernel_shape": [2], "strides": [3], "pads": [1, 1], "ceil_mode": 1}),
        ((1, 1, 8), {"kernel_shape": [3], "strides": [2], "pads": [1, 0], "ceil_mode": 1}),
        ((1, 1, 9), {"kernel_shape": [3], "strides": [2], "dilations": [2], "pads": [2, 1]}),
        ((1, 1, 7), {"kernel_shape": [2], "strides": [3], "auto_pad": "VALID", "ceil_mode": 1}),
        ((1, 1, 8), {"kernel_shape": [3], "strides": [2], "auto_pad": "SAME_UPPER"}),
        ((1, 1, 8), {"kernel_shape": [3], "strides": [2], "auto_pad": "SAME_LOWER"}),
        ((1, 1, 8), {"kernel_shape": [3], "strides": [2], "auto_pad": "SAME_LOWER", "ceil_mode": 1}),
        ((1, 1, 5, 6), {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 1]}),
        ((1, 1, 3, 4, 3), {"kernel_shape": [2, 2, 3], "strides": [1, 2, 1]}),
    ],
)  # fmt: skip
def test_pool(op: str, shape: Any, kwargs: Any) -> None:
    check(op, data(*shape), ort=True, opset=19, **kwargs)


def test_pool_counting_its_padding() -> None:
    check("AveragePool", data(1, 1, 6), kernel_shape=[3], pads=[1, 1], count_include_pad=1)


@pytest.mark.parametrize("opset", [1, 8, 10, 12])
def test_pools_of_old_opsets(opset: int) -> None:
    x = data(1, 1, 6, 5)
    for op in ("MaxPool", "AveragePool"):
        check(op, x, opset=opset, kernel_shape=[2, 2], strides=[1, 1], pads=[1, 0, 0, 1])


def test_where_the_maximum_lies() -> None:
    report = check("MaxPool", data(1, 2, 5, 4), outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    assert [len(report[k].fields) for k in (0, 1)] == [4, 4]


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 2, 3, 4)])
def test_global_pool(op: str, shape: Any) -> None:
    check(op, data(*shape), ort=True)


def test_global_lp_pool() -> None:
    def run(feeds: Any) -> Any:
        return [(feeds["x0"] ** 2).sum((2, 3), keepdims=True) ** 0.5]

    check("GlobalLpPool", data(1, 2, 3, 4), run=run)


STATISTICS = [data(3), data(3), data(3), np.abs(data(3)) + 1]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (1, 3, 2, 2)])
@pytest.mark.parametrize("training", [0, 1])
def test_batch_norm(shape: Any, training: int) -> None:
    """In training the statistics are those of the batch, and those learnt are not read but carried on."""
    outputs = 3 if training else 1
    check("BatchNormalization", data(*shape), *STATISTICS, outputs=outputs, training_mode=training)
    constants = {k + 1: v for k, v in enumerate(STATISTICS)}
    check("BatchNormalization", data(*shape), constants, outputs=outputs, training_mode=training)


def test_batch_norm_of_old_opsets() -> None:
    """With five outputs it trains, and with one it does not; an activation could have its own statistics."""
    x = data(2, 3, 4)

    def trained(feeds: Any) -> Any:
        x, scale, shift, mean, var = feeds.values()
        seen, spread = x.mean((0, 2)), x.var((0, 2))
        y = (x - seen[:, None]) / np.sqrt(spread[:, None] + 1e-5) * scale[:, None] + shift[:, None]
        return [y, mean * 0.9 + seen * 0.1, var * 0.9 + spread * 0.1, seen, spread]

    def alone(feeds: Any) -> Any:
        x, scale, shift, mean, var = feeds.values()
        return [(x - mean) / np.sqrt(var + 1e-5) * scale + shift]

    check("BatchNormalization", x, *STATISTICS, outputs=5, opset=9, run=trained)
    check("BatchNormalization", x, *STATISTICS, outputs=5, opset=6, run=trained)
    check("BatchNormalization", x, *STATISTICS, ort=True, opset=9)
    check("BatchNormalization", x, *STATISTICS, is_test=1, opset=6)
    own = [np.abs(data(3, 4)) + 1 for _ in range(4)]
    check("BatchNormalization", x, *own, spatial=0, opset=7, run=alone)


def test_batch_norm_training_on_activations() -> None:
    def run(feeds: Any) -> Any:
        x, scale, shift, mean, var = feeds.values()
        seen, spread = x.mean(0), x.var(0)
        y = (x - seen) / np.sqrt(spread + 1e-5) * scale + shift
        return [y, mean * 0.9 + seen * 0.1, var * 0.9 + spread * 0.1]

    own = [np.abs(data(3, 4)) + 1 for _ in range(4)]
    check("BatchNormalization", data(2, 3, 4), *own, spatial=0, opset=7, outputs=3, run=run)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_lrn(size: int) -> None:
    """The evaluator counts images in place of channels, and onnxruntime's sums carry a NaN on."""

    def run(feeds: Any) -> Any:
        x = feeds["x0"]
        squares = np.stack(
            [
                (x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(1)
                for c in range(x.shape[1])
            ],
            1,
        )
        return [x / (1 + 1e-4 / size * squares) ** 0.75]

    check("LRN", data(1, 5, 2, 2), run=run, size=size)


def test_causal_convolution() -> None:
    """What is known to be zero, before a sequence, reads nothing; the state is what was read last."""
    x, w, b, past = data(2, 3, 5), data(3, 1, 3), data(3), data(2, 3, 2)
    check("CausalConvWithState", x, {1: w}, outputs=2)
    check("CausalConvWithState", x, w, b, past, outputs=2, activation="silu")
    check("CausalConvWithState", x, w, None, past, outputs=2)
    check("CausalConvWithState", x, {1: w, 2: b, 3: past}, outputs=2)
    check("CausalConvWithState", past, {0: x, 1: w, 2: b}, outputs=2)
    check("CausalConvWithState", data(1, 3, 1), w, b, past[:1], outputs=2)
    check("CausalConvWithState", x, data(3, 1, 1), b, outputs=2)


@pytest.mark.parametrize("groups, parts", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_deformable_convolution(groups: int, parts: int) -> None:
    x, w, b = data(1, 4, 4, 4), data(2, 4 // groups, 2, 2), data(2)
    offset, mask = data(1, parts * 8, 3, 3) * 0.3, data(1, parts * 4, 3, 3)
    kwargs: Any = {"opset": 19, "group": groups, "offset_group": parts}
    model, feeds = node_model("DeformConv", x, w, offset, b, mask, **kwargs)
    assert_agrees(model, feeds, "bound", draws=1)


@pytest.mark.parametrize("groups, parts", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_deformable_convolution_of_a_constant(groups: int, parts: int) -> None:
    """Where only the offsets depend on the input each output reads its own, of its groups: no bound."""
    x, w = data(1, 4, 4, 4), data(2, 4 // groups, 2, 2)
    kwargs: Any = {"opset": 19, "group": groups, "offset_group": parts}
    report = check("DeformConv", data(1, parts * 8, 3, 3) * 0.3, {0: x, 1: w}, **kwargs)
    if groups == parts == 2:
        assert report[-1].boxes()[0, :, 0, 0, 1].tolist() == [[0, 8], [8, 16]]


@pytest.mark.parametrize(
    "kwargs, shape",
    [
        ({}, None),
        ({"strides": [2, 2]}, None),
        ({"strides": [2, 2]}, [1, 1, 6, 8]),
        ({"strides": [2, 1], "pads": [1, 0, 0, 0]}, None),
    ],
)
def test_max_unpool(kwargs: Any, shape: Any) -> None:
    """At known places each element has its own; otherwise it may be anywhere."""
    x = data(1, 1, 2, 3)
    places = np.array([[[[3, 0, 5], [2, 1, 7]]]])
    more = {} if shape is None else {2: np.array(shape)}
    check("MaxUnpool", x, {1: places, **more}, kernel_shape=[2, 2], **kwargs)
    model, feeds = node_model("MaxUnpool", x, places, constants=more, kernel_shape=[2, 2], **kwargs)
    report, _ = reported(model, feeds, {"x0": (2, 3)})
    assert report.status == "bound"
    assert report[-1].boxes().reshape(-1, 2).tolist()[:2] == [[0, 2], [0, 3]]


def test_max_unpool_where_two_meet() -> None:
    """The last to come stays."""
    places = np.array([[[0, 3, 3, 0]]])
    check("MaxUnpool", data(1, 1, 4), {1: places}, kernel_shape=[1])


@pytest.mark.parametrize(
    "image, block, kwargs",
    [
        ([5, 4], [2, 3], {}),
        ([6, 5], [2, 2], {"strides": [2, 3]}),
        ([4, 5], [2, 3], {"pads": [0, 1, 1, 1], "dilations": [2, 1]}),
        ([3, 4, 3], [2, 2, 1], {"strides": [1, 2, 1]}),
    ],
)
def test_col2im(image: Any, block: Any, kwargs: Any) -> None:
    axes = len(image)
    strides, pads = kwargs.get("strides", [1] * axes), kwargs.get("pads", [0] * 2 * axes)
    dilations = kwargs.get("dilations", [1] * axes)
    counts = [
        (n + pads[k] + pads[k + axes] - dilations[k] * (block[k] - 1) - 1) // strides[k] + 1
        for k, n in enumerate(image)
    ]
    x = data(1, 2 * int(np.prod(block)), int(np.prod(counts)))
    check("Col2Im", x, {1: np.array(image), 2: np.array(block)}, **kwargs)


def test_same_with_a_stride_beyond_the_window() -> None:
    """No padding is negative."""
    for auto in ("SAME_UPPER", "SAME_LOWER"):
        model, feeds = node_model(
            "AveragePool", data(1, 1, 8), kernel_shape=[1], strides=[4], auto_pad=auto
        )
        report, _ = reported(model, feeds, {"x0": (2,)})
        assert report[-1].boxes()[:, 0].tolist() == [[0, 1], [4, 5]]


@pytest.mark.parametrize(
    "op, shapes, kwargs",
    [
        ("Conv", [(1, 2, 5), (2, 3, 3)], {}),
        ("Conv", [(1, 2), (2, 2)], {}),
        ("Conv", [(1, 2, 5), (2, 2, 7)], {}),
        ("Conv", [(1, 2, 5), (2, 2, 3)], {"kernel_shape": [2]}),
        ("Conv", [(1, 2, 5), (2, 2, 3)], {"strides": [0]}),
        ("Conv", [(1, 2, 5), (2, 2, 3)], {"pads": [1]}),
        ("Conv", [(1, 2, 5), (2, 2, 3)], {"group": 0}),
        ("Conv", [(1, 2, 5), (2, 2, 3), (5,)], {}),
        ("ConvTranspose", [(1, 2, 5), (3, 2, 3)], {}),
        ("ConvTranspose", [(1, 2, 5), (2, 2, 3)], {"output_shape": [1, 2, 3, 4]}),
        ("ConvTranspose", [(1, 2, 5), (2, 2, 3)], {"pads": [9, 9]}),
        ("MaxPool", [(1, 2, 5)], {"kernel_shape": [2, 2]}),
        ("MaxPool", [(1, 2, 5)], {"kernel_shape": [9]}),
        ("AveragePool", [(2, 5)], {"kernel_shape": [2]}),
        ("LRN", [(1, 2, 5, 5)], {"size": 0}),
        ("BatchNormalization", [(1, 3, 2), (3,), (2,), (3,), (3,)], {}),
        ("DeformConv", [(1, 2, 4, 4), (2, 2, 2, 2), (1, 8, 2, 2)], {}),
        ("CausalConvWithState", [(1, 2, 4), (2, 2, 3)], {}),
        ("CausalConvWithState", [(1, 2, 4), (2, 1, 3), (2,), (1, 2, 1)], {}),
    ],
)
def test_what_does_not_fit(op: str, shapes: Any, kwargs: Any) -> None:
    model, feeds = node_model(op, *(data(*s) for s in shapes), **kwargs)
    with pytest.raises(EyeshotError) as error:
        reported(model, feeds, {"x0": (1,)})
    assert "\n" not in str(error.value)
    assert "malformed" not in str(error.value)


def test_indices_outside() -> None:
    model, feeds = node_model(
        "MaxUnpool", data(1, 1, 2), constants={1: np.array([[[0, 9]]])}, kernel_shape=[2]
    )
    with pytest.raises(EyeshotError, match="outside"):
        reported(model, feeds, {"x0": (2,)})


def test_only_the_shape_is_wanted() -> None:
    """Of constants the rules work out the shapes, for what is made of them."""
    h = onnx.helper
    w = onnx.numpy_helper.from_array(data(2, 1, 3), "w")
    k = onnx.numpy_helper.from_array(data(1, 1, 9), "k")
    nodes = [
        h.make_node("Conv", ["k", "w"], ["a"], strides=[2]),
        h.make_node("ConvTranspose", ["a", "v"], ["b"]),
        h.make_node("MaxPool", ["b"], ["p"], kernel_shape=[2]),
        h.make_node("Add", ["x", "p"], ["y"]),
    ]
    v = onnx.numpy_helper.from_array(data(2, 1, 2), "v")
    x = h.make_tensor_value_info("x", 1, (1, 1, 4))
    graph = h.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="y")], [w, k, v])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=10)
    assert_agrees(model, {"x": data(1, 1, 4)})
