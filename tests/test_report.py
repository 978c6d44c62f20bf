"""The report's contract: access, shapes, exact numbers, exports."""

from __future__ import annotations

import csv
import io
import json
import math
from fractions import Fraction
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import jsonschema
import numpy as np
import pytest

import eyeshot
from eyeshot.examples import names
from eyeshot.views.terminal import render

STACK = {"conv1": [3, 2, 1], "conv2": [3, 2, 1]}
#: A little of everything that is unlike a plain stack.
ODD: dict[str, dict[str, Any]] = {
    "gate": {
        "input": [8, 32, 32],
        "layers": {
            "conv": {"op": "conv", "kernel": 3, "padding": 1},
            "pool": "global_avg_pool",
            "gate": "sigmoid",
            "out": {"op": "mul", "inputs": ["conv", "gate"]},
        },
    },
    "classifier": {
        "input": [3, 32, 32],
        "layers": {
            "conv": {"op": "conv", "kernel": 3},
            "pool": "global_avg_pool",
            "flat": "flatten",
            "head": {"op": "linear", "features": 10},
        },
    },
    "tokens": {
        "input": [3, 32, 48],
        "layers": {
            "patch": {"op": "conv", "kernel": 8, "stride": 8, "channels": 4},
            "flat": {"op": "flatten", "start": 2},
            "tokens": {"op": "permute", "order": [0, 2, 1]},
            "mlp": {"op": "linear", "features": 7},
            "attention": {"op": "attention", "dims": 1},
        },
    },
    "empty": {
        "input": [1, 5],
        "layers": {
            "up": {"op": "conv_transpose", "kernel": 1, "stride": 2},
            "holes": {"op": "slice", "dim": 2, "start": 1, "step": 2},
        },
    },
    "recurrent": {
        "input": [4, 100],
        "layers": {"lstm": "lstm", "conv": {"op": "conv", "kernel": 3, "stride": 2}},
    },
    "both ways": {
        "input": [4, 100],
        "layers": {"gru": {"op": "gru", "bidirectional": True}},
    },
    "two inputs": {
        "inputs": {"left": [3, 32, 32], "right": [3, 16, 16]},
        "layers": {
            "a": {"op": "conv", "kernel": 3, "stride": 2, "padding": 1, "inputs": "left"},
            "b": {"op": "conv", "kernel": 5, "padding": 2, "inputs": "right"},
            "sum": {"op": "add", "inputs": ["a", "b"]},
        },
    },
    "unknown": {
        "input": [3, 8, 8],
        "layers": {
            "conv": {"op": "conv", "kernel": 3},
            "mystery": {"op": "opaque", "function": "foo.bar"},
            "after": "relu",
        },
    },
    "no closed form": {
        "input": [3, 8, 8],
        "layers": {
            "conv": {"op": "conv", "kernel": 3, "padding": 1},
            "cat": {"op": "concat", "dim": 2, "inputs": ["conv", "input"]},
        },
    },
    "third": {"input": [1, 9], "layers": {"up": {"op": "upsample", "scale": 3}}},
    "flipped": {"input": [1, 9], "layers": {"flip": "flip"}},
    "three axes": {
        "input": [1, 9, 10, 11],
        "layers": {"conv": {"op": "conv", "kernel": [1, 2, 3]}},
    },
}
SOURCES: dict[str, Any] = {**{f"example:{name}": f"example:{name}" for name in names()}, **ODD}


@pytest.fixture(params=list(SOURCES), name="any_report", scope="module")
def _any_report(request: pytest.FixtureRequest) -> eyeshot.Report:
    return eyeshot.analyze(SOURCES[request.param])


# --- access


def test_access() -> None:
    report = eyeshot.analyze(STACK, input=5)
    assert len(report) == 2
    assert [layer.name for layer in report] == ["conv1", "conv2"]
    assert report[0].name == report[-2].name == report["conv1"].name == "conv1"
    assert report[-1].name == report[1].name == "conv2"
    assert [layer.name for layer in report.layers] == ["conv1", "conv2"]
    assert [layer.name for layer in report.outputs] == ["conv2"]
    assert "conv1" in report and "conv3" not in report and 0 not in report
    assert list(report.inputs) == [{"name": "input", "shape": [1, 1, 5], "axes": [2]}]
    for key in (2, -3):
        with pytest.raises(IndexError):
            report[key]


