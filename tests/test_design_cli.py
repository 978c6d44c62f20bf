"""``eyeshot design`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

import eyeshot
from eyeshot.cli import main

SPEC = """\
name: small
input: [3, 64, 64]
layers:
  a: {op: conv, kernel: 3, padding: 1, channels: 8, stride: 2}
  b: {op: conv, kernel: 3, padding: 1, channels: 8}
  c: {op: conv, kernel: 3, padding: 1, channels: 16}
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(SPEC, encoding="utf-8")
    return "net.yaml"


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["design", *args])


def test_text(net: str) -> None:
    done = run(net, "--size", "15", "--change", "kernels", "--best", "1")
    assert done.exit_code == 0
    assert done.output == (
        "small · c: size 11, jump 2 · at least 15 wanted\n"
        "    layer   change                        size      jump   parameters\n"
        "──────────────────────────────────────────────────────────────────────────────\n"
        "1   a       kernel 3 → 7, padding 1 → 3   11 → 15   2      1,944 → 2,904 (+49 %)\n"
        "proved: nothing within the allowed values costs less\n"
    ).replace("─" * 78, done.output.splitlines()[2])


def test_modes(net: str) -> None:
    assert "exactly 13 wanted" in run(net, "-s", "13", "--exactly").output
    less = run(net, "-s", "8", "--at-most", "-f", "json")
    assert json.loads(less.output)["designs"][0]["size"] == [7, 7]
    assert run(net, "-s", "11", "--at-least").output.splitlines()[1].startswith("nothing to change")


def test_per_axis_and_jump(net: str) -> None:
    content = json.loads(
        run(net, "-s", "15x11", "--exactly", "--change", "kernels", "-f", "json").output
    )
    assert content["designs"][0]["size"] == [15, 11]
    content = json.loads(run(net, "-s", "11", "-j", "4", "--cost", "macs", "-f", "json").output)
    assert content["designs"][0]["jump"] == [4.0, 4.0]


def test_yaml_goes_to_show(net: str) -> None:
    done = run(net, "-s", "15", "--format", "yaml")
    Path("wider.yaml").write_text(done.output, encoding="utf-8")
    shown = CliRunner().invoke(main, ["show", "wider.yaml", "--format", "json"])
    assert shown.exit_code == 0
    size = json.loads(shown.output)["layers"][-1]["fields"][0]["size"]
    assert size >= 15 and yaml.safe_load(done.output)["name"] == "small"


@pytest.mark.parametrize("name", ["best.yaml", "best.yml", "best.json"])
def test_a_file(net: str, name: str) -> None:
    done = run(net, "-s", "15", "-o", name)
    assert done.exit_code == 0 and "at least 15" in done.output
    assert eyeshot.analyze(name)["c"].size[0] >= 15


def test_a_folder(net: str) -> None:
    assert run(net, "-s", "15", "--best", "2", "-o", "designs/").exit_code == 0
    files = sorted(Path("designs").iterdir())
    assert [file.name for file in files] == ["design-1.yaml", "design-2.yaml"]
    assert all(eyeshot.analyze(file)["c"].size[0] >= 15 for file in files)


def test_not_reachable(net: str) -> None:
    done = run(net, "-s", "1000", "--change", "kernels", "-o", "none.yaml")
    assert done.exit_code == 1
    assert "not reachable within the allowed values; nearest: 31" in done.output
    assert not Path("none.yaml").exists()
    done = run(net, "-s", "1000", "--change", "kernels", "-f", "yaml")
    assert done.exit_code == 1 and done.stdout == "" and "nearest: 31" in done.stderr


def test_restrictions(net: str) -> None:
    def changes(*options: str) -> set[tuple[str, str]]:
        content = json.loads(run(net, "-s", "13", "-f", "json", *options).output)
        return {(c["layer"], c["field"]) for d in content["designs"] for c in d["changes"]}

    assert {layer for layer, _ in changes("--only", "c")} == {"c"}
    assert "a" not in {layer for layer, _ in changes("--keep", "a")}
    assert changes("--change", "depth", "--depth", "1", "--best", "1") == {("b", "copies")}
    assert {field for _, field in changes("--change", "dilations", "--dilations", "1,2,3")} == {
        "dilation",
        "padding",
    }
    assert "kernel" not in {field for _, field in changes("--kernels", "3")}
    assert changes("--most", "1", "--strides", "1,2", "--ignore", "holes", "--time-limit", "9")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--size", "big"], "--size big: expected a number such as 200"),
        (["--size", "0"], "size: expected a whole number from 1"),
        (["--size", "9", "--jump", "x"], "--jump x: expected a number"),
        (["--size", "9", "--kernels", "3;5"], "--kernels 3;5: expected numbers such as 1,2,4"),
        (["--size", "9", "--change", "padding"], "change: expected some of kernels"),
        (["--size", "9", "--layer", "d"], "there is no layer 'd'"),
        (["--size", "9", "--only", "x"], "no layer has such a name: x"),
        (["--size", "9", "-o", "net.onnx"], "--output net.onnx: expected a file .yaml"),
        ([], "Missing option '-s'"),
    ],
)
def test_bad_input(net: str, options: list[str], why: str) -> None:
    done = run(net, *options)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1 and why in done.stderr


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("none.yaml", "none.yaml: No such file"),
        ("net.onnx", "design takes a spec"),
        ("torchvision:resnet18", r"can't be written as a spec"),
    ],
)
def test_bad_sources(net: str, source: str, why: str) -> None:
    done = run(source, "--size", "9")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1 and why in done.stderr


def test_a_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("planned_net.py").write_text(
        "from torch import nn\n"
        "def make(width=4):\n"
        "    return nn.Sequential(nn.Conv1d(1, width, 3, padding=1), nn.ReLU(), nn.Conv1d(width, 2, 3))\n",
        encoding="utf-8",
    )
    done = run(
        "planned_net:make?width=8", "--size", "9", "--input", "128", "--best", "1", "-f", "json"
    )
    content = json.loads(done.output)
    assert content["title"] == "make?width=8" and content["designs"][0]["size"][0] >= 9
    assert content["designs"][0]["spec"]["input"] == [1, 128]
