"""Unusable input: exit code 2, one line on stderr that begins with the place, never a traceback."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eyeshot
from eyeshot.cli import main
from eyeshot.examples import names, path
from eyeshot.frontends import spec as frontend

HUGE = 10**30


def net(**layers: Any) -> bytes:
    """A JSON spec of these layers on a 3x32x32 input."""
    return json.dumps({"input": [3, 32, 32], "layers": layers}).encode()


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def conv(**fields: Any) -> bytes:
    return net(a={"op": "conv", "kernel": 3, **fields})


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

#: File name, content, and what follows "NAME: ".
FILES: list[tuple[str, bytes, str]] = [
    # malformed
    ("bracket.yaml", b"layers:\n  a: [3, 1\n  b: 2", "line 3, column 4: "),
    ("tab.yaml", b"layers:\n\ta: [3,1,1]", "line 2, column 1: "),
    ("two-colons.yaml", b"a: b: c", "line 1, column 5: "),
    ("comma.json", b'{"layers": {"a": [3,1,1],}}', "line 1, column 26: "),
    ("open.json", b'{"layers": ', "line 1, column 12: "),
    ("open.toml", b"layers = [", "Invalid value (at end of document)"),
    ("header.toml", b"[layers\na = 1", "Expected "),
    ("anchor.yaml", b"a: *nowhere", "line 1, column 4: there is no anchor 'nowhere'"),
    ("two.yaml", b"a: [3,1,1]\n---\nb: [3,1,1]", "line 2, column 1: a second document"),
    ("python.yaml", b"a: !!python/object/apply:os.system [id]", "line 1, column 4: the tag "),
    ("tag.yaml", b"a: !mine [3,1,1]", "line 1, column 4: the tag !mine has no meaning here"),
    ("set.yaml", b"!!set {a, b}", "line 1, column 1: the tag "),
    ("int.yaml", b"a: [!!int x, 1, 1]", "line 1, column 5: 'x' is not a value of its kind, int"),
    # not a text, or no content
    ("binary.yaml", bytes(range(256)), "not a text file (byte 128 is not UTF-8)"),
    ("binary.json", bytes(range(256)), "not a text file (byte 128 is not UTF-8)"),
    ("binary.toml", bytes(range(256)), "not a text file (byte 128 is not UTF-8)"),
    ("utf16.json", '{"a": [3,1,1]}'.encode("utf-16"), "not a text file (byte 0 is not UTF-8)"),
    ("zero.yaml", b"a: \x00", "unacceptable character"),
    ("empty.yaml", b"", "is empty"),
    ("empty.json", b"", "is empty"),
    ("empty.toml", b"", "is empty"),
    ("blank.json", b" \n\t ", "is empty"),
    ("comment.yaml", b"# nothing\n", "expected a mapping of layers, got nothing"),
    ("null.json", b"null", "expected a mapping of layers, got nothing"),
    ("text.yaml", b"hello", "expected a mapping of layers, got a text"),
    ("list.json", b"[1]", "expected a mapping of layers, got a list"),
    ("number.json", b"1", "expected a mapping of layers, got a number"),
    ("true.json", b"true", "expected a mapping of layers, got a truth value"),
    ("none.json", b"{}", "there are no layers"),
    ("none.yaml", b"layers: {}", "there are no layers"),
    (
        "nothing.yaml",
        b"input: [3, 3]\nlayers:",
        "layers: expected a mapping or a list, got nothing",
    ),
    ("layers.json", b'{"layers": 3}', "layers: expected a mapping or a list, got a number"),
    # names
    ("dup.yaml", b"layers:\n  a: relu\n  a: relu\n", "line 3, column 3: 'a' is there twice"),
    ("dup-field.yaml", b"a: {op: relu, op: relu}", "line 1, column 15: 'op' is there twice"),
    ("dup.json", b'{"layers": {"a": "relu", "a": "relu"}}', "'a' is there twice"),
    ("dup-field.json", b'{"layers": {"a": {"op": 1, "op": 2}}}', "'op' is there twice"),
    ("dup.toml", b"a = [3,1,1]\na = [3,1,1]", "Cannot overwrite a value"),
    (
        "dup-list.json",
        dump({"layers": [{"name": "a", "op": "relu"}, {"name": "a", "op": "relu"}]}),
        "layers[1].name: 'a' is there twice",
    ),
    ("unnamed.json", dump({"layers": [{"op": "relu"}]}), "layers[0].name: expected a text"),
    ("listed.json", dump({"layers": [3]}), "layers[0]: expected a mapping with a name"),
    ("like.json", net(input="relu"), "layers.input: is also the name of an input"),
    (
        "likes.json",
        dump({"inputs": {"x": [3, 8], "y": [3, 8]}, "layers": {"y": "relu"}}),
        "layers.y: is also the name of an input",
    ),
    ("on.yaml", b"on: [3, 1, 1]", "a layer's name must be a text, got True (quote it)"),
    ("on-in.yaml", b"layers: {no: relu}", "layers: a layer's name must be a text, got False"),
    ("number.yaml", b"1: [3, 1, 1]", "a layer's name must be a text, got 1 (quote it)"),
    ("null.yaml", b"~: [3, 1, 1]", "a layer's name must be a text, got None"),
    ("list-key.yaml", b"? [a, b]\n: [3, 1, 1]", "line 1, column 8: a key must be a plain value"),
    ("on-field.yaml", b"layers: {a: {op: relu, on: 1}}", "layers.a: unknown field True"),
    ("escape.yaml", b'"a\\x1b[31m": relu', "a name may not hold control characters"),
    ("escape.json", net(**{"a\x1b[31m": "relu"}), "layers: a name may not hold control charact"),
    ("c1.json", net(**{"a\x9b31m": "relu"}), "layers: a name may not hold control characters"),
    ("newline.json", net(**{"a\nb": "relu"}), "layers: a name may not hold control characters"),
    ("line.json", net(**{"a\u2028b": "relu"}), "layers: a name may not hold control characters"),
    ("surrogate.json", b'{"a\\ud800": "relu"}', "a name may not hold control characters"),
    ("surrogate.yaml", b'"a\\ud800": relu', "line 1, column 5: "),
    ("unnamed.yaml", b"'': [3, 1, 1]", "a name may not be empty"),
    (
        "escape-op.json",
        net(a={"op": "opaque", "function": "\x1b[31m"}),
        "layers.a.function: a name may not hold control characters",
    ),
    (
        "escape-input.json",
        dump({"inputs": {"x\x1b": [3, 8]}, "layers": {"y": "relu"}}),
        "inputs: a name may not hold control characters",
    ),
    ("title.yaml", b"name: 3\nlayers: {a: relu}", "name: expected a text, got a number"),
    # operators and fields
    (
        "op.json",
        net(a={"op": "conf"}),
        "layers.a.op: unknown operator 'conf'; did you mean 'conv'?",
    ),
    ("ops.json", net(a="rellu"), "layers.a.op: unknown operator 'rellu'; did you mean 'relu'?"),
    ("op-number.json", net(a={"op": 3}), "layers.a.op: unknown operator 3"),
    ("op-list.json", net(a={"op": ["conv"]}), "layers.a.op: unknown operator ['conv']"),
    ("op-escape.json", net(a="\x1b[31mred"), r"layers.a.op: unknown operator '\x1b[31mred'"),
    (
        "op-surrogate.json",
        b'{"layers": {"a": "\\ud800"}}',
        r"layers.a.op: unknown operator '\ud800'",
    ),
    ("no-op.json", net(a={"kernel": 3}), "layers.a.op: is missing"),
    ("typo.json", conv(strid=2), "layers.a: unknown field 'strid'; did you mean 'stride'?"),
    ("field.json", conv(zzz=2), "layers.a: unknown field 'zzz'; conv takes kernel, stride, "),
    ("no-kernel.json", net(a={"op": "conv"}), "layers.a.kernel: conv needs it"),
    (
        "top.json",
        dump({"layer": 1, "layers": {"a": "relu"}}),
        "unknown field 'layer'; did you mean",
    ),
    ("three.json", net(a=3), "layers.a: expected an operator, {op: …} or [kernel, stride, padd"),
    ("none.toml", b"a = {}", "a.op: is missing"),
    ("two.json", net(a=[3, 1]), "layers.a: expected [kernel, stride, padding], got 2 values"),
    ("four.json", dump({"a": [3, 1, 1, 1]}), "a: expected [kernel, stride, padding], got 4 val"),
    # numbers
    ("kernel.json", conv(kernel=33), "layers.a.kernel: 33 is larger than its input (32)"),
    ("dilated.json", conv(dilation=16), "layers.a.kernel: "),
    ("pool.json", net(a={"op": "max_pool", "kernel": 33}), "layers.a.kernel: 33 is larger than"),
    ("short.json", net(a=[33, 1, 0]), "layers.a.kernel: 33 is larger than its input (32)"),
    ("zero.json", conv(stride=0), "layers.a.stride: expected a whole number of at least 1, got 0"),
    ("negative.json", conv(kernel=-3), "layers.a.kernel: expected a whole number of at least 1"),
    ("padding.json", conv(padding=-1), "layers.a.padding: expected a whole number of at least 0"),
    ("short-neg.json", dump({"a": [3, -1, 1]}), "a.stride: expected a whole number of at least 1"),
    ("huge.json", conv(kernel=HUGE), "layers.a.kernel: expected a whole number of at most 2^40"),
    ("huge.yaml", b"a: [3, 1%s, 1]" % (b"0" * 30), "a.stride: expected a whole number of at most"),
    ("huge-in.yaml", b"input: [3, 1%s]\nlayers: {a: relu}" % (b"0" * 30), "input: a size must be"),
    ("hex.yaml", b"a: [0x%s, 1, 1]" % (b"f" * 300), "a.kernel: expected a whole number of at most"),
    ("hex.toml", b"a = [0x%s, 1, 1]" % (b"f" * 9000), "a.kernel: expected a whole number of at"),
    ("digits.json", b'{"a": [1%s, 1, 1]}' % (b"0" * 5000), "Exceeds the limit"),
    ("digits.yaml", b"a: [1%s, 1, 1]" % (b"0" * 5000), "line 1, column 5: a number of 5001 char"),
    ("sixty.yaml", b"a: 1%s" % (b":1" * 300_000), "line 1, column 4: a number of 600001 charac"),
    ("half.json", conv(kernel=3.5), "layers.a.kernel: expected a whole number or a list, got 3.5"),
    ("true.yaml", b"a: [yes, 1, 1]", "a.kernel: expected a whole number, got True"),
    ("bool.json", conv(stride=True), "layers.a.stride: expected a whole number or a list, got T"),
    ("text.json", conv(kernel="3"), "layers.a.kernel: expected a whole number or a list, got '3'"),
    ("nan.json", b'{"layers": {"a": {"op": "conv", "kernel": NaN}}}', "layers.a.kernel: expect"),
    ("nan.yaml", b"layers: {a: {op: conv, kernel: .nan}}", "layers.a.kernel: expected"),
    ("nan-scale.yaml", b"layers: {a: {op: upsample, scale: .nan}}", "layers.a.scale: nan is not"),
    (
        "inf-scale.yaml",
        b"layers: {a: {op: upsample, scale: .inf}}",
        "layers.a.scale: is out of range",
    ),
    ("inf-in.yaml", b"input: [3, .inf]\nlayers: {a: relu}", "input: a size must be a whole number"),
    ("scale.json", net(a={"op": "upsample", "scale": -1}), "layers.a.scale: "),
    (
        "grows.json",
        net(**{f"l{k}": {"op": "upsample", "scale": 256} for k in range(5)}),
        "layers.l4.scale: gives size 35184372088832, more than 1099511627776",
    ),
    ("wide.json", conv(padding=2**40), "layers.a.padding: "),
    ("strange.json", net(a={"op": "pad", "padding": [[1, 2, 3], 1]}), "layers.a.padding: "),
    ("word.json", conv(padding="sam"), "layers.a.padding: expected a number, a list or one of"),
    (
        "mode.json",
        net(a={"op": "upsample", "scale": 2, "mode": "liner"}),
        "layers.a.mode: expected one of nearest, nearest-exact, linear, cubic, area; got 'liner'; "
        "did you mean 'linear'?",
    ),
    # axes and shapes
    ("axes.json", conv(kernel=[3, 3, 3]), "layers.a.kernel: has 3 numbers for 2 axes"),
    ("axes.yaml", b"axes: two\nlayers: {a: relu}", "axes: expected a whole number from 1 to 16"),
    ("axes-true.yaml", b"axes: yes\nlayers: {a: relu}", "axes: expected a whole number from 1"),
    (
        "few.json",
        dump({"axes": 3, "input": [8, 8], "layers": {"a": "relu"}}),
        "input: 8x8 does not",
    ),
    (
        "many.json",
        dump({"input": [1] * 17, "layers": {"a": "relu"}}),
        "input: a shape of 17 numbers",
    ),
    ("shape.yaml", b"input: 3 by 3\nlayers: {a: relu}", "input: expected a shape like 3x224x224"),
    ("minus.yaml", b"input: [3, -3]\nlayers: {a: relu}", "input: a size must be a whole number"),
    ("yes.yaml", b"input: [3, yes]\nlayers: {a: relu}", "input: a size must be a whole number"),
    ("map.yaml", b"input: {a: 3}\nlayers: {a: relu}", "input: expected a shape like 3x224x224"),
    ("flat.json", net(a="flatten", b=[3, 1, 1]), "layers.b.inputs: a tensor of 2 dims has no axes"),
    ("dim.json", net(a={"op": "concat", "dim": 9}), "layers.a.dim: 9 is not a dim"),
    (
        "add.json",
        net(a=[3, 2, 1], b={"op": "add", "inputs": ["a", "input"]}),
        "layers.b.inputs: shapes 1x3x16x16, 1x3x32x32 don't broadcast",
    ),
    (
        "concat.json",
        net(a=[3, 2, 1], b={"op": "concat", "inputs": ["a", "input"]}),
        "layers.b.inputs: shapes 1x3x16x16, 1x3x32x32 differ",
    ),
    ("groups.json", conv(groups=2), "layers.a.groups: 2 does not divide the input's 3 channels"),
    # the graph
    (
        "cycle.json",
        net(a={"op": "relu", "inputs": "b"}, b="relu"),
        "layers.b.inputs: a cycle: a → b",
    ),
    ("self.json", net(a={"op": "relu", "inputs": "a"}), "layers.a.inputs: a cycle: a → a"),
    (
        "missing.json",
        net(conv1=[3, 1, 1], a={"op": "relu", "inputs": "conv2"}),
        "layers.a.inputs: there is no layer 'conv2'; did you mean 'conv1'?",
    ),
    (
        "no-inputs.json",
        net(a={"op": "relu", "inputs": []}),
        "layers.a.inputs: expected a name or a",
    ),
    ("null-inputs.json", net(a={"op": "relu", "inputs": None}), "layers.a.inputs: expected a name"),
    (
        "odd-inputs.json",
        net(a={"op": "relu", "inputs": [["x"]]}),
        "layers.a.inputs: there is no la",
    ),
    ("arity.json", conv(inputs=["input", "input"]), "layers.a.inputs: conv reads 1 tensor, got 2"),
    (
        "out.json",
        dump({"layers": {"a": "relu"}, "outputs": ["b"]}),
        "outputs: there is no layer 'b'",
    ),
    ("out-list.json", dump({"layers": {"a": "relu"}, "outputs": [["a"]]}), "outputs: there is no"),
    ("out-num.json", dump({"layers": {"a": "relu"}, "outputs": 3}), "outputs: expected a list"),
    (
        "both.json",
        dump({"input": [3, 8], "inputs": {"x": [3, 8]}, "layers": {"a": "relu"}}),
        "inputs: give either input or inputs",
    ),
    ("inputs.json", dump({"inputs": ["a"], "layers": {"a": "relu"}}), "inputs: expected a mapping"),
    # depth and weight
    ("deep.json", b"[" * 100_000, "nested more than 64 levels deep"),
    ("deep.yaml", b"[" * 100_000, "line 1, column 65: nested more than 64 levels deep"),
    ("deep.toml", b"a = " + b"[" * 100_000, "nested more than 64 levels deep"),
    ("dotted.toml", b".".join([b"a"] * 100_000) + b" = 1", "nested more than 64 levels deep"),
    ("steps.yaml", b"\n".join(b" " * k + b"-" for k in range(100)), "line 65, column 65: nested"),
    ("bomb.yaml", BOMB.encode(), "line 6, column 29: more than 1000000 values once aliases"),
    ("recursive.yaml", b"layers: &a {b: *a}", "line 1, column 16: the alias 'a' contains itself"),
    ("recursive-list.yaml", b"&a [*a]", "line 1, column 5: the alias 'a' contains itself"),
]


def refused(folder: Path, name: str, *args: str) -> str:
    """What the one line on stderr says, after the program's name."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        result = CliRunner().invoke(main, ["show", name, *args])
    finally:
        os.chdir(before)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.isprintable() and len(line) <= 600
    assert line.startswith("eyeshot: ")
    return line.removeprefix("eyeshot: ")


