"""The command line: golden output, exit codes, files."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import subprocess
import sys
import sysconfig
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

import eyeshot
from eyeshot.cli import main
from eyeshot.examples import names
from eyeshot.views import table
from eyeshot.views.terminal import painter, render, to_text

SCRIPT = Path(sysconfig.get_path("scripts")) / "eyeshot"
FIVE = """\
two layers on 5x5 · input 1x1x5x5 · exact
layer    op     n   size   jump   start   padding
─────────────────────────────────────────────────
layer1   conv   3      3      2     0.5         1
layer2   conv   2      7      4     0.5         3
"""
ALEXNET = """\
AlexNet · input 1x3x227x227 · exact
layer      op          n   size   jump   start   padding
────────────────────────────────────────────────────────
conv1      conv       55     11      4     5.5         0
pool1      max_pool   27     19      8     9.5         0
conv2      conv       27     51      8     9.5        16
pool2      max_pool   13     67     16    17.5        16
conv3      conv       13     99     16    17.5        32
conv4      conv       13    131     16    17.5        48
conv5      conv       13    163     16    17.5        64
pool5      max_pool    6    195     32    33.5        64
fc6-conv   conv        1    355     32   113.5        64
fc7-conv   conv        1    355     32   113.5        64
"""
FIVE_CSV = """\
layer,op,shape,input,axis,dim,n,size,jump,start,padding,global,status
layer1,conv,1x1x3x3,input,2,2,3,3,2.0,0.5,1,false,exact
layer1,conv,1x1x3x3,input,3,3,3,3,2.0,0.5,1,false,exact
layer2,conv,1x1x2x2,input,2,2,2,7,4.0,0.5,3,false,exact
layer2,conv,1x1x2x2,input,3,3,2,7,4.0,0.5,3,false,exact
"""
FIVE_MARKDOWN = """\
**two layers on 5x5 · input 1x1x5x5 · exact**

| layer | op | n | size | jump | start | padding |
|---|---|---:|---:|---:|---:|---:|
| layer1 | conv | 3 | 3 | 2 | 0.5 | 1 |
| layer2 | conv | 2 | 7 | 4 | 0.5 | 3 |
"""
FIVE_JSON = {
    "schema": "eyeshot.report/1",
    "status": "exact",
    "inputs": [{"name": "input", "shape": [1, 1, 5, 5], "axes": [2, 3]}],
    "layers": [
        {
            "name": name,
            "op": "conv",
            "shape": [1, 1, n, n],
            "fields": [
                {
                    "input": "input",
                    "axis": axis,
                    "dim": axis,
                    "n": n,
                    "size": size,
                    "jump": float(jump),
                    "start": 0.5,
                    "padding": padding,
                    "global": False,
                    "status": "exact",
                    "canvas": {
                        "period": 1,
                        "advance": jump,
                        "begin": [-padding],
                        "end": [size - padding],
                    },
                }
                for axis in (2, 3)
            ],
        }
        for name, n, size, jump, padding in (("layer1", 3, 3, 2, 1), ("layer2", 2, 7, 4, 3))
    ],
    "diagnostics": [],
}


def invoke(*args: str, **env: str) -> Result:
    return CliRunner().invoke(main, args, env=env)


def ok(*args: str, **env: str) -> str:
    result = invoke(*args, **env)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def refused(*args: str, code: int = 2) -> str:
    """The one line on stderr."""
    result = invoke(*args)
    assert result.exit_code == code
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert result.stderr == f"{line}\n"
    assert line.startswith("eyeshot: ")
    return line.removeprefix("eyeshot: ")


def process(*args: str, **more: Any) -> subprocess.CompletedProcess:
    env = {**os.environ, **more.pop("env", {})}
    return subprocess.run(
        [SCRIPT, *args], capture_output=True, text=True, encoding="utf-8", env=env, **more
    )


@pytest.fixture
def unknown(tmp_path: Path) -> str:
    spec = {"input": [3, 8, 8], "layers": {"a": [3, 1, 1], "b": {"op": "opaque", "function": "f"}}}
    path = tmp_path / "unknown.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    return str(path)


# --- show: golden output


def test_table() -> None:
    assert ok("show", "example:five-by-five") == FIVE
    assert ok("show", "example:alexnet") == ALEXNET


def test_csv() -> None:
    assert ok("show", "example:five-by-five", "--format", "csv") == FIVE_CSV


def test_markdown() -> None:
    assert ok("show", "example:five-by-five", "-f", "markdown") == FIVE_MARKDOWN


def test_json() -> None:
    assert json.loads(ok("show", "example:five-by-five", "--format", "json")) == FIVE_JSON


@pytest.mark.parametrize("name", names())
def test_json_follows_the_schema(name: str) -> None:
    schema = json.loads((files("eyeshot") / "schema/report-1.json").read_text(encoding="utf-8"))
    content = json.loads(ok("show", f"example:{name}", "-f", "json"))
    jsonschema.Draft202012Validator(schema).validate(content)
    assert content == eyeshot.analyze(f"example:{name}").to_dict()


def test_json_is_readable_by_json_tool(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    ok("show", "example:fpn", "-f", "json", "-o", str(path))
    tool = subprocess.run(
        [sys.executable, "-m", "json.tool", path], capture_output=True, text=True, encoding="utf-8"
    )
    assert (tool.returncode, tool.stderr) == (0, "")
    assert json.loads(tool.stdout) == eyeshot.analyze("example:fpn").to_dict()


# --- show: what every table must be

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def cells_wide(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def body(text: str) -> list[list[str]]:
    """The rows' cells; columns are three blanks apart."""
    lines = text.splitlines()
    (rule,) = [k for k, line in enumerate(lines) if set(line) == {"─"}]
    rows = [re.split(r" {2,}", line) for line in lines[rule + 1 :]]
    return [row for row in rows if len(row) == 7]


