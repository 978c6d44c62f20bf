"""The proof of ONNX models: it agrees where the rules are right, and says what is wrong where one is broken."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import eyeshot
from eyeshot.cli import main
from eyeshot.core import families
from eyeshot.frontends.onnx import probe
from tests.frontends.onnx.agree import node_model

RNG = np.random.default_rng(0)


def numbers(*shape: int, kind: Any = np.float32) -> Any:
    return RNG.standard_normal(shape).astype(kind)


def network(
    nodes: list[tuple[str, list[str], list[str], dict[str, Any]]],
    inputs: dict[str, tuple[int, list[int]]],
    output: str,
    weights: dict[str, Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of some nodes."""
    graph = helper.make_graph(
        [helper.make_node(op, a, b, **attributes) for op, a, b, attributes in nodes],
        "net",
        [helper.make_tensor_value_info(k, dtype, shape) for k, (dtype, shape) in inputs.items()],
        [onnx.ValueInfoProto(name=output)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def small(opset: int = 17, pads: Sequence[int] = (1, 1)) -> onnx.ModelProto:
    """Convolution, pooling and a residual sum."""
    return network(
        [
            ("Conv", ["x", "w"], ["a"], {"strides": [2], "pads": [1, 1]}),
            ("Relu", ["a"], ["b"], {}),
            ("MaxPool", ["b"], ["c"], {"kernel_shape": [3], "pads": pads}),
            ("Conv", ["c", "v"], ["d"], {"pads": [2, 2], "dilations": [2]}),
            ("Add", ["c", "d"], ["y"], {}),
        ],
        {"x": (TensorProto.FLOAT, [1, 2, 40])},
        "y",
        {"w": numbers(3, 2, 3), "v": numbers(3, 3, 3)},
        opset,
    )


def proved(model: Any, **options: Any) -> Any:
    """The verification with all positions tried: it agrees, and all ends of exact hulls are placed."""
    options.setdefault("probes", 400)
    result = eyeshot.verify(model, **options)
    assert result.ok, str(result)
    return result


# --- what runs, and in which precision


@pytest.mark.parametrize("opset", [7, 8, 9, 12, 17, 22])
def test_float32_where_kernels_lack(opset: int) -> None:
    result = proved(small(opset))
    assert result.dtype == "float32" and result.pinned == result.ends == 2 * 5 * 20
    assert "in float32: onnxruntime has no float64 kernel for Conv" in result.notes
    assert any("1 MaxPool" in note for note in result.notes)


def test_float64_where_it_can() -> None:
    model = network(
        [("MatMul", ["x", "w"], ["a"], {}), ("Softmax", ["a"], ["y"], {"axis": 1})],
        {"x": (TensorProto.FLOAT, [1, 7, 4])},
        "y",
        {"w": numbers(4, 5)},
    )
    result = proved(model, axes=(1,))
    assert result.dtype == "float64" and result.pinned == result.ends
    assert result.notes == ()


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_other_types_run_too(kind: int) -> None:
    model = small()
    model.graph.input[0].type.tensor_type.elem_type = kind
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    result = proved(model)
    assert result.pinned == result.ends


def test_the_reference_evaluator_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: Any) -> Any:
        raise RuntimeError("no kernel for this")

    monkeypatch.setattr(probe, "_session", lacking)
    result = proved(small(pads=(0, 0)))
    assert result.dtype == "float64" and result.pinned == result.ends
    assert (
        "run by the reference evaluator, since onnxruntime can't: no kernel for this"
        in result.notes
    )


def test_sources(tmp_path: Any) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(small(), path)
    assert proved(path).title == "net.onnx"
    assert proved(str(path)).ok and proved(path.read_bytes()).ok
    assert proved(small(), input=(1, 2, 31)).ok  # another size than the file has


# --- poison behind operators that lose it


LOSING: list[tuple[str, dict[str, Any], int]] = [
    ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}, 7),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, 10),
    ("MaxPool", {"kernel_shape": [2, 3], "dilations": [3, 2]}, 10),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"}, 7),
    ("GlobalMaxPool", {}, 7),
    ("ReduceMax", {"axes": [2]}, 7),
    ("ReduceMin", {"axes": [1, 3], "keepdims": 0}, 7),
    ("LogSoftmax", {"axis": 3}, 7),
    ("Shrink", {"lambd": 0.5}, 9),
    ("ThresholdedRelu", {"alpha": 0.5}, 10),
]


