"""Files that are no use: one clear line and exit code 2, whatever is in them; in bounded time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import eyeshot
from eyeshot.cli import main

h = onnx.helper
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def parsed(body: str, head: str = 'ir_version: 8, opset_import: ["": 17]') -> onnx.ModelProto:
    return onnx.parser.parse_model(f"<{head}> {body}")


def sound() -> onnx.ModelProto:
    """A model without fault, for others to be made of."""
    model = parsed("g (float[1, 3, 16, 16] x) => (y) { y = Conv<pads = [1, 1, 1, 1]>(x, w) }")
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.zeros((4, 3, 3, 3), dtype=np.float32), "w")
    )
    return model


def changed(change: Callable[[onnx.ModelProto], Any]) -> onnx.ModelProto:
    model = sound()
    change(model)
    return model


def nested(depth: int) -> bytes:
    """A model of ``If`` within ``If``, written by hand: no package makes one so deep."""

    def field(number: int, content: bytes) -> bytes:
        size, head = len(content), bytes([number << 3 | 2])
        while size > 127:
            head += bytes([size & 127 | 128])
            size >>= 7
        return head + bytes([size]) + content

    out = onnx.ValueInfoProto(name="out").SerializeToString()
    relu = h.make_node("Relu", ["x"], ["out"]).SerializeToString()
    plain = field(1, relu) + field(12, out)
    inner = plain
    for _ in range(depth):
        node = h.make_node("If", ["c"], ["out"]).SerializeToString()
        for name, graph in (("then_branch", inner), ("else_branch", plain)):
            a = onnx.AttributeProto(name=name, type=onnx.AttributeProto.GRAPH).SerializeToString()
            node += field(5, a + field(6, graph))
        inner = field(1, node) + field(12, out)
    model = parsed("g (float[1, 3, 16, 16] x) => (out) <bool c = {1}> {}")
    return model.SerializeToString() + field(7, inner)


def outside(place: str) -> onnx.ModelProto:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)

    return changed(change)


def with_opset(version: int) -> onnx.ModelProto:
    return changed(lambda m: setattr(m.opset_import[0], "version", version))


def with_dim(size: int) -> onnx.ModelProto:
    dims = lambda m: m.graph.input[0].type.tensor_type.shape.dim  # noqa: E731
    return changed(lambda m: setattr(dims(m)[2], "dim_value", size))


def with_weight(*dims: int) -> onnx.ModelProto:
    def change(model: onnx.ModelProto) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)

    return changed(change)


RELU = "g (float[1, 3, 16, 16] x) => (y) "
MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "no graph": (lambda: onnx.ModelProto(ir_version=8), "not an ONNX model: it has no graph"),
    "no IR version": (lambda: changed(lambda m: m.ClearField("ir_version")), "no IR version"),
    "an empty graph": (
        lambda: onnx.ModelProto(ir_version=8, graph=onnx.GraphProto(name="g")),
        "the model's graph is empty",
    ),
    "a cycle": (
        lambda: parsed(RELU + "{ a = Add(x, b)\n b = Relu(a)\n y = Relu(b) }"),
        "Add stands in a cycle",
    ),
    "a cycle of one": (lambda: parsed(RELU + "{ y = Add(x, y) }"), "cycle"),
    "a name from nowhere": (lambda: parsed(RELU + "{ y = Add(x, b) }"), "reads 'b', which nothing makes"),
    "an output from nowhere": (lambda: parsed(RELU + "{ z = Relu(x) }"), "'y' is made by no node"),
    "made twice": (lambda: parsed(RELU + "{ y = Relu(x)\n y = Abs(x) }"), "'y' is made twice"),
    "an input made again": (lambda: parsed(RELU + "{ x = Relu(x)\n y = Abs(x) }"), "x"),
    "two inputs of a name": (
        lambda: changed(lambda m: m.graph.input.append(m.graph.input[0])), "x"
    ),
    "two weights of a name": (
        lambda: changed(lambda m: m.graph.initializer.append(m.graph.initializer[0])),
        "initializer 'w' is there twice",
    ),
    "no inputs": (lambda: parsed("g () => (y) { y = Constant<value_float = 1.0>() }"), "no inputs"),
    "nothing depends on it": (
        lambda: parsed(RELU + "{ y = Constant<value_float = 1.0>() }"),
        "no output of the model depends on its inputs",
    ),
    "an opset of the future": (lambda: with_opset(999), "opset 999 of ai.onnx is not known"),
    "opset 0": (lambda: with_opset(0), "opset 0 of ai.onnx is not known"),
    "a negative opset": (lambda: with_opset(-3), "opset -3"),
    "no opset": (lambda: changed(lambda m: m.ClearField("opset_import")), "no opset of ai.onnx"),
    "two opsets": (
        lambda: changed(lambda m: m.opset_import.append(h.make_opsetid("", 16))), "imported twice"
    ),
    "a negative dim": (lambda: with_dim(-5), "-5"),
    "a dim of 0": (lambda: with_dim(0), "give its shape"),
    "an absurd dim": (lambda: with_dim(1 << 60), "outside 1 … 1099511627776"),
    "a weight of absurd dims": (lambda: with_weight(1 << 62, 3, 3, 3), "initializer 'w' has the dims"),
    "a weight of negative dims": (lambda: with_weight(4, -3, 3, 3), "initializer 'w' has the dims"),
    "a weight of too few dims": (lambda: with_weight(4), "weights of 1 dims on an input of 4"),
    "a kernel larger than its input": (lambda: with_weight(4, 3, 99, 3), "kernel: 99 is larger"),
    "wrong channels": (lambda: with_weight(4, 5, 3, 3), "5"),
    "data outside the folder": (lambda: outside("../../etc/passwd"), "outside the model's folder"),
    "data at an absolute path": (lambda: outside("/etc/passwd"), "outside the model's folder"),
    "data on a drive": (lambda: outside("C:\\windows\\x"), "outside the model's folder"),
    "data outside, in disguise": (lambda: outside("a/../../x"), "outside the model's folder"),
    "a wrong attribute": (
        lambda: parsed(RELU + '{ y = MaxPool<kernel_shape = "big">(x) }'),
        "attribute kernel_shape of MaxPool holds STRING, not INTS",
    ),
    "strides of 0": (
        lambda: parsed(RELU + "{ y = MaxPool<kernel_shape = [2, 2], strides = [0, 1]>(x) }"),
        "at least 1",
    ),
    "a missing attribute": (lambda: parsed(RELU + "{ y = MaxPool(x) }"), "kernel"),
    "a loop without a body": (
        lambda: parsed(RELU + "<int64 n = {3}, bool t = {1}> { y = Loop(n, t, x) }"),
        "attribute body of Loop is missing",
    ),
    "too few inputs": (lambda: parsed(RELU + "{ y = Conv(x) }"), "Conv takes 2 to 3 inputs, has 1"),
    "too many inputs": (lambda: parsed(RELU + "{ y = Relu(x, x, x) }"), "Relu takes 1 inputs, has 3"),
    "an input left out": (lambda: parsed(RELU + "{ y = Conv(x, , x) }"), "Conv is not given its input W"),
    "one of several left out": (
        lambda: parsed(RELU + "{ y = Concat<axis = 1>(x, , x) }"), "an input of Concat is left out"
    ),
    "a tensor for a sequence": (
        lambda: parsed(RELU + "{ y = SequenceAt(x, x) }"), "takes a sequence, and is given a tensor"
    ),
    "a sequence for a tensor": (
        lambda: parsed(RELU + "{ s = SequenceConstruct(x)\n y = Add(x, s) }"),
        "Add takes tensors, and is given a sequence",
    ),
    "nothing in a sequence": (
        lambda: parsed(RELU + "{ s = SequenceConstruct(x, , x)\n y = SequenceAt(s, x) }"), "left out"
    ),
    "shapes that do not broadcast": (
        lambda: parsed(RELU + "<float[3] b = {1.0, 1.0, 1.0}> { y = Add(x, b) }"),
        "y: shapes: 1x3x16x16, 3 don't broadcast",
    ),
    "an equation of many operands": (
        lambda: parsed(RELU + f'{{ y = Einsum<equation = "{"," * 5000}">(x) }}'), "5001 operands"
    ),
    "an absurd number of scanned inputs": (
        lambda: parsed(
            "g (float[1, 3, 16] x) => (y) { y = Scan<num_scan_inputs = 1099511627776, "
            "body = b (float[3, 16] a) => (o) { o = Relu(a) }>(x) }"
        ),
        "1099511627776 of 1 inputs are scanned",
    ),
    "a pool of absurd runs": (
        lambda: parsed(
            'g (int64[1, 6] x) => (y) { y = TfIdfVectorizer<mode = "TF", min_gram_length = 1, '
            "max_gram_length = 1, max_skip_count = 0, ngram_counts = [0, 2147483648], "
            "ngram_indexes = [0, 1], pool_int64s = [2, 3]>(x) }"
        ),
        "do not fit a pool of 2",
    ),
    "weights of classes of another rank": (
        lambda: parsed(
            "g (float[2, 3, 4] x, float w) => (y) <int64[2, 4] t = {0, 1, 2, 0, 1, 2, 0, 1}> "
            "{ y = NegativeLogLikelihoodLoss(x, t, w) }"
        ),
        "weights of classes in 0 dims",
    ),
    "sequences without end": (
        lambda: parsed(
            "g (float[60000, 3, 16] x) => (y) { "
            + "".join(f"s{k} = SplitToSequence<axis = 0>(x)\n" for k in range(30))
            + "y = ConcatFromSequence<axis = 0>(s0) }"
        ),
        "is too long",
    ),
    "a file of many open inputs": (
        lambda: changed(
            lambda m: m.graph.input.extend(
                h.make_tensor_value_info(f"more{k}", 1, [1, 3, f"n{k}"]) for k in range(5000)
            )
        ),
        "and 4994 more: give n0=…",
    ),
    "an absurd shape": (
        lambda: parsed(RELU + "<int64[2] s = {4611686018427387904, 2}> { y = Reshape(x, s) }"), "y"
    ),
    "a place beyond all bounds": (
        lambda: parsed(
            RELU + "<int64[4] a = {1, 3, 16, 16}, int64[4] i = {0, 4611686018427387904, 2, 3}> "
            "{ s = GatherElements(a, i) y = Reshape(x, s) }"
        ),
        "",
    ),
    "an absurd repetition": (
        lambda: parsed(RELU + "<int64[4] r = {1, 1, 1, 4611686018427387904}> { y = Tile(x, r) }"), "y"
    ),
    "an unknown operator without a shape": (
        lambda: parsed(RELU + "{ a = Mystery(x)\n y = Relu(a) }"), "Mystery"
    ),
    "a function of itself": (
        lambda: onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["": 17, "f": 1]> g (float[1, 3, 16] x) => (y) { y = f.f(x) } '
            '<domain: "f", opset_import: ["": 17, "f": 1]> f (a) => (b) { b = f.f(a) }'
        ),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, tmp_path: Path) -> None:
    """The same line from the library and from the command."""
    make, words = MODELS[name]
    model = make()
    with pytest.raises(eyeshot.EyeshotError) as caught:
        eyeshot.analyze(model)
    text = str(caught.value)
    assert words in text and "\n" not in text, text
    assert "malformed (" not in text, text
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    done = CliRunner().invoke(main, ["show", str(path)])
    assert done.exit_code == 2
    assert done.stderr.startswith("eyeshot: ") and done.stderr.count("\n") == 1, done.stderr
    assert not done.stdout


LARGE = 1 << 40
#: Models of sizes that nothing may be made for, position by position.
ABSURD: dict[str, str] = {
    "causal attention": (
        f"(float[1, 1, {LARGE}, 8] x) => (y) {{ y = Attention<is_causal = 1>(x, x, x) }}"
    ),
    "a window of attention": (
        f"(float[1, 1, {LARGE}, 8] x, float[1, 1, 4, 8] k, float[1, 1, 2, 8] p) => (y) "
        "{ y, u, v = Attention<is_causal = 1>(x, k, k, , p, p) }"
    ),
    "a batch of recurrences": (
        f"(float[2, {LARGE}, 3] x, float[1, 16, 3] w, float[1, 16, 4] r) => (y) "
        "{ y = LSTM<hidden_size = 4>(x, w, r) }"
    ),
    "a loop": (
        f"(float[1, 3, 16] x) => (y) <int64 n = {{{LARGE}}}, bool t = {{1}}> {{ y = Loop(n, t, x)"
        "<body = b (int64 i, bool c, float[1, 3, 16] s) => (e, o) { e = Identity(c)\n o = Abs(s) }> }"
    ),
    "a scan": (
        f"(float[{LARGE}, 3, 16] x) => (y) {{ y = Scan<num_scan_inputs = 1, "
        "body = b (float[3, 16] a) => (o) { o = Relu(a) }>(x) }"
    ),
    "counts of tokens": (
        '(int64[1, 6] x) => (y) { y = TfIdfVectorizer<mode = "TF", min_gram_length = 1, '
        "max_gram_length = 1, max_skip_count = 0, ngram_counts = [0], "
        f"ngram_indexes = [0, {LARGE - 1}], pool_int64s = [2, 3]>(x) }}"
    ),
    "a padding": (
        f"(float[1, 3, 16] x) => (y) <int64[6] p = {{0, 0, {LARGE >> 2}, 0, 0, {LARGE >> 2}}}> "
        '{ y = Pad<mode = "reflect">(x, p) }'
    ),
    "a function that doubles": (
        "(float[1, 3, 16] x) => (y) { y = d.f30(x) }"
        + "".join(
            f'\n<domain: "d", opset_import: ["": 23, "d": 1]> f{k + 1} (a) => (c) '
            f"{{ b = d.f{k}(a)\n c = d.f{k}(b) }}"
            for k in range(30)
        )
        + '\n<domain: "d", opset_import: ["": 23]> f0 (a) => (c) { c = Relu(a) }'
    ),
}


def test_an_absurd_batch_of_an_old_scan() -> None:
    """Until opset 8 each element of the batch has rounds of its own."""
    model = parsed(
        f"g (float[{LARGE}, 3, 2] x) => (y) {{ y = Scan<num_scan_inputs = 1, "
        "body = b (float[2] a) => (o) { o = Relu(a) }>(, x) }",
        'ir_version: 4, opset_import: ["": 8]',
    )
    assert eyeshot.analyze(model).status == "bound"


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_sizes(name: str) -> None:
    """A report or one line, at once."""
    model = parsed(f"g {ABSURD[name]}", 'ir_version: 10, opset_import: ["": 23, "d": 1]')
    begun = time.process_time()
    check(model.SerializeToString())
    assert time.process_time() - begun < 10


def test_long_names() -> None:
    """Megabytes of a name take no time to fold, and an error stays a line."""
    model = parsed(RELU + "{ a = Relu(x)\n y = Abs(a) }")
    model.graph.node[0].name = "n" * 2_000_000
    begun = time.process_time()
    assert "n" * 20 in str(eyeshot.analyze(model))
    assert time.process_time() - begun < 10
    model.graph.node[0].input[0] = "z" * 2_000_000
    with pytest.raises(eyeshot.EyeshotError) as caught:
        eyeshot.analyze(model)
    assert len(str(caught.value)) <= 1000


def test_an_array_without_its_batch() -> None:
    """Its numbers take the shape that the file has."""
    model = parsed(
        "g (int64[1, 2] s, float[1, 3, 16, 16] x) => (y) { f = Reshape(s, m)\n y = Expand(x, f) }"
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), "m"))
    whole, part = ({"s": np.array(a)} for a in ([[16, 16]], [16, 16]))
    assert str(eyeshot.analyze(model, whole)) == str(eyeshot.analyze(model, part))


def test_the_model_that_they_are_made_of_is_sound() -> None:
    assert eyeshot.analyze(sound())[-1].size == (3, 3)


FILES: dict[str, tuple[bytes, str]] = {
    "graphs too deep": (nested(40), "not an ONNX model"),
    "graphs deeper than a stack": (nested(3000), "not an ONNX model"),
    "nothing": (b"", "not an ONNX model"),
    "text": (b"layers:\n  conv1: [3, 2, 1]\n", "not an ONNX model"),
    "zeros": (bytes(1000), "not an ONNX model"),
    "half a model": (sound().SerializeToString()[:100], "not an ONNX model"),
    "a tensor": (sound().graph.initializer[0].SerializeToString(), "not an ONNX model"),
    "a graph": (sound().graph.SerializeToString(), "not an ONNX model"),
    "a pickle": (
        b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtin",
        "not an ONNX model",
    ),
    "an .ort file": (b"\x18\x00\x00\x00ORTM" + bytes(100), "onnxruntime's own format"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name: str, tmp_path: Path) -> None:
    content, words = FILES[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for source in (path, str(path), content, bytearray(content)):
        with pytest.raises(eyeshot.EyeshotError, match=words):
            eyeshot.analyze(source)


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    for name, words in (
        ("absent.onnx", "No such file"),
        ("folder.onnx", "folder"),
        ("a\0b.onnx", "null byte"),
    ):
        with pytest.raises(eyeshot.EyeshotError, match=words):
            eyeshot.analyze(str(tmp_path / name))


def test_messages_that_are_no_models() -> None:
    for message in (sound().graph, sound().graph.node[0], sound().graph.initializer[0]):
        with pytest.raises(eyeshot.EyeshotError, match="expected a whole ONNX model"):
            eyeshot.analyze(message)


def test_external_data_is_never_opened(tmp_path: Path) -> None:
    """Weights in a file beside the model: neither read nor missed."""
    path = tmp_path / "model.onnx"
    path.write_bytes(outside("weights.bin").SerializeToString())
    assert eyeshot.analyze(path)[-1].size == (3, 3)
    os.mkfifo(tmp_path / "weights.bin")  # opening it would wait for a writer
    assert eyeshot.analyze(path)[-1].size == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"args": (1,)}, "args: only a PyTorch module takes it"),
        ({"training": True}, "training: an ONNX model runs in the mode"),
        ({"input": {"z": 3}}, "no input or dim 'z'"),
        ({"input": "1x3x16"}, "4, 3, 3, 3|axes|dims"),
        ({"input": "1x3x16x16x16"}, "has 5 dims"),
        ({"input": "what"}, "expected a shape"),
        ({"input": (1, 3, 0, 16)}, "size 0"),
        ({"input": (1, 3, -2, 16)}, "size -2"),
        ({"input": (1, 3, 1.5, 16)}, "expected a shape"),
        ({"input": object()}, "expected a shape"),
        ({"input": [(1, 3, 16, 16)] * 2}, "2 shapes for 1 inputs"),
        ({"axes": (7,)}, "axes"),
        ({"axes": {"z": 2}}, "no input 'z'"),
        ({"axes": ()}, "no field axes"),
        ({"axes": "hw"}, "axes"),
        ({"axes": 1.5}, "axes"),
        ({"of": "nothing"}, "nothing"),
    ],
)
def test_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(eyeshot.EyeshotError, match=words):
        eyeshot.analyze(sound(), **arguments)


# --- mutations


def check(content: bytes) -> None:
    """Either a report or one line, and nothing else."""
    try:
        report = eyeshot.analyze(content)
        str(report)
    except eyeshot.EyeshotError as error:
        assert "\n" not in str(error)


SMALL = [
    (LIGHT / f"light_{name}.onnx").read_bytes()
    for name in ("bvlc_alexnet", "squeezenet", "vgg19", "zfnet512")
]
MANY = int(os.environ.get("EYESHOT_FUZZ", "0")) or 300


@st.composite
def mutated(draw: Any) -> bytes:
    """A light graph cut off, with bits flipped, or with pieces of it elsewhere."""
    content = bytearray(draw(st.sampled_from(SMALL)))
    places = st.integers(0, len(content) - 1)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(places)
        match draw(st.sampled_from(["flip", "cut", "insert", "copy", "drop"])):
            case "flip":
                content[at % len(content)] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[max(1, at) :]
            case "insert":
                content[at:at] = draw(st.binary(max_size=8))
            case "copy":
                source = draw(places)
                content[at : at + 20] = content[source : source + 20]
            case _:
                del content[at : at + draw(st.integers(1, 20))]
        if not content:
            break
    return bytes(content)


@given(mutated())
@settings(max_examples=MANY, deadline=None)
def test_mutated_files(content: bytes) -> None:
    check(content)


VALUES = [0, -1, 1, 2, 3, 7, 64, 1000, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63)]


@st.composite
def altered(draw: Any) -> bytes:
    """A light graph that can be read, with something else in a field or two."""
    model = onnx.ModelProto.FromString(draw(st.sampled_from(SMALL)))
    graph = model.graph
    values = st.sampled_from(VALUES)
    for _ in range(draw(st.integers(1, 3))):
        node = graph.node[draw(st.integers(0, len(graph.node) - 1))]
        match draw(
            st.sampled_from(["number", "attribute", "input", "op", "weight", "dim", "fewer"])
        ):
            case "number" if node.attribute:
                a = draw(st.sampled_from(list(node.attribute)))
                if a.ints:
                    a.ints[draw(st.integers(0, len(a.ints) - 1))] = draw(values)
                else:
                    a.i, a.type = draw(values), onnx.AttributeProto.INT
            case "attribute" if node.attribute:
                del node.attribute[draw(st.integers(0, len(node.attribute) - 1))]
            case "input" if node.input:
                other = graph.node[draw(st.integers(0, len(graph.node) - 1))]
                node.input[draw(st.integers(0, len(node.input) - 1))] = draw(
                    st.sampled_from([*other.output, *other.input, ""])
                )
            case "op":
                known = sorted({s.name for s in onnx.defs.get_all_schemas()})
                node.op_type = draw(st.sampled_from([*known, "Mystery"]))
            case "weight" if graph.initializer:
                tensor = draw(st.sampled_from(list(graph.initializer)))
                if tensor.dims:
                    tensor.dims[0] = draw(values)
                if tensor.int64_data:
                    tensor.int64_data[0] = draw(values)
            case "dim":
                for dim in draw(st.sampled_from(list(graph.input))).type.tensor_type.shape.dim:
                    dim.dim_value = draw(values)
            case "fewer" if node.input:
                del node.input[-1]
    return model.SerializeToString()


@given(altered())
@settings(max_examples=MANY, deadline=None)
def test_altered_models(content: bytes) -> None:
    check(content)


def test_memory_and_time_are_bounded() -> None:
    """Thousands of mutations of larger files, in a process that is given little."""
    code = f"""
        import random, resource, sys
        import eyeshot, onnx, numpy
        from pathlib import Path
        eyeshot.analyze(Path({str(LIGHT)!r}) / "light_squeezenet.onnx")  # all that is imported is
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), used + (1 << 29)))
        resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
        rng = random.Random(0)
        files = [f.read_bytes() for f in sorted(Path({str(LIGHT)!r}).glob("*.onnx"))]
        for _ in range({max(3000, MANY)}):
            content = bytearray(rng.choice(files))
            for _ in range(rng.choice([1, 1, 2, 8])):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            if rng.random() < 0.2:
                del content[rng.randrange(len(content)):]
            try:
                eyeshot.analyze(bytes(content))
            except eyeshot.EyeshotError as error:
                assert "\\n" not in str(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr[-2000:]