def test_unknown_layer() -> None:
    report = eyeshot.analyze(STACK, input=5)
    with pytest.raises(
        eyeshot.UnknownLayerError, match=r"conv3.*did you mean 'conv[12]'"
    ) as caught:
        report["conv3"]
    assert isinstance(caught.value, KeyError) and isinstance(caught.value, eyeshot.EyeshotError)
    assert not str(caught.value).startswith(("'", '"'))


def test_outputs() -> None:
    layers = {"a": "relu", "b": {"op": "conv", "kernel": 3}, "c": {"op": "relu", "inputs": "a"}}
    assert [x.name for x in eyeshot.analyze({"input": [3, 9], "layers": layers}).outputs] == [
        "b",
        "c",
    ]
    chosen = {"input": [3, 9], "layers": layers, "outputs": ["c", "a"]}
    assert [x.name for x in eyeshot.analyze(chosen).outputs] == ["c", "a"]


def test_layers_run_after_what_they_read() -> None:
    layers = {"last": {"op": "relu", "inputs": "first"}, "first": {"op": "relu", "inputs": "input"}}
    report = eyeshot.analyze({"input": [3, 9], "layers": layers})
    assert [layer.name for layer in report] == ["first", "last"]


def test_frozen() -> None:
    report = eyeshot.analyze(STACK, input=5)
    layer = report["conv1"]
    with pytest.raises(AttributeError):
        report.title = "x"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        layer.name = "x"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        layer.size = (1,)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        layer.fields[0].size = 1  # type: ignore[misc]


def test_answers_are_copies() -> None:
    report = eyeshot.analyze(STACK, input=5)
    report["conv2"].boxes()[:] = 99
    report.to_dict()["layers"].clear()
    assert report["conv2"].boxes().tolist() == [[[0, 4]], [[1, 5]]]
    assert len(report.to_dict()["layers"]) == 2


def test_repr() -> None:
    report = eyeshot.analyze(STACK, input=5)
    assert repr(report) == "<eyeshot.Report of 2 layers, input input 1x1x5, exact>"
    assert repr(report["conv1"]) == (
        "Layer('conv1', op='window', shape=(1, 1, 3), size=(3,), jump=('2',))"
    )


# --- values


def test_values() -> None:
    layer = eyeshot.analyze(STACK, input=5)["conv2"]
    assert layer.shape == (1, 1, 2)
    assert layer.op == "window"
    assert layer.size == (7,)
    assert layer.jump == (4,)
    assert layer.start == (Fraction(1, 2),)
    assert layer.padding == (3,)
    assert layer.status == "exact"
    assert layer.is_global is False
    assert layer.unit_dims == (2,)
    (field,) = layer.fields
    assert field.canvas == eyeshot.Canvas(period=1, advance=4, begin=(-3,), end=(4,))
    assert (field.input, field.axis, field.dim, field.n) == ("input", 2, 2, 2)


def test_fractions_stay_exact() -> None:
    layer = eyeshot.analyze(ODD["third"])["up"]
    assert layer.jump == (Fraction(1, 3),)
    assert layer.to_dict()["fields"][0]["jump"] == pytest.approx(1 / 3)
    deep = {f"up{k}": {"op": "upsample", "scale": 3} for k in range(5)}
    assert eyeshot.analyze({"input": [1, 2], "layers": deep})[-1].jump == (Fraction(1, 243),)


def test_an_axis_each() -> None:
    layer = eyeshot.analyze(ODD["three axes"])["conv"]
    assert layer.size == (1, 2, 3)
    assert layer.unit_dims == (2, 3, 4)
    assert layer.boxes().shape == (9, 9, 9, 3, 2)