@pytest.mark.parametrize(
    ("op", "attributes", "opset"),
    [(op, given, n) for op, given, since in LOSING for n in (8, 11, 13, 22) if n >= since],
)
def test_nan_is_put_back(op: str, attributes: dict[str, Any], opset: int) -> None:
    given: dict[str, Any] = {}
    attributes = dict(attributes)
    if op.startswith("Reduce") and opset >= 18:
        given["constants"] = {1: np.asarray(attributes.pop("axes"))}
    model, _ = node_model(op, numbers(1, 2, 9, 10), opset=opset, **given, **attributes)
    result = proved(model)
    assert result.pinned == result.ends and not result.not_shown
    assert any(op in note and "put back" in note for note in result.notes) or op == "LogSoftmax"


def test_the_same_operators_on_integers() -> None:
    model, _ = node_model("MaxPool", np.zeros((1, 1, 9, 9), np.uint8), kernel_shape=[3, 3])
    assert proved(model).ok


def test_what_swallows_poison_is_known() -> None:
    model = network(
        [
            ("Conv", ["x", "w"], ["a"], {"pads": [1, 1]}),
            ("ArgMax", ["a"], ["b"], {"axis": 1}),
            ("Cast", ["b"], ["c"], {"to": TensorProto.FLOAT}),
            ("MaxPool", ["c"], ["y"], {"kernel_shape": [3]}),
        ],
        {"x": (TensorProto.FLOAT, [1, 2, 12])},
        "y",
        {"w": numbers(3, 2, 3)},
    )
    result = proved(model)
    assert result.pinned + result.not_shown >= 2 * 12
    assert proved(model, layers="a").ok


@pytest.mark.parametrize("is_causal", [0, 1])
def test_attention_that_smears_poison(is_causal: int) -> None:
    """A causal kernel makes the scores that it leaves out; NaN in these spreads, finite numbers do not."""
    arrays = [numbers(1, 2, 6, 4) for _ in range(3)]
    model, feeds = node_model("Attention", *arrays, opset=23, is_causal=is_causal)
    result = proved(model, input=feeds, axes=dict.fromkeys(feeds, (2,)))
    smeared = any("behind what smears NaN" in note for note in result.notes)
    assert smeared == bool(is_causal)
    assert result.pinned + result.not_shown >= result.ends / 2


def test_a_sum_that_slides_smears_poison() -> None:
    model, _ = node_model("LRN", numbers(1, 9, 4, 4), size=3)
    assert proved(model, axes=(1,)).not_shown == 0
    result = proved(model, axes=(2, 3))
    assert result.pinned == result.ends and not any("smears" in n for n in result.notes)


@pytest.mark.parametrize("op", ["PRelu", "Pow"])
def test_operators_that_need_not_look(op: str) -> None:
    """Of a slope where nothing is negative, or of a power of zero, nothing may show."""
    model, feeds = node_model(op, np.abs(numbers(2, 5)), np.zeros((2, 5), np.float32))
    assert proved(model, input=feeds, axes=(0, 1)).ok


# --- integers


def embedding(others: bool) -> onnx.ModelProto:
    nodes: list[Any] = [
        ("Unsqueeze", ["ids", "one"], ["i"], {}),
        ("Squeeze", ["i", "one"], ["j"], {}),
        ("Gather", ["table", "j"], ["e"], {}),
        ("Transpose", ["e"], ["t"], {"perm": [0, 2, 1]}),
        ("Conv", ["t", "w"], ["c"], {"pads": [1, 1]}),
        ("Transpose", ["table"], ["tied"], {"perm": [1, 0]}),
        ("Transpose", ["c"], ["d"], {"perm": [0, 2, 1]}),
        ("MatMul", ["d", "tied"], ["y"], {}),
    ]
    if others:
        nodes[-1] = ("MatMul", ["d", "tied"], ["z"], {})
        nodes += [
            ("Cast", ["ids"], ["m"], {"to": TensorProto.FLOAT}),
            ("Unsqueeze", ["m", "two"], ["n"], {}),
            ("Add", ["z", "n"], ["y"], {}),
        ]
    weights = {"table": numbers(11, 4), "w": numbers(4, 4, 3)}
    shapes = {"one": np.asarray([1]), "two": np.asarray([2])}
    return network(nodes, {"ids": (TensorProto.INT64, [1, 9])}, "y", {**weights, **shapes})