@pytest.mark.parametrize(("name", "content", "why"), FILES, ids=[name for name, _, _ in FILES])
def test_file(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    # A size, for the specs that have none; what is wrong with the file is said first.
    args = [] if b"input" in content else ["--input", "3x32x32"]
    line = refused(tmp_path, name, *args)
    assert line.startswith(f"{name}: {why}"), line


def test_the_table_has_no_name_twice() -> None:
    assert len({name for name, _, _ in FILES}) == len(FILES)


@pytest.mark.parametrize("name", ["net.yaml", "net.json", "net.toml"])
def test_paths(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path, name) == f"{name}: No such file or directory"
    (tmp_path / name).mkdir()
    assert refused(tmp_path, name) == f"{name}: Is a directory"
    assert refused(tmp_path, f"{name}/x.yaml").startswith(f"{name}/x.yaml: No such file")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("a: relu")
    (tmp_path / "net.yaml").chmod(0)
    assert refused(tmp_path, "net.yaml") == "net.yaml: Permission denied"


@pytest.mark.parametrize("source", ["net.txt", "net", ".", "", "net.onnxx", "http://x"])
def test_other_sources(source: str, tmp_path: Path) -> None:
    assert "not a source that eyeshot reads" in refused(tmp_path, source)


def test_a_strange_path(tmp_path: Path) -> None:
    """The name of a file reaches the terminal too."""
    assert "\x1b" not in refused(tmp_path, "\x1b[31m\n.yaml")
    assert refused(tmp_path, "x" * 5000 + ".yaml").endswith("...")
    with pytest.raises(eyeshot.SpecError, match="no path"):
        eyeshot.analyze("a\0b.yaml")


def test_unknown_example(tmp_path: Path) -> None:
    assert refused(tmp_path, "example:resnet8").startswith("there is no example 'resnet8'; did you")
    assert "alexnet, five-by-five" in refused(tmp_path, "example:")


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        ("", "expected a shape like 3x224x224, got ''"),
        ("x", "expected a shape like"),
        ("3x", "expected a shape like"),
        ("3x-1x3", "expected a shape like"),
        ("3x1e3", "expected a shape like"),
        ("nan", "expected a shape like"),
        ("3x0x3", "a size must be a whole number from 1 to 2^40, got 0"),
        ("3x2000000000000", "a size must be a whole number"),
        ("9" * 5000, "expected a shape like"),
        ("x".join("1" * 17), "a shape of 17 numbers"),
    ],
)
def test_input_option(given_: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "net.json").write_bytes(net(a="relu"))
    assert refused(tmp_path, "net.json", "--input", given_).startswith(f"input: {why}")


