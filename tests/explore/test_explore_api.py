"""The questions and their answers, and sources that are no sources."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eyeshot

ALEX = {"source": {"kind": "example", "name": "alexnet"}}


def spec(text: str, form: str = "yaml", **more: Any) -> dict[str, Any]:
    return {"source": {"kind": "spec", "text": text, "format": form}, **more}


def error(answer: httpx.Response, status: int = 200) -> str:
    """The one line of an error. An unusable source is status 200 all the same, with ``error`` inside."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    message: str = answer.json()["error"]["message"]
    assert message and "\n" not in message and len(message) <= 1000
    for hidden in (sys.prefix, str(Path(eyeshot.__file__).parent), "Traceback", "/tmp", ".py"):
        assert hidden not in message
    return message


# --- answers


def test_the_catalog(server: Any) -> None:
    from eyeshot.examples import names, path

    found = server.client.get("/api/catalog").json()
    assert [entry["name"] for entry in found["examples"]] == names()
    for entry in found["examples"]:
        assert entry["text"] == path(entry["name"]).read_text(encoding="utf-8")
        assert entry["title"] == eyeshot.analyze(f"example:{entry['name']}").title
    assert "resnet50" in found["zoos"]["torchvision"] and "convnext_tiny" in found["zoos"]["timm"]
    assert found["given"]["title"] == "example:five-by-five" and found["given"]["input"] == "1x9x9"
    assert found["given"]["spec"] == path("five-by-five").read_text(encoding="utf-8")
    assert found["lesson"]["schema"] == "eyeshot.page/1"
    assert set(found["limits"]) == {"upload", "spec", "seconds"}
    assert found["version"] == eyeshot.__version__


def test_analyze_and_check(server: Any) -> None:
    from eyeshot.views.web.page import page

    report = eyeshot.analyze("example:wavenet", "1x5000")
    ask = {"source": {"kind": "example", "name": "wavenet"}, "input": "1x5000", "rate": 16000}
    assert server.post("analyze", ask).json()["page"] == page(report, rate=16000)
    assert server.post("check", ask).json() == {"findings": eyeshot.check(report).to_dict()}


def test_what_the_command_line_named(server: Any) -> None:
    """With its own input, unless the page asks for another."""
    for size in (None, "1x7x7"):
        answer = server.post("analyze", {"source": {"kind": "given"}, "input": size})
        expected = eyeshot.analyze("example:five-by-five", size or "1x9x9")
        assert answer.json()["page"]["report"] == expected.to_dict()


def test_a_unit(server: Any) -> None:
    text = "inputs: {x: [1, 20, 30], y: [2, 20, 30]}\nlayers:\n"
    text += "  a: {op: conv, kernel: 3, dilation: 4, inputs: x}\n"
    text += "  b: {op: conv, kernel: [9, 9], inputs: y}\n  c: {op: add, inputs: [a, b]}\n"
    found = server.post("unit", {**spec(text), "layer": "c", "unit": [5, 7]}).json()
    from eyeshot.frontends.spec import loads

    unit = eyeshot.analyze(loads(text, "yaml")).unit("c", (5, 7))
    for part in unit.parts:
        (sent,) = [p for p in found["parts"] if p["input"] == part.name]
        assert sent["box"] == [list(pair) for pair in part.box]
        assert sent["clipped"] == [list(pair) for pair in part.clipped]
        shape = sent["mask"]["shape"]
        assert shape == sent["mass"]["shape"] == list(part.mask_in_box.shape)
        bits = np.unpackbits(np.frombuffer(base64.b64decode(sent["mask"]["bits"]), np.uint8))
        np.testing.assert_array_equal(
            bits[: part.mask_in_box.size].reshape(shape), part.mask_in_box
        )
        values = np.frombuffer(base64.b64decode(sent["mass"]["values"]), "<f4").reshape(shape)
        np.testing.assert_allclose(values, part.mass_in_box, rtol=1e-6)
        assert sent["mass"]["total"] == pytest.approx(part.total)
    assert sum(p["mask"]["bits"] != "" for p in found["parts"]) == 2