def test_tokens() -> None:
    model = embedding(False)
    assert proved(model).pinned == proved(model).ends
    # Where all rows are the same, no change of a token shows, and NaN does.
    for tensor in model.graph.initializer:
        if tensor.name == "table":
            tensor.CopyFrom(numpy_helper.from_array(np.ones((11, 4), np.float32), "table"))
    result = proved(model)
    assert result.pinned == result.ends and not result.not_shown


def test_tokens_that_are_numbers_as_well() -> None:
    result = proved(embedding(True))
    assert result.pinned + result.not_shown >= result.ends / 2


def test_bytes_that_become_numbers() -> None:
    model = network(
        [
            ("Cast", ["x"], ["a"], {"to": TensorProto.FLOAT}),
            ("Conv", ["a", "w"], ["b"], {"strides": [2, 2]}),
            ("Relu", ["b"], ["y"], {}),
        ],
        {"x": (TensorProto.UINT8, [1, 3, 11, 12])},
        "y",
        {"w": numbers(2, 3, 3, 3)},
    )
    result = proved(model)
    assert result.pinned == result.ends > 0


# --- weights


def test_weights_outside_of_the_file(tmp_path: Any) -> None:
    """They are random, and where they are said to be is not looked at."""
    model = small()
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
    result = proved(model)
    assert result.pinned == result.ends
    assert any("random weights, as 2 of them are not in the file" in n for n in result.notes)


def test_random_variances_are_positive() -> None:
    """Also those that an exporter shares with others."""
    model = network(
        [
            ("Identity", ["v"], ["w"], {}),
            ("BatchNormalization", ["x", "s", "b", "m", "w"], ["a"], {}),
            ("BatchNormalization", ["a", "s", "b", "m", "v"], ["y"], {}),
        ],
        {"x": (TensorProto.FLOAT, [1, 8, 12])},
        "y",
        {name: numbers(8) for name in "sbmv"},
    )
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    result = proved(model)
    assert result.pinned == result.ends and not result.not_shown


def test_data_outside_of_the_file() -> None:
    model, _ = node_model("Gather", numbers(1, 2, 9), constants={1: np.asarray([3, 1])}, axis=2)
    model.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(eyeshot.EyeshotError, match="c1: its int64 numbers, which are needed"):
        eyeshot.verify(model)


# --- a rule that is wrong


REAL = families.conv


def shifted(g: Any, x: int, kernel: Any, stride: Any, pads: Any, *rest: Any, **kw: Any) -> int:
    return REAL(g, x, kernel, stride, [(a + 1, b - 1) for a, b in pads], *rest, **kw)


def test_a_broken_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding off by one: the layer, the unit and what it really reads are told."""
    monkeypatch.setattr(families, "conv", shifted)
    for probes in (24, 400):
        result = eyeshot.verify(small(), probes=probes)
        assert not result.ok and {d.layer for d in result.disagreements} >= {"a", "c", "y"}
        first = next(d for d in result.disagreements if d.layer == "a")
        (i,) = first.unit
        assert first.input == "x" and first.axis == 2
        assert first.real == (max(0, 2 * i - 1), min(40, 2 * i + 2))
        assert first.reported == (max(0, 2 * i - 2), min(40, 2 * i + 1))


def test_command(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(small(), path)
    done = CliRunner().invoke(main, ["verify", str(path), "--probes", "30"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("net.onnx: agrees\n") and done.stderr == ""
    monkeypatch.setattr(families, "conv", shifted)
    done = CliRunner().invoke(main, ["verify", str(path), "--probes", "30"])
    assert done.exit_code == 1 and "net.onnx: DISAGREES" in done.stdout


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        eyeshot.EyeshotError, match=r"takes onnxruntime: pip install 'eyeshot\[onnx\]'"
    ):
        eyeshot.verify(small())


def test_a_model_that_fails_says_so() -> None:
    model, _ = node_model("NoSuchOperator", numbers(1, 2, 9), domain="somewhere")
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("y0", TensorProto.FLOAT, [1, 2, 9])
    )
    with pytest.raises(eyeshot.EyeshotError, match="could not be run"):
        eyeshot.verify(model)
