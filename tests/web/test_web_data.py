"""The page's data: their schema, their cost, and what is said of networks of every kind."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

import eyeshot
from eyeshot.examples import names
from eyeshot.views.web.page import page

SCHEMA = json.loads((files("eyeshot") / "schema" / "page-1.json").read_text("utf-8"))

NETS: dict[str, dict[str, Any]] = {
    "several inputs": {
        "inputs": {"a": [3, 16, 16], "b": [3, 16, 16]},
        "layers": {
            "one": {"op": "conv", "kernel": 3, "dilation": 2, "inputs": "a"},
            "two": {"op": "conv", "kernel": 5, "inputs": "b"},
            "both": {"op": "add", "inputs": ["one", "two"]},
        },
    },
    "no units": {"input": [3, 8, 8], "layers": {"pool": "global_avg_pool", "flat": "flatten"}},
    "one axis": {"input": [1, 40], "layers": {"c": {"op": "conv", "kernel": 3, "stride": 2}}},
    "three axes": {"input": [1, 8, 8, 8], "layers": {"c": {"op": "conv", "kernel": 3}}},
}


def checked(report: eyeshot.Report, **more: Any) -> dict[str, Any]:
    content = json.loads(json.dumps(page(report, **more), allow_nan=False))
    jsonschema.Draft202012Validator(SCHEMA).validate(content)
    return content


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", names())
def test_examples_follow_the_schema(name: str) -> None:
    report = eyeshot.analyze(f"example:{name}")
    content = checked(report, check=eyeshot.check(report), rate=16000.0)
    assert [layer["name"] for layer in content["report"]["layers"]] == [x.name for x in report]
    assert len(content["layers"]) == len(report)
    numbers = {n for layer in content["layers"] for _, n in layer["parents"]}
    assert numbers == set(range(len(content["relations"])))


@pytest.mark.parametrize("name", NETS)
def test_other_networks_follow_the_schema(name: str) -> None:
    checked(eyeshot.analyze(NETS[name]))


def test_a_report_relative_to_a_layer() -> None:
    report = eyeshot.analyze("example:unet", of=eyeshot.analyze("example:unet")[4].name)
    content = checked(report)
    assert content["report"]["inputs"][0]["name"] == report.inputs[0]["name"]


def test_equal_layers_share_one_relation() -> None:
    report = eyeshot.analyze({f"layer{k}": [3, 1, 1] for k in range(300)}, 227)
    assert len(checked(report)["relations"]) == 1


def test_a_large_input_costs_no_more() -> None:
    """The data are of one size; nothing is looked at unit by unit."""
    small, large = (
        len(json.dumps(checked(eyeshot.analyze("example:resnet50", (1, 3, n, n)))))
        for n in (224, 10**9)
    )
    assert large < 1.5 * small


def test_numbers_that_a_browser_would_round_are_refused() -> None:
    wide = {"op": "conv", "kernel": 3, "dilation": 2**33 + 1, "stride": 2**20, "padding": 2**34}
    report = eyeshot.analyze({"input": [1, 40], "layers": {"a": wide, "b": wide}})
    page(eyeshot.analyze({"input": [1, 40], "layers": {"a": wide}}))
    with pytest.raises(eyeshot.EyeshotError, match=r"^b: its boxes pass 4503599627370496"):
        page(report)