def test_input_options(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(net(a="relu"))
    (tmp_path / "two.json").write_bytes(
        dump({"inputs": {"l": [3, 8], "r": [3, 8]}, "layers": {"a": "relu"}})
    )
    (tmp_path / "axes.yaml").write_text("axes: 2\nlayers: {a: relu}")
    (tmp_path / "none.yaml").write_text("layers: {a: relu}")

    def say(name: str, *values: str) -> str:
        return refused(tmp_path, name, *(x for value in values for x in ("--input", value)))

    assert say("one.json", "l=3x8") == "input 'l': one.json has no such input"
    assert say("one.json", "inpt=3x8").endswith("no such input; did you mean 'input'?")
    assert say("one.json", "3x8x8", "3x8x8") == (
        "--input 3x8x8: with several inputs write NAME=3x8x8"
    )
    assert say("two.json", "3x8") == (
        "input: two.json has 2 inputs (l, r); give a size by name for each"
    )
    assert say("two.json", "l=3x8", "l=3x8") == "--input l=3x8: 'l' is given twice"
    assert say("two.json", "l=").startswith("input l: expected a shape")
    assert say("axes.yaml", "3x8x8x8x8").startswith("input: 3x8x8x8x8 does not fit")
    assert say("axes.yaml", "1x1x1x8x8") == "input: 1x1x1x8x8 does not fit a spec of 2 axes"
    assert say("none.yaml").startswith("none.yaml: the size of input is not known; give one")


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ({"a": [10**5000, 1, 1]}, "spec: a.kernel: "),
        ({"a": {"op": 10**5000}}, "spec: a.op: unknown operator a huge number"),
        ({10**5000: "relu"}, "spec: a layer's name must be a text, got a huge number"),
        ({"a": {"op": "upsample", "scale": 10**5000}}, "spec: a.scale: "),
        ({"a": float("nan")}, "spec: a: expected an operator"),
        ({"a": object()}, "spec: a: expected an operator"),
        ({"a": b"relu"}, "spec: a: expected an operator"),
        ({("a",): "relu"}, "spec: a layer's name must be a text"),
    ],
)
def test_dicts(layers: Any, why: str) -> None:
    with pytest.raises(eyeshot.SpecError) as caught:
        eyeshot.analyze(layers, input=32)
    assert str(caught.value).startswith(why)
    assert "\n" not in str(caught.value)