def test_a_unit_that_sees_too_much(server: Any) -> None:
    text = "input: [1, 3000, 3000]\nlayers: {a: global_avg_pool}"
    message = error(server.post("unit", {**spec(text), "layer": "a", "unit": []}))
    assert "9000000 elements" in message and "4194304" in message


def test_the_report_file(server: Any) -> None:
    answer = server.post("report", ALEX)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-disposition"] == 'attachment; filename="report.html"'
    assert answer.text.startswith("<!doctype html>") and "fc7-conv" in answer.text


def test_the_outline(server: Any) -> None:
    text = "input: [1, 9, 9]\nlayers:\n  a: {op: conv, kernel: 3}\n"
    (layer,) = server.post("outline", {"text": text}).json()["layers"]
    assert text[slice(*layer["keys"]["kernel"]["at"])] == "3"
    assert "expected" in error(server.post("outline", {"text": "a: [3"}))


# --- sources that are none


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "path", "path": "/etc/passwd"},
        {"kind": "spec", "path": "/etc/passwd"},
        {"kind": "spec", "text": "a: [3, 1, 1]", "path": "/etc/passwd"},
        {"kind": "example", "name": "../../../etc/passwd"},
        {"kind": "example", "name": "alexnet.yaml"},
        {"kind": "upload", "id": "../../etc/passwd"},
        {"kind": "upload", "id": "A" * 64},
        {"kind": "model", "zoo": "hf", "name": "config.json"},
        {"kind": "model", "zoo": "os", "name": "system"},
        {"kind": "model", "zoo": "timm", "name": "os:system"},
        {"kind": "model", "zoo": "timm", "name": "hf-hub:evil/model"},
        {"kind": "model", "zoo": "timm", "name": "resnet18?pretrained=True"},
        {"kind": "model", "zoo": "timm", "name": "../resnet18"},
        {"kind": "model", "zoo": "torchvision", "name": "resnet18\n"},
        {"kind": "module", "name": "os:getcwd"},
        {"kind": "given", "source": "os:getcwd"},
        {"kind": None},
        {},
        [],
        "example:alexnet",
        None,
    ],
)
def test_no_other_kind_of_source(server: Any, source: Any) -> None:
    error(server.post("analyze", {"source": source}), 400)


@pytest.mark.parametrize(
    "text",
    [
        *("/etc/passwd", "example:alexnet", "os:getcwd", "torchvision:resnet18", "hf:x.json"),
        *("model.onnx", "[]", "3", "!!python/object/apply:os.system [id]", "!include /etc/passwd"),
        *("layers: !include /etc/passwd", "$ref: /etc/passwd", "null", "", "---\n---\n"),
    ],
)
def test_a_text_is_a_spec_and_nothing_else(server: Any, text: str) -> None:
    message = error(server.post("analyze", spec(text)))
    assert "root:" not in message and "no path" not in message


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"NaN", b'{"source": NaN}', b"\xff\xfe", b'"' + b"a" * 100, b"{}{}"]
    + [b"[" * 50000, b'{"source":' * 5000, b"1" * 5000, b'{"source": {"kind": "spec", "text": "\\ud800"}}']
    + [json.dumps({**ALEX, **more}).encode() for more in (
        {"rate": -1}, {"rate": 0}, {"rate": "1"}, {"input": 3}, {"input": [1]}, {"axes": [2]}, {"more": 1},
        {"input": "1" * 301}, {"input": {f"{k}": "1" for k in range(65)}}, {"input": {"a": {"b": 1}}},
    )],
)  # fmt: skip
def test_malformed_questions(server: Any, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    error(server.client.post("/api/analyze", content=body, headers=headers), 400)


def test_a_string_with_half_a_character(server: Any) -> None:
    body = b'{"text": "a: \\udc00"}'
    headers = {"content-type": "application/json"}
    error(server.client.post("/api/outline", content=body, headers=headers), 400)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"input": "3x999999999x9"}, "larger than its input"),
        ({"input": "3x9999999999999999"}, "expected a shape"),
        ({"input": "1x3x227x227x227"}, "does not fit"),
        ({"input": "../../etc/passwd"}, "expected a shape"),
        ({"input": {"zz": "3x9x9"}}, "no such input"),
        ({"axes": "2,3"}, "axes"),
        ({"axes": "zz"}, "expected dims"),
        ({"axes": {"a=b": "2"}}, "axes"),
    ],
)
def test_absurd_inputs(server: Any, more: dict[str, Any], says: str) -> None:
    assert says in error(server.post("analyze", {**ALEX, **more}))