def test_unit_dims() -> None:
    gate = eyeshot.analyze(ODD["gate"])
    assert gate["conv"].unit_dims == (2, 3)
    assert gate["pool"].unit_dims == gate["gate"].unit_dims == ()
    assert gate["out"].unit_dims == (2, 3)

    classifier = eyeshot.analyze(ODD["classifier"])
    assert [classifier[name].unit_dims for name in ("pool", "flat", "head")] == [(), (), ()]
    assert classifier["head"].fields[0].dim is None

    tokens = eyeshot.analyze(ODD["tokens"])
    assert tokens["patch"].unit_dims == (2, 3)
    assert tokens["flat"].unit_dims == (2,)
    assert tokens["tokens"].unit_dims == tokens["mlp"].unit_dims == (1,)
    assert tokens["attention"].unit_dims == (1,)


def test_global() -> None:
    gate = eyeshot.analyze(ODD["gate"])
    assert [layer.is_global for layer in gate] == [False, True, True, True]
    assert gate["out"].size == (3, 3)
    assert gate["out"].box((0, 0)) == ((-1, 2), (-1, 2))
    assert (gate["out"].boxes() == [[0, 32], [0, 32]]).all()
    assert gate["pool"].size == (32, 32)
    assert gate["pool"].boxes().tolist() == [[0, 32], [0, 32]]
    assert gate.status == "exact"


def test_tokens_know_their_patch() -> None:
    """The token k of a 4 by 6 grid is the patch (k // 6, k % 6)."""
    layer = eyeshot.analyze(ODD["tokens"])["mlp"]
    for k in range(24):
        row, column = divmod(k, 6)
        expected = ((8 * row, 8 * row + 8), (8 * column, 8 * column + 8))
        assert layer.box((k,)) == expected
        assert tuple(map(tuple, layer.boxes()[k])) == expected


def test_empty_fields() -> None:
    report = eyeshot.analyze(ODD["empty"])
    up, holes = report["up"], report["holes"]
    assert up.box((1,)) == ((0, 0),)
    assert up.box((2,)) == ((1, 2),)
    assert up.boxes()[:, 0].tolist()[:3] == [[0, 1], [0, 0], [1, 2]]
    assert holes.size == (0,)
    assert holes.padding == holes.start == (None,)
    assert not holes.boxes().any()


def test_unbounded_fields() -> None:
    layer = eyeshot.analyze(ODD["recurrent"])["conv"]
    assert layer.size == (math.inf,)
    assert layer.box((2,)) == ((-math.inf, 7),)
    assert layer.boxes()[2].tolist() == [[0, 7]]
    field = layer.to_dict()["fields"][0]
    assert field["size"] is None and field["padding"] is None and field["start"] is None
    assert field["canvas"] == {"period": 1, "advance": 2, "begin": [None], "end": [3]}


def test_no_closed_form() -> None:
    layer = eyeshot.analyze(ODD["no closed form"])["cat"]
    assert layer.fields[0].canvas is None
    assert layer.status == "exact"
    assert layer.box((0, 0)) == ((0, 2), (-1, 2))  # exact inside the input where there is no canvas
    assert layer.box((9, 0))[0] == (1, 2)


def test_several_inputs() -> None:
    report = eyeshot.analyze(ODD["two inputs"])
    assert [(f.input, f.axis) for f in report["sum"].fields] == [
        ("left", 2),
        ("left", 3),
        ("right", 2),
        ("right", 3),
    ]
    assert report["sum"].size == (3, 3, 5, 5)
    assert report["sum"].jump == (2, 2, 1, 1)
    assert report["a"].size == (3, 3, 0, 0)
    assert report["sum"].boxes().shape == (16, 16, 4, 2)
    assert report["sum"].boxes()[1, 2].tolist() == [[1, 4], [3, 6], [0, 4], [0, 5]]
    resized = eyeshot.analyze(ODD["two inputs"], input={"left": (1, 3, 64, 64), "right": "3x32x32"})
    assert resized["sum"].shape == (1, 3, 32, 32)


# --- boxes