def test_lists_in_lists() -> None:
    inner: list = []
    for _ in range(100_000):
        inner = [inner]
    for layers in ({"a": inner}, {"a": {"op": inner}}, {"a": {"op": "conv", "kernel": inner}}):
        with pytest.raises(eyeshot.SpecError):
            eyeshot.analyze(layers, input=32)
    loop: list = []
    loop.append(loop)
    with pytest.raises(eyeshot.SpecError):
        eyeshot.analyze({"a": {"op": "conv", "kernel": loop}}, input=32)
    mapping: dict = {"op": "relu"}
    mapping["inputs"] = mapping
    with pytest.raises(eyeshot.SpecError):
        eyeshot.analyze({"a": mapping}, input=32)


# --- too much


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_million_layers(suffix: str, tmp_path: Path) -> None:
    """Refused before anything is computed."""
    line = "{}{}: [1,1,0]{}\n" if suffix == "yaml" else '"{}{}":[1,1,0]{}'
    begin, end = ("", "") if suffix == "yaml" else ("{", "}")
    count = 1_000_000
    parts = [line.format("a", f"{k:x}", "," if suffix == "json" else "") for k in range(count)]
    text = (begin + "".join(parts)).rstrip(",") + end
    file = tmp_path / f"net.{suffix}"
    file.write_text(text)
    begun = time.perf_counter()
    said = refused(tmp_path, file.name, "--input", "8")
    assert time.perf_counter() - begun < 20
    assert "more than" in said or "larger than 16 MiB" in said