def test_huge_but_right(server: Any) -> None:
    answer = server.post("analyze", spec("layers: {a: [3, 2, 1]}", input="3x999999999999x9"))
    (layer,) = answer.json()["page"]["report"]["layers"]
    assert layer["shape"] == [1, 3, 500000000000, 5]


def test_bombs(server: Any) -> None:
    """Each is refused within a moment, by the parser's limits."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12)]
    for text in (
        "\n".join(lines),
        "[" * 10_000,
        "{a: " * 10_000,
        "- " * 10_000,
        "&a [*a]",
        "? " * 5000,
    ):
        error(server.post("analyze", spec(text)))
        error(server.post("outline", {"text": text}))
    for form in ("json", "toml"):
        error(server.post("analyze", spec("[" * 100_000 + "]" * 100_000, form)))
    error(server.post("analyze", spec("a = " + "9" * 10_000, "toml")))
    error(server.post("analyze", spec("x" * ((2 << 20) + 1))), 413)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"layer": "zz", "unit": [0, 0]}, "there is no layer 'zz'"),
        ({"layer": "conv1", "unit": [99, 0]}, "outside"),
        ({"layer": "conv1", "unit": [0]}, "conv1"),
        ({"layer": "conv1", "unit": []}, "conv1"),
    ],
)
def test_units_that_are_not_there(server: Any, more: dict[str, Any], says: str) -> None:
    assert says in error(server.post("unit", {**ALEX, **more}))


def test_units_that_are_no_units(server: Any) -> None:
    for unit in ([-1, 0], [0.5, 0], ["0", 0], [1 << 60, 0], [[0], 0], "0,0", [0] * 17):
        error(server.post("unit", {**ALEX, "layer": "conv1", "unit": unit}), 400)


def test_hostile_names_pass_as_data(server: Any) -> None:
    name = "<img src=x onerror=alert(1)></script><!--"
    answer = server.post(
        "analyze", spec(json.dumps({"input": [1, 9], "layers": {name: "relu"}}), "json")
    )
    assert answer.json()["page"]["report"]["layers"][0]["name"] == name
    assert answer.headers["content-type"] == "application/json"
    file = server.post(
        "report", spec(json.dumps({"input": [1, 9], "layers": {name: "relu"}}), "json")
    )
    assert "<img src=x" not in file.text


# --- uploads

MODEL = """
<ir_version: 8, opset_import: ["": 17]> g (float[1, 1, 8, 8] x) => (y)
<float[1, 1, 3, 3] w = {0, 0, 0, 0, 0, 0, 0, 0, 0}> { y = Conv<kernel_shape = [3, 3]>(x, w) }
"""


def upload(server: Any, content: bytes, name: str = "net.onnx") -> httpx.Response:
    answer: httpx.Response = server.client.post(
        "/api/upload",
        params={"name": name},
        content=content,
        headers={"content-type": "application/octet-stream"},
    )
    return answer


def test_an_upload(server: Any) -> None:
    import onnx

    content = onnx.parser.parse_model(MODEL).SerializeToString()
    name = '../../<b>"é\x00\u202e' + "n" * 300 + ".onnx"
    found = upload(server, content, name).json()
    assert found["size"] == len(content) and len(found["id"]) == 64
    assert len(found["name"]) <= 120 and "/" not in found["name"] and "\x00" not in found["name"]
    ask = {"source": {"kind": "upload", "id": found["id"]}}
    page = server.post("analyze", ask).json()["page"]
    assert page["title"] == found["name"]
    assert page["report"] == eyeshot.analyze(content).to_dict()
    assert "conv" in server.post("report", ask).text.lower()
    assert upload(server, content).json()["id"] == found["id"]


def test_a_model_that_points_elsewhere(server: Any) -> None:
    """Its numbers are said to be in a file of this machine, and a shape depends on them."""
    import onnx
    from onnx import TensorProto

    for place in ("/etc/passwd", "../../../etc/passwd", "/dev/zero"):
        model = onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["": 17]> g (float[1, 1, 8, 8] x) => (y)'
            " <int64[4] s = {1, 1, 64, 1}> { y = Reshape(x, s) }"
        )
        (tensor,) = model.graph.initializer
        tensor.ClearField("int64_data")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
        tensor.external_data.add(key="length", value="32")
        found = upload(server, model.SerializeToString()).json()
        answer = server.post("analyze", {"source": {"kind": "upload", "id": found["id"]}})
        assert answer.status_code == 200 and "root:" not in answer.text
        if "error" not in answer.json():  # a bound: the numbers are not known
            assert answer.json()["page"]["report"]["status"] == "bound"


@pytest.mark.parametrize(
    "content",
    [b"", b"onnx", b"\x08\x08" * 1000, b"\xff" * 1000, b"PK\x03\x04" + b"\0" * 100, b"0000ORTM"],
)
def test_what_is_no_model(server: Any, content: bytes) -> None:
    found = upload(server, content).json()
    error(server.post("analyze", {"source": {"kind": "upload", "id": found["id"]}}))


def test_few_uploads_are_kept(hostile: Any) -> None:
    """The server keeps two; those not used for longest go."""
    ids = [upload(hostile, b"%d" % k).json()["id"] for k in range(3)]
    for k, id in enumerate(ids):
        message = error(hostile.post("analyze", {"source": {"kind": "upload", "id": id}}))
        assert ("no longer there" in message) == (k == 0)


# --- anything

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
kinds = st.sampled_from(["spec", "example", "upload", "given"]) | anything
sources = st.fixed_dictionaries(
    {"kind": kinds},
    optional={"text": st.text(max_size=40) | anything, "format": st.sampled_from(["yaml", "json", "toml"]),
              "name": st.sampled_from(["alexnet", "unet", "x"]) | anything, "id": anything},
)  # fmt: skip
questions = st.fixed_dictionaries(
    {"source": sources | anything},
    optional={"input": st.sampled_from(["3x64x64", "9", "1x0"]) | anything, "axes": anything, "rate": anything,
              "layer": st.sampled_from(["conv1", "enc1"]) | anything, "unit": st.just([0, 0]) | anything},
)  # fmt: skip


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["analyze", "check", "unit", "report", "outline"]), questions | anything)
def test_any_question_is_answered(server: Any, what: str, question: Any) -> None:
    body = json.dumps(question).encode()
    headers = {"content-type": "application/json"}
    answer = server.client.post(f"/api/{what}", content=body, headers=headers)
    assert answer.status_code < 500, answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=60), st.sampled_from(["yaml", "json", "toml"]))
def test_any_text_is_answered(server: Any, text: str, form: str) -> None:
    for what, ask in (
        ("analyze", spec(text, form, input="9")),
        ("outline", {"text": text, "format": form}),
    ):
        assert server.post(what, ask).status_code < 500