def test_box_and_boxes_of_everything(any_report: eyeshot.Report) -> None:
    for layer in any_report:
        units = tuple(layer.shape[dim] for dim in layer.unit_dims)
        boxes = layer.boxes()
        assert boxes.shape == (*units, len(layer.fields), 2)
        assert np.issubdtype(boxes.dtype, np.integer)
        assert (boxes[..., 0] <= boxes[..., 1]).all()
        assert (boxes >= 0).all()
        for k, field in enumerate(layer.fields):
            (given,) = [i for i in any_report.inputs if i["name"] == field.input]
            assert (boxes[..., k, 1] <= given["shape"][field.axis]).all()
        for at in {(0,) * len(units), tuple(n - 1 for n in units), tuple(n // 2 for n in units)}:
            box = layer.box(at)
            assert len(box) == len(layer.fields)
            for (begin, end), (low, high), field in zip(
                box, boxes[at].tolist(), layer.fields, strict=True
            ):
                # Inside the input, padding is dropped and global context is added.
                if field.is_global:
                    assert low <= max(begin, 0) and high >= min(end, high)
                elif low < high:
                    assert begin <= low and high <= end


def test_box_index() -> None:
    layer = eyeshot.analyze("example:five-by-five")["layer2"]
    assert layer.box((1, 0)) == ((1, 8), (-3, 4))
    for at in ((2, 0), (0, 2), (-1, 0)):
        with pytest.raises(IndexError, match="layer2"):
            layer.box(at)
    for at in ((), (0,), (0, 0, 0), 0):
        with pytest.raises(eyeshot.EyeshotError, match=r"layer2.*2 indices"):
            layer.box(at)
    one = eyeshot.analyze(STACK, input=5)["conv2"]
    assert one.box(1) == one.box((1,)) == one.box([1]) == ((1, 8),)
    assert eyeshot.analyze(ODD["classifier"])["head"].box() == ((0, 32), (0, 32))
    with pytest.raises(IndexError):
        one.box((2,))


def test_boxes_too_many() -> None:
    report = eyeshot.analyze({"input": [1, 2**20, 2**20], "layers": {"a": "relu"}})
    assert report["a"].size == (1, 1)
    with pytest.raises(eyeshot.EyeshotError, match=r"a: .*boxes"):
        report["a"].boxes()


def test_size_does_not_depend_on_the_input() -> None:
    small = eyeshot.analyze("example:unet", input=(1, 1, 256, 256))
    large = eyeshot.analyze("example:unet", input=(1, 1, 2**30, 2**30))
    for a, b in zip(small, large, strict=True):
        assert (a.size, a.jump, a.start) == (b.size, b.jump, b.start)
        assert [f.canvas for f in a.fields] == [f.canvas for f in b.fields]


# --- of, strict, bounds


def test_of() -> None:
    report = eyeshot.analyze("example:alexnet", of="pool1")
    assert report[0].name == "pool1"
    assert report[0].size == (1, 1) and report[0].jump == (1, 1)
    assert report["conv2"].size == (5, 5)
    assert report["pool2"].size == (7, 7) and report["pool2"].jump == (2, 2)
    assert "conv1" not in report
    assert list(report.inputs) == [{"name": "pool1", "shape": [1, 96, 27, 27], "axes": [2, 3]}]


def test_of_lists_what_depends_on_it() -> None:
    report = eyeshot.analyze(ODD["two inputs"], of="a")
    assert [layer.name for layer in report] == ["a", "sum"]


def test_of_tokens() -> None:
    report = eyeshot.analyze(ODD["tokens"], of="mlp")
    assert [layer.name for layer in report] == ["mlp", "attention"]
    assert report["attention"].is_global


def test_of_errors() -> None:
    with pytest.raises(eyeshot.UnknownLayerError, match="did you mean 'pool1'"):
        eyeshot.analyze("example:alexnet", of="pol1")
    with pytest.raises(eyeshot.EyeshotError, match="fc"):
        eyeshot.analyze("example:resnet18", of="fc")


def test_bounds() -> None:
    report = eyeshot.analyze(ODD["unknown"])
    assert report.status == "bound"
    assert [layer.status for layer in report] == ["exact", "bound", "bound"]
    (diagnostic,) = report.diagnostics
    assert diagnostic.code == "unknown-op"
    assert (diagnostic.layer, diagnostic.op) == ("mystery", "foo.bar")
    assert "foo.bar" in diagnostic.message
    assert (report["after"].boxes() == [[0, 8], [0, 8]]).all()


def test_strict() -> None:
    with pytest.raises(eyeshot.StrictError, match=r"^mystery: .*foo\.bar") as caught:
        eyeshot.analyze(ODD["unknown"], strict=True)
    assert isinstance(caught.value, eyeshot.EyeshotError)
    assert eyeshot.analyze("example:alexnet", strict=True).status == "exact"


# --- sources


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json", ".toml"])
def test_files(tmp_path: Any, suffix: str) -> None:
    texts = {
        ".json": '{"conv1": [3, 2, 1], "conv2": [3, 2, 1]}',
        ".toml": "conv1 = [3, 2, 1]\nconv2 = [3, 2, 1]\n",
    }
    path = tmp_path / f"net{suffix}"
    path.write_text(texts.get(suffix, "conv1: [3, 2, 1]\nconv2: [3, 2, 1]\n"), encoding="utf-8-sig")
    for source in (path, str(path)):
        report = eyeshot.analyze(source, input=5)
        assert report["conv2"].size == (7,)
        assert report.title == path.name


def test_other_sources_are_refused() -> None:
    with pytest.raises(eyeshot.EyeshotError, match="the model: not an ONNX model"):
        eyeshot.analyze(b"net.yaml")
    for source in (3, None, ["a"], object()):
        with pytest.raises(
            eyeshot.EyeshotError, match=r"can't read .*: expected a PyTorch module, a spec"
        ):
            eyeshot.analyze(source)


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ((1, 3, 64, 48), (1, 3, 64, 48)),
        ([1, 3, 64, 48], (1, 3, 64, 48)),
        ("3x64x48", (1, 3, 64, 48)),
        ("3×64×48", (1, 3, 64, 48)),
        ("3, 64, 48", (1, 3, 64, 48)),
        ("64x48", (1, 3, 64, 48)),
        ("64", (1, 3, 64, 64)),
        (64, (1, 3, 64, 64)),
        ({"input": "3x64x48"}, (1, 3, 64, 48)),
    ],
)
def test_shapes(given: Any, shape: tuple[int, ...]) -> None:
    spec = {"input": [3, 32, 32], "layers": {"a": "relu"}}
    assert eyeshot.analyze(spec, input=given)["a"].shape == shape


