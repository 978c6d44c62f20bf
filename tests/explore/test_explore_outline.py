"""Where things stand in a spec's text, and where a message about it belongs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeshot.errors import EyeshotError, SpecError
from eyeshot.explore.outline import outline
from eyeshot.explore.places import place
from eyeshot.explore.sources import report_of

TEXT = """\
# \U0001f600 é
name: "é\U0001f600 net"   # the title
input: [3, 64, 64]
layers:
  stem: {op: conv, kernel: 3, stride: 2}   # hi
  'relu 1': relu
  deep:
    op: conv
    kernel: [7, 1]
    # a comment

  short: [3, 2, 1]
  named: &n {op: conv, kernel: 5}
  other:
    <<: *n
    stride: 2
    padding: *missing
outputs: [other]
""".replace("    padding: *missing\n", "")
JSON = """\
{"input": [3, 8, 8],\t"layers": [{"name": "a\\u00e9\U0001f600", "op" : "conv", "kernel": [3, 3]},
 {"name":"b","op":"relu"}, {"name": "c", "op": "pad", "padding": {"a":[1,{"b":2}]}}]}
"""


def cut(text: str, at: list[int] | None) -> str | None:
    """As ``text.slice`` does in JavaScript."""
    if at is None:
        return None
    units = text.encode("utf-16-le")
    return units[2 * at[0] : 2 * at[1]].decode("utf-16-le")


@pytest.mark.parametrize("form", ["\n", "\r\n", "\ufeff"])
def test_yaml(form: str) -> None:
    text = form + TEXT if form == "\ufeff" else TEXT.replace("\n", form)
    found = outline(text, "yaml")
    assert found["full"] and cut(text, found["input"]["at"]) == "[3, 64, 64]"
    assert found["input"]["value"] == [3, 64, 64]
    assert cut(text, found["name"]["at"]) == '"é\U0001f600 net"'
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert list(layers) == ["stem", "relu 1", "deep", "short", "named", "other"]
    for name, layer in layers.items():
        written = cut(text, layer["name_at"])
        assert written is not None and written.strip("'") == name
        whole, value = cut(text, layer["at"]), cut(text, layer["value_at"])
        assert whole is not None and value is not None
        assert whole.startswith(written) and whole.endswith(value)
    stem, deep = layers["stem"], layers["deep"]
    assert (stem["op"], stem["form"]) == ("conv", "fields")
    assert cut(text, stem["value_at"]) == "{op: conv, kernel: 3, stride: 2}"
    assert {k: (v["value"], cut(text, v["at"])) for k, v in stem["keys"].items()} == {
        "op": ("conv", "conv"),
        "kernel": (3, "3"),
        "stride": (2, "2"),
    }
    assert cut(text, deep["keys"]["kernel"]["at"]) == "[7, 1]"
    # A block ends with what is in it, not with the comments and empty lines after that.
    assert (cut(text, deep["at"]) or "").endswith("[7, 1]")
    assert (layers["relu 1"]["op"], layers["relu 1"]["form"]) == ("relu", "word")
    short = layers["short"]
    assert (short["op"], short["form"]) == ("window", "window")
    assert [(k, v["value"], cut(text, v["at"])) for k, v in short["keys"].items()] == [
        ("kernel", 3, "3"),
        ("stride", 2, "2"),
        ("padding", 1, "1"),
    ]
    other = layers["other"]["keys"]
    assert other["kernel"] == {"value": 5, "at": None}  # merged: it stands elsewhere
    assert cut(text, other["stride"]["at"]) == "2"


def test_json() -> None:
    found = outline(JSON, "json")
    a, b, c = found["layers"]
    assert a["name"] == "aé\U0001f600" and cut(JSON, a["name_at"]) == '"a\\u00e9\U0001f600"'
    assert cut(JSON, a["at"]) == '{"name": "a\\u00e9\U0001f600", "op" : "conv", "kernel": [3, 3]}'
    assert cut(JSON, a["keys"]["kernel"]["at"]) == "[3, 3]"
    assert cut(JSON, b["value_at"]) == '{"name":"b","op":"relu"}'
    assert cut(JSON, c["keys"]["padding"]["at"]) == '{"a":[1,{"b":2}]}'
    assert c["keys"]["padding"]["value"] == {"a": [1, {"b": 2}]}


def test_toml_and_the_short_form() -> None:
    found = outline('[layers]\na = [3, 1, 1]\n[layers.b]\nop = "relu"\n', "toml")
    assert [(layer["name"], layer["op"], layer["at"]) for layer in found["layers"]] == [
        ("a", "window", None),
        ("b", "relu", None),
    ]
    text = "conv1: [11, 4, 0]\npool1: [3, 2, 0]\n"
    short = outline(text, "yaml")
    assert not short["full"]
    assert [cut(text, layer["at"]) for layer in short["layers"]] == text.splitlines()


@pytest.mark.parametrize("text", ["3", "[a, b]", "torchvision:resnet18", "layers: 3", "layers: []"])
def test_what_is_no_spec_has_no_layers(text: str) -> None:
    assert [layer["name"] for layer in outline(text, "yaml")["layers"]] in ([], ["layers"])


def test_values_that_json_has_not() -> None:
    found = outline("a: {op: pad, padding: [.nan, .inf, -.inf, null, yes, 2020-01-01]}", "yaml")
    value = found["layers"][0]["keys"]["padding"]["value"]
    assert value == ["nan", "inf", "-inf", None, True, "2020-01-01"]


@pytest.mark.parametrize(
    ("text", "form", "where"),
    [
        ("input: [1, 9]\nlayers:\n  a: {op: conv, kernel: 0}", "yaml", ("a", 3, 25, "0")),
        ("input: [1, 9]\nlayers:\n  a: {op: convv}", "yaml", ("a", 3, 11, "convv")),
        ("input: [1, 9]\nlayers:\n  a.b: {op: conv, kernel: 30}", "yaml", ("a.b", 3, 27, "30")),
        ("input: [1, 9]\nlayers:\n  a: [3, 0, 1]", "yaml", ("a", 3, 10, "0")),
        ("input: [1, 9]\nlayers:\n  a: [3, 1]", "yaml", ("a", 3, 3, "a")),
        ("a: [3, 1, 1]\nb: [3, -1, 1]", "yaml", ("b", 2, 8, "-1")),
        ("input: [1, 9]\nlayers:\n  a: {op: relu, kernl: 2}", "yaml", ("a", 3, 17, "kernl")),
        ("input: [1, x]\nlayers: {a: relu}", "yaml", (None, 1, 8, "[1, x]")),
        ("inpt: [1, 9]\nlayers: {a: relu}", "yaml", (None, 1, 1, "inpt")),
        ("input: 9\noutputs: [q]\nlayers: {a: relu}", "yaml", (None, 2, 10, "[q]")),
        ("input: 9\nlayers:\n  a: relu\n  b: {op: add, inputs: [a, z]}", "yaml", ("b", 4, 24, "[a, z]")),
        ('{"input": 9, "layers": [{"name": "a", "op": "conv", "kernel": 99}]}', "json", ("a", 1, 63, "99")),
        ("a: [3,1", "yaml", (None, 2, 1, None)),
        ("layers:\n  a: relu\n  a: relu", "yaml", (None, 3, 3, None)),
        ("layers: {a: !!python/object/apply:os.system [ls]}", "yaml", (None, 1, 13, None)),
        ('{"a": }', "json", (None, 1, 7, None)),
        ("a = = 3", "toml", (None, 1, 5, None)),
        ("", "yaml", (None, None, None, None)),
        ("input: [1, 9]\nlayers: 7", "yaml", (None, 2, 9, "7")),
    ],
)  # fmt: skip
def test_messages_have_their_place(text: str, form: str, where: tuple[Any, ...]) -> None:
    source = {"kind": "spec", "text": text, "format": form}
    with pytest.raises(EyeshotError) as caught:
        report_of({"source": source, "input": None if "input" in text else "1x9"})
    message, found = place(str(caught.value), text, form)
    layer, line, column, there = where
    assert (found.get("line"), found.get("column")) == (line, column), message
    assert found.get("layer") == layer
    assert cut(text, found.get("at")) == there
    assert not message.startswith(("spec", "line"))


names = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(names, st.dictionaries(names, values, max_size=3), min_size=1), st.booleans()
)
def test_places_hold_what_they_say(layers: dict[str, Any], block: bool) -> None:
    """For any layers, however they are written: the text at a place means the value."""
    import json

    import yaml

    spec = {"layers": layers}
    written = yaml.safe_dump(
        spec, allow_unicode=True, default_flow_style=not block, sort_keys=False
    )
    for text, form in ((json.dumps(spec, ensure_ascii=False), "json"), (written, "yaml")):
        try:
            found = outline(text, form)
        except SpecError:
            assert form == "yaml"  # what YAML 1.1 has no text for
            continue
        assert [layer["name"] for layer in found["layers"]] == list(layers)
        for layer in found["layers"]:
            for key, entry in layer["keys"].items():
                there = cut(text, entry["at"])
                if form == "json":
                    assert there is not None and json.loads(there) == layers[layer["name"]][key]
                else:
                    assert there is not None and there in text