@pytest.mark.parametrize("width", [80, 120, 200, None])
@pytest.mark.parametrize("name", names())
def test_fits(name: str, width: int | None) -> None:
    text = ok("show", f"example:{name}", **({} if width is None else {"COLUMNS": str(width)}))
    assert "…" not in text and "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())
    if width is not None:
        assert max(map(cells_wide, text.splitlines())) <= width
    report = eyeshot.analyze(f"example:{name}")
    assert [row[0] for row in body(text)] == [layer.name for layer in report]


@pytest.mark.parametrize("name", names())
def test_table_says_what_the_json_says(name: str) -> None:
    rows = body(ok("show", f"example:{name}", COLUMNS="80"))
    layers = json.loads(ok("show", f"example:{name}", "-f", "json"))["layers"]
    for row, layer in zip(rows, layers, strict=True):
        fields = layer["fields"]
        shown = dict(zip(table.HEADINGS, row, strict=True))
        assert (shown["layer"], shown["op"]) == (layer["name"], layer["op"])
        for key in ("n", "size", "jump", "start", "padding"):
            values = [f[key] for f in fields]
            if key == "size" and all(f["global"] for f in fields):
                assert shown[key].endswith("global")
                if shown[key] == "global":
                    continue
            parts = shown[key].split("×") * (1 if "×" in shown[key] else len(fields))
            for part, value in zip(parts, values, strict=True):
                if value is None or value == "–":
                    assert part == "–"
                else:
                    assert float(NUMBER.match(part)[0]) == value  # type: ignore[index]


def long_names() -> eyeshot.Report:
    spec = {
        "inputs": {"the left picture of the pair": [3, 64, 64, 64], "right": [3, 64, 64, 64]},
        "layers": {
            "a": {
                "op": "conv",
                "kernel": [31, 5, 7],
                "stride": [1, 2, 3],
                "inputs": "the left picture of the pair",
            },
            "b": {"op": "conv", "kernel": [31, 7, 9], "stride": [1, 2, 3], "padding": [0, 1, 1]},
            "encoder.block.with.a.name.that.goes.on.and.on.and.never.comes.to.an.end.layer": {
                "op": "add",
                "inputs": ["a", "b"],
            },
            "日本語のとても長い名前のレイヤーであって折り返す必要がある": {
                "op": "upsample",
                "size": [100, 101, 103],
            },
        },
    }
    spec["layers"]["b"]["inputs"] = "right"
    return eyeshot.analyze(spec)