def test_more_layers_than_allowed(tmp_path: Path) -> None:
    text = json.dumps({f"l{k}": [1, 1, 0] for k in range(200_001)})
    (tmp_path / "net.json").write_text(text)
    assert refused(tmp_path, "net.json", "--input", "8") == (
        "net.json: 200001 layers are more than 200000, the most for a spec"
    )


def test_as_many_layers_as_allowed_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text("".join(f"l{k}: {{op: relu, inputs: input}}\n" for k in range(200_000)))
    begun = time.perf_counter()
    content = frontend.load(file)
    assert len(content) == 200_000
    assert time.perf_counter() - begun < 20


def test_a_large_file(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_bytes(b"#" * (16 << 20) + b"\n")
    assert refused(tmp_path, "net.yaml") == "net.yaml: larger than 16 MiB, the most for a spec"


def test_many_late_inputs() -> None:
    """Sorting the layers takes linear time."""
    count = 20_000
    last = {f"l{k}": {"op": "relu", "inputs": "input"} for k in range(count)}
    layers = {"sum": {"op": "add", "inputs": list(last)}, **last}
    begun = time.perf_counter()
    report = eyeshot.analyze({"input": [1, 8], "layers": layers})
    assert report[-1].name == "sum" and report["sum"].size == (1,)
    chain = {f"l{k}": {"op": "relu", "inputs": f"l{k + 1}"} for k in range(count)}
    chain[f"l{count}"] = {"op": "relu", "inputs": "input"}
    assert len(eyeshot.analyze({"input": [1, 8], "layers": chain})) == count + 1
    assert time.perf_counter() - begun < 20


# --- YAML is read as PyYAML reads it, less what has no meaning in a spec


@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(path(name).read_text(encoding="utf-8"), id=name) for name in names()),
        "a: &x {b: 1, c: [1, 2]}\nd: {<<: *x, c: 5}\ne: *x",
        "<<: [{a: 1}, {a: 2, b: 3}]\nb: 9",
        "'<<': 3",
        "- 1_000\n- 0x1F\n- 017\n- 1e3\n- 1.0e+3\n- .inf\n- ~\n- yes\n- 1:30\n- 0b11",
        "- !!str 12\n- !!int '3'\n- !!float 3\n- !!bool yes\n- !!null ''\n- !!seq [1]",
        "- ''\n-\n- null\n- \"\\u00e9\"\n- 'it''s'\n- |\n  text\n  more\n- >-\n  folded\n  text",
        "%YAML 1.1\n--- a\n...\n",
        "[]",
        "{}",
        "plain",
    ],
)
def test_yaml_values(text: str, tmp_path: Path) -> None:
    import yaml

    file = tmp_path / "net.yaml"
    file.write_text(text, encoding="utf-8")
    expected = yaml.safe_load(text)
    assert frontend.load(file) == expected
    assert repr(frontend.load(file)) == repr(expected)  # True is not 1