def test_shapes_of_one_axis() -> None:
    assert eyeshot.analyze(STACK, input=5)["conv1"].shape == (1, 1, 3)
    spec = {"axes": 1, "layers": {"a": "relu"}}
    assert eyeshot.analyze(spec, input=(2, 9))["a"].shape == (1, 2, 9)
    assert eyeshot.analyze(spec, input="2x9")["a"].shape == (1, 2, 9)


# --- exports

SCHEMA = json.loads((files("eyeshot") / "schema" / "report-1.json").read_text(encoding="utf-8"))


def test_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_to_dict_follows_the_schema(any_report: eyeshot.Report) -> None:
    content = any_report.to_dict()
    jsonschema.Draft202012Validator(SCHEMA).validate(content)
    assert content["schema"] == "eyeshot.report/1"
    assert [layer["name"] for layer in content["layers"]] == [layer.name for layer in any_report]
    names = [given["name"] for given in content["inputs"]]
    for layer in content["layers"]:
        assert [f["input"] for f in layer["fields"]] == [
            given["name"] for given in content["inputs"] for _ in given["axes"]
        ]
        for field in layer["fields"]:
            assert field["input"] in names
            assert field["n"] in (1, *layer["shape"])
            if field["dim"] is not None:
                assert field["n"] == layer["shape"][field["dim"]]
            if field["canvas"]:
                assert len(field["canvas"]["begin"]) == field["canvas"]["period"]
                assert len(field["canvas"]["end"]) == field["canvas"]["period"]