@pytest.mark.parametrize("width", [80, 90, 100, 120, 150])
def test_numbers_are_never_cut(width: int) -> None:
    report = long_names()
    text = to_text(report, width)
    assert "…" not in text
    assert max(map(cells_wide, text.splitlines())) <= width
    words = set(re.split(r"[\s×,]+", text))
    for layer in report:
        for field in layer.fields:
            for value in (field.size, field.jump, field.start, field.padding):
                assert table.number(value) in words
        assert f"\n{layer.name[:4]}" in text or f"\n{layer.name} " in text


def test_names_are_folded_to_the_width_and_not_in_a_pipe(tmp_path: Path) -> None:
    name = "encoder.stage1.block2.attention.projection.conv"
    path = tmp_path / "net.json"
    path.write_text(json.dumps({name: [3, 1, 1]}), encoding="utf-8")
    wide = ok("show", str(path), "-i", "8")
    assert name in wide and len(wide.splitlines()) == 4
    narrow = ok("show", str(path), "-i", "8", COLUMNS="70").splitlines()
    assert max(map(len, narrow)) == 70
    assert narrow[3].startswith("encoder.stage1.block2.  ") and " window " in narrow[3]
    assert all(line.startswith("  ") for line in narrow[4:])
    assert "".join(line[:32].split()[0] for line in narrow[3:]) == name


def test_narrower_than_any_table() -> None:
    """Lines get long rather than wrong."""
    lines = ok("show", "example:alexnet", COLUMNS="20").splitlines()
    rows = [line for line in lines if line.endswith(tuple("0123456789"))]
    assert [line.split()[0] for line in rows] == [row[0] for row in body(ALEXNET)]
    assert [line.split()[-5:] for line in rows] == [row[2:] for row in body(ALEXNET)]


def test_an_axis_gets_its_own_line_where_a_row_is_too_long() -> None:
    report = long_names()
    wide, narrow = render(report, report), to_text(report, 80)
    assert "62×" not in wide and "34×30×20" in wide
    assert "×" not in narrow
    assert "   axis " in narrow and "   axis " not in wide


def test_empty_unbounded_and_fractions_in_the_table(tmp_path: Path) -> None:
    spec = {
        "input": [1, 12],
        "layers": {
            "third": {"op": "upsample", "scale": 3},
            "holes": {"op": "conv_transpose", "kernel": 1, "stride": 2, "inputs": "input"},
            "odd": {"op": "slice", "dim": 2, "start": 1, "step": 2},
            "past": {"op": "rnn", "inputs": "input"},
        },
    }
    path = tmp_path / "net.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    assert ok("show", str(path)) == (
        "net.json · input 1x1x12 · exact\n"
        "layer   op                n   size   jump   start   padding\n"
        "───────────────────────────────────────────────────────────\n"
        "third   upsample         36      1    1/3     0.5         0\n"
        "holes   conv_transpose   23      1    0.5     0.5         0\n"
        "odd     slice            11      0      1       –         –\n"
        "past    rnn              12      ∞      1       –         ∞\n"
    )


def test_bounds_are_marked(unknown: str) -> None:
    assert ok("show", unknown) == (
        "unknown.json · input 1x3x8x8 · bound\n"
        "layer   op       n       size   jump   start   padding\n"
        "──────────────────────────────────────────────────────\n"
        "a       window   8          3      1     0.5         1\n"
        "b       f        8   ≤ global      –       4         –\n"
        "global: the units also read the whole input axis (pooling, attention, norms)\n"
        "≤: an upper bound\n"
        "b: what f reads is not known; it is taken to read everything [unknown-op]\n"
    )


def test_numbers_as_people_write_them() -> None:
    from fractions import Fraction as F

    shown = {
        None: "–",
        4: "4",
        0: "0",
        -3: "-3",
        float("inf"): "∞",
        F(1, 2): "0.5",
        F(-1, 2): "-0.5",
        F(1, 8): "0.125",
        F(-9, 8): "-1.125",
        F(1, 3): "1/3",
        F(1, 16): "1/16",
        F(7, 50): "0.14",
        F(10**20 + 1, 2): "50000000000000000000.5",
    }
    for value, text in shown.items():
        assert table.number(value) == text