def test_yaml_dates_are_texts(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("a: 2001-12-14\nb: [<<]\nc: =")
    assert frontend.load(tmp_path / "net.yaml") == {"a": "2001-12-14", "b": ["<<"], "c": "="}


# --- anything at all: an EyeshotError or success

FUZZ = settings(
    max_examples=int(os.environ.get("EYESHOT_FUZZ_INPUT", "150")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SUFFIXES = st.sampled_from([".yaml", ".json", ".toml"])


def attempt(source: Any, size: Any = None) -> None:
    """Analyse it; only EyeshotError may come out, with one line."""
    try:
        report = eyeshot.analyze(source, input=size)
        report.to_json()
        str(report)
        if len(report) and math.prod(report[-1].shape) < 100_000:
            report[-1].boxes()
            report[-1].box((0,) * len(report[-1].unit_dims))
    except eyeshot.EyeshotError as error:
        assert str(error).splitlines() == [str(error)] or "\x1b" in repr(source)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@FUZZ
@given(st.binary(max_size=200), SUFFIXES)
def test_random_bytes(folder: Path, content: bytes, suffix: str) -> None:
    file = folder / f"net{suffix}"
    file.write_bytes(content)
    attempt(file, 8)


PIECES = """
[ ] { } , : &x *x !!int <<: ? ' " | > # % 1 0x yes ~ .inf 1:1 a b: - \\x relu layers: input: inputs:
""".split()
SPACED = [
    *PIECES,
    *(f"{piece} " for piece in PIECES),
    "op: conv",
    "kernel: 3",
    "---\n",
    "\n",
    "\n  ",
]
YAML_BITS = st.lists(
    st.sampled_from([*SPACED, " ", "\t"]),
    max_size=30,
).map("".join)


@FUZZ
@given(YAML_BITS, SUFFIXES)
def test_random_pieces(folder: Path, text: str, suffix: str) -> None:
    file = folder / f"net{suffix}"
    file.write_text(text, encoding="utf-8")
    attempt(file, 8)


def toml(spec: dict[str, Any]) -> str:
    def value(x: Any) -> str:
        if isinstance(x, dict):
            return "{" + ", ".join(f"{json.dumps(k)} = {value(v)}" for k, v in x.items()) + "}"
        if isinstance(x, list):
            return "[" + ", ".join(map(value, x)) + "]"
        return json.dumps(x)

    top = [f"{key} = {value(x)}" for key, x in spec.items() if key != "layers"]
    layers = [f"{json.dumps(key)} = {value(x)}" for key, x in spec["layers"].items()]
    return "\n".join([*top, "[layers]", *layers, ""])


SMALL = ["alexnet", "five-by-five", "patchgan", "resnet18", "unet", "vgg16"]


def text_of(name: str, suffix: str) -> str:
    if suffix == ".yaml":
        return path(name).read_text(encoding="utf-8")
    spec = frontend.load(path(name))
    return json.dumps(spec, indent=1) if suffix == ".json" else toml(spec)


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".toml"])
@pytest.mark.parametrize("name", SMALL)
def test_three_formats_of_an_example(name: str, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"net{suffix}"
    file.write_text(text_of(name, suffix), encoding="utf-8")
    assert str(eyeshot.analyze(file)) == str(eyeshot.analyze(f"example:{name}"))


@FUZZ
@given(
    st.sampled_from(SMALL),
    SUFFIXES,
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 8), st.text(max_size=3)),
        min_size=1,
        max_size=4,
    ),
)
def test_mutated_files(folder: Path, name: str, suffix: str, edits: list) -> None:
    text = text_of(name, suffix)
    for at, gone, new in edits:
        at %= len(text) + 1
        text = text[:at] + new + text[at + gone :]
    file = folder / f"net{suffix}"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    attempt(file)


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([2**40, 2**40 + 1, HUGE, -HUGE]),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(["relu", "a", "b", "input", "conv", "same", "causal", "nearest", "window"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = sorted(
    {name for op in frontend.operators.OPERATORS.values() for name in op.__struct_fields__}
)
LAYERS = st.one_of(
    VALUES,
    st.lists(st.integers(-1, 5), min_size=3, max_size=3),
    st.sampled_from(sorted(frontend.operators.OPERATORS)).flatmap(
        lambda op: st.fixed_dictionaries(
            {"op": st.just(op)},
            optional={
                **{
                    name: VALUES | st.integers(1, 5)
                    for name in frontend.operators.OPERATORS[op].__struct_fields__
                },
                "inputs": st.sampled_from(["a", "b", "input", ["a", "b"], ["input"], []]) | VALUES,
            },
        )
    ),
)
NAMES = st.sampled_from(["a", "b", "c", "input", "layers", ""]) | st.text(max_size=2)
SPECS = st.one_of(
    VALUES,
    st.dictionaries(NAMES, LAYERS, max_size=4),
    st.fixed_dictionaries(
        {"layers": st.dictionaries(NAMES, LAYERS, max_size=4) | st.lists(LAYERS, max_size=3)},
        optional={
            "input": st.sampled_from([[3, 8], [4, 8, 8], [1, 2, 3, 4], 8, "3x8x8"]) | VALUES,
            "inputs": st.dictionaries(NAMES, VALUES, max_size=2) | VALUES,
            "axes": st.integers(0, 3) | VALUES,
            "outputs": VALUES,
            "name": VALUES,
        },
    ),
)
SIZES = st.sampled_from([None, 8, "3x8x8", (1, 4, 8, 8), {"a": 8}, True, 2**41, 1.5]) | VALUES


@settings(FUZZ, max_examples=4 * FUZZ.max_examples)
@given(SPECS, SIZES)
def test_random_specs(spec: Any, size: Any) -> None:
    before = copy.deepcopy(spec)
    with contextlib.suppress(eyeshot.EyeshotError):
        attempt(spec, size)
    assert repr(before) == repr(spec)  # a spec is not changed by reading it