def test_of_follows_the_schema() -> None:
    for source, of in (("example:unet", "mid.conv2"), (ODD["tokens"], "mlp")):
        content = eyeshot.analyze(source, of=of).to_dict()
        jsonschema.Draft202012Validator(SCHEMA).validate(content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), "approximate"),
        (("schema",), "eyeshot.report/2"),
        (("extra",), 1),
        (("layers", 0, "extra"), 1),
        (("layers", 0, "shape", 0), 1.5),
        (("layers", 0, "fields", 0, "size"), -1),
        (("layers", 0, "fields", 0, "size"), 3.5),
        (("layers", 0, "fields", 0, "size"), "3"),
        (("layers", 0, "fields", 0, "n"), None),
        (("layers", 0, "fields", 0, "dim"), -1),
        (("layers", 0, "fields", 0, "global"), 0),
        (("layers", 0, "fields", 0, "canvas", "period"), 0),
        (("layers", 0, "fields", 0, "canvas", "begin"), []),
        (("layers", 0, "fields", 0, "canvas", "begin", 0), 0.5),
        (("diagnostics",), [{"code": "x"}]),
    ],
)
def test_the_schema_says_no(path: tuple, value: Any) -> None:
    content = eyeshot.analyze("example:five-by-five").to_dict()
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(content)


def test_to_json(any_report: eyeshot.Report) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    for indent in (None, 1):
        text = any_report.to_json(indent)
        assert json.loads(text, parse_constant=refuse) == any_report.to_dict()


def test_to_csv(any_report: eyeshot.Report) -> None:
    rows = list(csv.DictReader(io.StringIO(any_report.to_csv())))
    fields = [(layer, field) for layer in any_report for field in layer.fields]
    assert len(rows) == len(fields)
    for row, (layer, field) in zip(rows, fields, strict=True):
        assert row["layer"] == layer.name
        assert row["shape"] == "x".join(map(str, layer.shape))
        for key, value in field.to_dict().items():
            if key == "canvas":
                assert key not in row
            elif value is None:
                assert row[key] == ""
            elif isinstance(value, bool):
                assert row[key] == str(value).lower()
            else:
                assert type(value)(row[key]) == value


def test_to_pandas() -> None:
    frame = eyeshot.analyze("example:alexnet").to_pandas()
    assert list(frame["layer"].unique())[:2] == ["conv1", "pool1"]
    assert frame.shape == (20, 13)
    last = frame[frame["layer"] == "fc7-conv"].iloc[0]
    assert (last["size"], last["jump"], last["start"]) == (355, 32.0, 113.5)
    odd = eyeshot.analyze(ODD["recurrent"]).to_pandas()
    assert odd["size"].isna().all()


EVIL = {
    "inputs": {"<b>in</b>|": [3, 8, 8]},
    "name": "<script>alert(1)</script> | `x` \x1b[31m",
    "layers": {
        "<img src=x onerror=alert(1)>": {"op": "conv", "kernel": 3},
        "a|b": "relu",
        "*bold* _x_ `code` [link](http://x)": "relu",
        "quote\"'&amp;": "relu",
        "=1+1,2": "relu",
        "new [red]markup[/red]": {"op": "opaque", "function": "<i>op</i>|"},
    },
}


def test_html_is_escaped() -> None:
    html = eyeshot.analyze(EVIL)._repr_html_()
    tags: set[str] = set()
    text: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list) -> None:
            tags.add(tag)
            assert {key for key, _ in attrs} <= {"style"}

        def handle_data(self, data: str) -> None:
            text.append(data)

    reader = Reader()
    reader.feed(html)
    reader.close()
    assert tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    for name in EVIL["layers"]:
        assert name in text


def test_markdown_is_escaped() -> None:
    text = eyeshot.analyze(EVIL).to_markdown()
    assert "\x1b" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for line in lines:
        assert line.replace("\\|", "").count("|") == 8, line
    assert len(lines) == 2 + len(EVIL["layers"])
    for line in text.splitlines():
        bare = line.replace("\\\\", "")
        assert "<" not in bare.replace("\\<", "") and "`" not in bare.replace("\\`", "")
    assert r"\[link\](http://x)" in text


def test_csv_quotes() -> None:
    rows = list(csv.DictReader(io.StringIO(eyeshot.analyze(EVIL).to_csv())))
    assert {row["layer"] for row in rows} == set(EVIL["layers"])


def test_text_is_plain() -> None:
    report = eyeshot.analyze(EVIL)
    assert "\x1b" not in str(report)
    text = render(report, report)
    assert "\x1b" not in text
    for name in EVIL["layers"]:
        assert f"\n{name} " in text
    assert "[red]" in text