# --- show: options


def test_input() -> None:
    assert "n   size" in ok("show", "example:alexnet", "--input", "3x227x227")
    text = ok("show", "example:five-by-five", "-i", "1x9x9")
    assert "input 1x1x9x9" in text and "layer1   conv   5 " in text


def test_inputs_by_name(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(
        "inputs: {a=b: [1, 8], c: [1, 8]}\nlayers:\n  sum: {op: add, inputs: [a=b, c]}\n"
    )
    assert "a=b 1x1x8, c 1x1x8" in ok("show", str(path))
    sized = ok("show", str(path), "--input", "a=b=2x9", "--input", "c=2x9")
    assert "a=b 1x2x9, c 1x2x9" in sized


def test_layers() -> None:
    text = ok("show", "example:alexnet", "--layers", "conv*")
    assert [row[0] for row in body(text)] == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    content = json.loads(ok("show", "example:alexnet", "-l", "pool[12]", "-f", "json"))
    assert [layer["name"] for layer in content["layers"]] == ["pool1", "pool2"]
    rows = csv.DictReader(io.StringIO(ok("show", "example:alexnet", "-l", "*7-conv", "-f", "csv")))
    assert {row["layer"] for row in rows} == {"fc7-conv"}
    assert "| conv1 |" not in ok("show", "example:alexnet", "-l", "pool*", "-f", "markdown")


def test_depth() -> None:
    rows = body(ok("show", "example:resnet18", "--depth", "1"))
    assert [row[0] for row in rows] == [
        *("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"),
        *("avgpool", "flatten", "fc"),
    ]
    values = {row[0]: row[1:] for row in rows}
    assert values["layer4"] == ["–", "7", "435", "32", "0.5", "217"]  # what comes out of it
    assert values["conv1"] == ["conv", "112", "7", "2", "0.5", "3"]
    two = body(ok("show", "example:resnet18", "-d", "2", "-l", "layer4*"))
    assert [row[:2] for row in two] == [["layer4.0", "–"], ["layer4.1", "–"]]
    assert ok("show", "example:resnet18", "-d", "9") == ok("show", "example:resnet18")


def test_depth_elsewhere() -> None:
    content = json.loads(ok("show", "example:resnet18", "-d", "1", "-f", "json"))
    found = [layer["name"] for layer in content["layers"]]
    assert found[2:4] == ["layer1.1.add", "layer2.1.add"]
    assert "| layer4 | – | 7 | 435 |" in ok("show", "example:resnet18", "-d", "1", "-f", "markdown")


def test_of() -> None:
    text = ok("show", "example:alexnet", "--of", "pool1")
    assert text.splitlines()[0] == "AlexNet · pool1 1x96x27x27 · exact"
    assert body(text)[1] == ["conv2", "conv", "27", "5", "1", "0.5", "2"]


def test_strict(unknown: str) -> None:
    assert refused("show", unknown, "--strict", code=1).startswith("b: ")
    assert ok("show", "example:alexnet", "--strict") == ALEXNET


# --- show: files


def test_output(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    assert ok("show", "example:five-by-five", "-o", str(path), COLUMNS="20") == ""
    assert path.read_text(encoding="utf-8") == FIVE
    for form, content in (("csv", FIVE_CSV), ("markdown", FIVE_MARKDOWN)):
        assert ok("show", "example:five-by-five", "-f", form, "--output", str(path)) == ""
        assert path.read_text(encoding="utf-8") == content
    assert os.listdir(tmp_path) == ["table.txt"]


def test_output_keeps_mode_and_links(tmp_path: Path) -> None:
    path, link = tmp_path / "table.txt", tmp_path / "link.txt"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    ok("show", "example:five-by-five", "-o", str(link))
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") == FIVE
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    fresh = tmp_path / "fresh.txt"
    ok("show", "example:five-by-five", "-o", str(fresh))
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o666 & ~mask


def test_failing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    refused("show", "example:nothing", "-f", "json", "-o", str(path))
    refused("show", "example:alexnet", "-l", "zzz", "-f", "json", "-o", str(path))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_interrupted_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    line = refused("show", "example:alexnet", "-o", str(path))
    assert line == f"{path}: No space left on device"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_output_to_impossible_places(tmp_path: Path) -> None:
    assert refused("show", "example:alexnet", "-o", str(tmp_path)) == f"{tmp_path}: Is a directory"
    nowhere = tmp_path / "no" / "where"
    assert refused("show", "example:alexnet", "-o", str(nowhere)).startswith(f"{nowhere}: ")
    assert refused("show", "example:alexnet", "-o", "") == "--output: no file name"
    assert ok("show", "example:alexnet", "-o", os.devnull) == ""


# --- the other commands


def test_examples() -> None:
    lines = ok("examples").splitlines()
    assert [line.split()[0] for line in lines] == names()
    assert lines[0] == "alexnet             AlexNet"
    for line in lines:
        name, title = re.split(r" {2,}", line)
        assert ok("show", f"example:{name}").startswith(f"{title} · ")


@pytest.mark.parametrize("name", names())
def test_examples_can_be_saved_and_shown(name: str, tmp_path: Path) -> None:
    text = ok("examples", name)
    assert text == ok("examples", f"example:{name}")
    path = tmp_path / "copy.yaml"
    path.write_text(text, encoding="utf-8")
    assert ok("show", str(path)) == ok("show", f"example:{name}")


def test_example_alexnet() -> None:
    text = ok("examples", "alexnet")
    assert text.startswith("#") and "conv1: {op: conv, kernel: 11, stride: 4" in text
    assert refused("examples", "alexnt") == (
        "there is no example 'alexnt'; did you mean 'alexnet'?"
    )


def test_operators() -> None:
    lines = ok("examples", "--operators").splitlines()
    assert lines == sorted(lines) and {"conv", "upsample", "relu", "opaque"} <= set(lines)
    assert "give either" in refused("examples", "alexnet", "--operators")


def test_version() -> None:
    assert ok("--version") == ok("-V") == f"eyeshot {eyeshot.__version__}\n"


def test_help() -> None:
    top = ok("--help")
    assert ok("-h") == ok() == top
    for command in ("completion", "examples", "show"):
        assert re.search(rf"^  {command} ", top, re.MULTILINE)
        for line in ok(command, "--help").splitlines():
            assert len(line) <= 100


# --- exit codes


@pytest.mark.parametrize(
    "args",
    [
        ("show",),
        ("show", "example:alexnet", "--bogus"),
        ("show", "example:alexnet", "more"),
        ("show", "example:alexnet", "-f", "xml"),
        ("show", "example:alexnet", "-d", "0"),
        ("show", "example:alexnet", "-d", "x"),
        ("show", "example:alexnet", "-l", "zzz"),
        ("show", "example:alexnet", "--of", "zzz"),
        ("show", "example:alexnet", "--input", "3xx3"),
        ("show", "example:alexnet", "--input", "3x10x10"),
        ("show", "example:alexnet", "--input", "nothing=3x10x10"),
        ("show", "example:alexnet", "--input", "3x227x227", "--input", "3x227x227"),
        ("show", "example:alexnt"),
        ("show", "nowhere.yaml"),
        ("show", "nowhere"),
        ("show", ""),
        ("bogus",),
        ("--bogus",),
        ("completion", "tcsh"),
        ("completion",),
    ],
)
def test_unusable(args: tuple[str, ...]) -> None:
    assert refused(*args)


def test_real_process(tmp_path: Path) -> None:
    done = process("show", "example:alexnet")
    assert (done.returncode, done.stdout, done.stderr) == (0, ALEXNET, "")
    bad = process("show", "net.yaml", cwd=tmp_path)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "eyeshot: net.yaml: No such file or directory\n"
    usage = process("show")
    assert (usage.returncode, usage.stdout) == (2, "")
    assert usage.stderr == "eyeshot: show: Missing argument 'SOURCE'.\n"


def test_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eyeshot", "show", "example:five-by-five"],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, FIVE, "")


def test_strict_process(unknown: str) -> None:
    done = process("show", unknown, "--strict")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("eyeshot: b: ") and done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of a Unix shell")
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_reader_that_stops(form: str) -> None:
    done = subprocess.run(
        f"'{SCRIPT}' show example:resnet50 -f {form} | true; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [SCRIPT, "show", "example:alexnet"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "eyeshot: stdout: No space left on device\n"


def test_closed_stdout() -> None:
    done = subprocess.run(
        f"'{SCRIPT}' show example:alexnet >&-", shell=True, stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_old_encoding() -> None:
    done = subprocess.run(
        [SCRIPT, "show", "example:five-by-five"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0 and b"layer2   conv   2      7      4" in done.stdout


# --- terminals


def test_no_escape_codes_in_a_pipe() -> None:
    assert "\x1b" not in process("show", "example:resnet18", env={"TERM": "xterm-256color"}).stdout


def test_colours_on_a_terminal(tmp_path: Path) -> None:
    from rich.console import Console

    console = Console(force_terminal=True, color_system="standard", file=io.StringIO())
    text = render((report := eyeshot.analyze("example:alexnet")), report, paint=painter(console))
    assert "\x1b[1m355\x1b[0m" in text
    assert re.sub(r"\x1b\[[\d;]*m", "", text) == ALEXNET
    plain = Console(file=io.StringIO())
    assert render(report, report, paint=painter(plain)) == ALEXNET


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("width", "colour"), [(80, True), (120, True), (80, False)])
def test_on_a_terminal(width: int, colour: bool) -> None:
    """A real one: of this width, with and without colours."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    env = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    child = subprocess.Popen(
        [SCRIPT, "show", "example:inception-v3-mixed"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm-256color" if colour else "dumb"},
    )
    os.close(theirs)
    out = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            out += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert child.wait() == 0
    text = out.decode()
    assert ("\x1b[1m" in text) is colour
    plain = re.sub(r"\x1b\[[\d;]*m", "", text).replace("\r\n", "\n")
    assert plain == ok("show", "example:inception-v3-mixed", COLUMNS=str(width))
    assert max(map(cells_wide, plain.splitlines())) <= width


# --- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    script = ok("completion", shell)
    assert "_EYESHOT_COMPLETE" in script and f"{shell}_complete" in script
    assert process("completion", shell).stdout == script


def complete(shell: str, words: str, count: int) -> list[str]:
    """What the shell's script would be told."""
    env = {"_EYESHOT_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
    env["COMP_CWORD"] = words.split()[-1] if shell == "fish" and not words.endswith(" ") else ""
    if shell != "fish":
        env["COMP_CWORD"] = str(count)
    done = process(env=env)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_completes_commands_and_options() -> None:
    assert complete("bash", "eyeshot sh", 1) == ["plain,show"]
    assert "plain,--format" in complete("bash", "eyeshot show --f", 2)
    assert complete("bash", "eyeshot show --format j", 3) == ["plain,json"]
    assert complete("bash", "eyeshot completion f", 2) == ["plain,fish"]


def test_completes_examples() -> None:
    assert complete("bash", "eyeshot examples al", 2) == ["plain,alexnet"]
    assert complete("bash", "eyeshot show example:al", 2) == ["plain,example:alexnet"]
    # Bash splits words at colons, and wants what follows the last one.
    assert complete("bash", "eyeshot show example : al", 4) == ["plain,alexnet"]
    assert "plain,unet" in complete("bash", "eyeshot show example :", 3)
    assert "plain,example:unet" in complete("bash", "eyeshot show exa", 2)
    assert complete("bash", "eyeshot show net", 2) == ["file,net"]
    assert "plain\nexample:alexnet" in "\n".join(complete("zsh", "eyeshot show example:al", 2))
    assert any("example:alexnet" in line for line in complete("fish", "eyeshot show example:al", 2))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_parse(shell: str) -> None:
    import shutil

    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    done = subprocess.run(
        [shell, "-n"], input=ok("completion", shell), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
