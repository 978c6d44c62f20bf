"""``eyeshot unit``: golden output, files, and one line for what is no use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import eyeshot
from eyeshot.cli import main

CORNER = """\
AlexNet · input 1x3x227x227 · exact
conv5 (1, 6) of 13×13
         axis 2       axis 3
───────────────────────────────
box      [-48, 115)   [32, 195)
inside   [0, 115)     [32, 195)
size     163          163
jump     16           16
centre   33.5         113.5
reads    18745 elements, no holes
mass     0.7778
padding  0.2222 of the mass falls into it
"""
WAY = """\
U-Net, depth 4 · input 1x1x256x256 · exact
head (128, 128) of 256×256, the one in the middle
         axis 2      axis 3
──────────────────────────────
box      [34, 222)   [34, 222)
inside   [34, 222)   [34, 222)
size     188         188
jump     1           1
centre   128         128
reads    35344 elements, no holes
mass     1
padding  0 of the mass falls into it
through  dec2.up: 7×7 of 128×128, 49 elements, no holes, 0.5556 of the mass around it
through  mid.conv2: 4×4 of 16×16, 16 elements, no holes, 0.8025 of the mass around it
"""
LINE = """\
WaveNet, one stack · block3.add 1x32x16000 · exact
block6.filter (100) of 16000
         axis 2
───────────────────
box      [-12, 101)
inside   [4, 101)
size     113
jump     1
centre   44.5
reads    7 elements, 90 holes
mass     0.9688
padding  0.03125 of the mass falls into it
around   0 of the mass goes around block3.add
"""
TOUCHED = """\
AlexNet · input 1x3x227x227 · exact
layer   units that read it      of   count
──────────────────────────────────────────
pool1   [11, 15) × [3, 8)    27×27      20
pool2   [4, 9) × [0, 5)      13×13      25
pool5   [0, 6) × [0, 4)        6×6      24
"""


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, ["unit", *args])


def ok(*args: str) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def refused(*args: str) -> str:
    result = invoke(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("eyeshot: ")
    return line.removeprefix("eyeshot: ")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("cat.jpg")
    return tmp_path


# --- numbers


def test_the_numbers() -> None:
    assert ok("example:alexnet", "-l", "conv5", "--at", "1,6") == CORNER
    assert ok("example:unet", "-l", "head", "--through", "dec2.up,mid.conv2") == WAY


def test_the_numbers_of_a_signal_on_a_layer() -> None:
    """Two taps 64 apart, then 32, then 16: 8 places. One lies before the signal, with 1/2 * 1/4 * 1/4."""
    assert ok("example:wavenet", "-l", "block6.filter", "--at", "100", "--of", "block3.add") == LINE
    taps = {100 - 64 * c - 32 * b - 16 * a for a in (0, 1) for b in (0, 1) for c in (0, 1)}
    inside = [tap for tap in taps if tap >= 0]
    assert f"[{min(taps)}, {max(taps) + 1})" in LINE and f"[{min(inside)}, " in LINE
    assert f"reads    {len(inside)} elements, {101 - min(inside) - len(inside)} holes" in LINE


def test_a_box_of_units_and_the_only_one() -> None:
    text = ok("example:alexnet", "-l", "conv5", "--at", "0:4,2")
    assert "conv5 (0:4, 2) of 13×13\n" in text
    assert "box      [-64, 147)   [-32, 131)" in text
    text = ok("example:resnet18", "-l", "fc")
    assert "fc: its only unit" in text
    assert "global: the unit reads whole axes" in text


def test_json() -> None:
    content = json.loads(ok("example:alexnet", "-l", "conv5", "--at", "1,6", "-f", "json"))
    unit = eyeshot.analyze("example:alexnet").unit("conv5", (1, 6))
    (entry,) = content["inputs"]
    assert entry.pop("size") == [163, 163]
    assert entry.pop("jump") == [16, 16]
    assert entry.pop("centre") == [33.5, 113.5]
    assert content == unit.to_dict()
    content = json.loads(ok("example:alexnet", "-l", "conv5", "--through", "pool1", "-f", "json"))
    assert content["through"][0]["of"] == "pool1"
    assert content["index"] == [6, 6]


def test_several_inputs(folder: Path) -> None:
    Path("two.yaml").write_text(
        "inputs: {left: [1, 32], right: [1, 32]}\n"
        "layers:\n"
        "  a: {op: conv, kernel: 3, padding: 1, inputs: left}\n"
        "  b: {op: conv, kernel: 5, padding: 2, inputs: right}\n"
        "  sum: {op: add, inputs: [a, b]}\n"
    )
    text = ok("two.yaml", "-l", "sum", "--at", "4")
    assert "\nleft\n" in text and "\nright\n" in text
    assert "box      [3, 6)\n" in text and "box      [2, 7)\n" in text
    assert text.count("mass     0.5\n") == 2
    line = refused("two.yaml", "-l", "sum", "--at", "4", "-o", "x.npy")
    assert line == "--output x.npy: takes the mass of one input, of left, right"
    assert "sum     [4, 9)" in ok("two.yaml", "--touched", "right=6")
    assert "write NAME=6" in refused("two.yaml", "--touched", "6", "--touched", "left=3")
    assert "no input 'up'" in refused("two.yaml", "--touched", "up=6")


# --- the inverse


def test_touched() -> None:
    assert ok("example:alexnet", "--touched", "100:120,40:60", "--layers", "pool*") == TOUCHED
    content = json.loads(ok("example:alexnet", "--touched", "5,0:3", "-f", "json"))
    assert content["touched"] == {"input": [[5, 6], [0, 3]]}
    found = eyeshot.analyze("example:alexnet").touched([(5, 6), (0, 3)])
    assert [(row["name"], row["units"]) for row in content["layers"]] == [
        (name, len(each)) for name, each in found.items()
    ]


def test_what_nothing_reads(folder: Path) -> None:
    Path("gaps.yaml").write_text("input: [1, 9]\nlayers:\n  a: {op: conv, kernel: 1, stride: 3}\n")
    assert ok("gaps.yaml", "--touched", "1:3").endswith("\nno unit reads it\n")
    assert json.loads(ok("gaps.yaml", "--touched", "1:3", "-f", "json"))["layers"] == []


# --- files


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures(folder: Path, suffix: str, theme: str) -> None:
    common = ("example:alexnet", "-l", "conv2", "--theme", theme, "--dpi", "50")
    magic = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    for name, more in (
        ("plain", ()),
        ("image", ("--image", "cat.jpg", "--at", "0,20", "--show", "box,mass")),
        ("way", ("--through", "pool1,conv1", "--image", "cat.jpg", "--stretch")),
        ("of", ("--of", "pool1", "--zoom")),
    ):
        assert ok(*common, *more, "-o", f"{name}.{suffix}") == ""
        assert Path(f"{name}.{suffix}").read_bytes().startswith(magic)
    with_box = Path(f"image.{suffix}").read_bytes()
    ok(*common, "--image", "cat.jpg", "--at", "0,20", "--show", "mass", "-o", f"image.{suffix}")
    assert Path(f"image.{suffix}").read_bytes() != with_box


def test_the_mass_and_the_numbers_as_files(folder: Path) -> None:
    common = ("example:alexnet", "-l", "conv5", "--at", "1,6")
    assert ok(*common, "-o", "mass.npy") == ""
    unit = eyeshot.analyze("example:alexnet").unit("conv5", (1, 6))
    assert np.array_equal(np.load("mass.npy"), unit.mass)
    assert ok(*common, "-o", "unit.txt") == ""
    assert Path("unit.txt").read_text("utf-8") == CORNER
    assert ok(*common, "-o", "unit.json") == ""
    assert json.loads(Path("unit.json").read_text("utf-8"))["layer"] == "conv5"
    assert ok("example:alexnet", "--touched", "5,5", "-o", "touched.json") == ""
    assert json.loads(Path("touched.json").read_text("utf-8"))["layers"]


# --- what is no use

BAD = [
    ("--layer conv9", "there is no layer 'conv9'; did you mean 'conv5'?"),
    ("", "unit: --layer is missing, or --touched for the units of all layers"),
    ("--layer conv5 --at 99,0", "--at 99,0: conv5: index 99 is outside 0 … 12"),
    (
        "--layer conv5 --at 1",
        "conv5: a unit has 2 indices (dims (2, 3) of (1, 256, 13, 13)), got 1",
    ),
    ("--layer conv5 --at a,b", "--at a,b: expected an index such as 3,3"),
    (
        "--layer conv5 --at 1,1234567890123",
        "--at 1,1234567890123: conv5: index 1234567890123 is outside 0 … 12",
    ),
    ("--layer conv5 --at 1:99,3", "--at 1:99,3: conv5 has units 0 to 12 along dim 2"),
    ("--layer conv5 --at 5:2,3", "--at 5:2,3: conv5 has units 0 to 12 along dim 2"),
    ("--layer conv5 --of conv9", "there is no layer 'conv9'; did you mean 'conv5'?"),
    ("--layer conv1 --of conv5", "conv1 reads nothing of conv5"),
    ("--layer conv1 --through conv5", "conv1 reads nothing of conv5"),
    ("--layer conv5 --show blob", "--show blob: expected some of box,mask,mass"),
    ("--layer conv5 --layers x", "--layers: only with --touched; one unit's layer is --layer"),
    ("--layer conv5 --image cat.jpg", "--image: name the picture to write, such as -o unit.png"),
    ("--layer conv5 --image no.jpg -o x.png", "no.jpg: there is no such file"),
    ("--layer conv5 --image bad.jpg -o x.png", "bad.jpg: not an image that can be decoded"),
    ("--layer conv5 --image . -o x.png", ".: a folder, not an image"),
    ("--layer conv5 --of pool1 --through conv3", "--through: not with --of"),
    (
        "--layer conv5 -o x.gif",
        "--output x.gif: expected a name that ends in .png, .svg, .pdf, .npy, .json, .txt",
    ),
    ("--layer conv5 -o none/x.png", "none/x.png: No such file or directory"),
    ("--touched 1", "box: input has 2 axes; a pair (begin, end) for each is wanted"),
    (
        "--touched 1:12345678901,3",
        "box: [1, 12345678901) is no part of an axis of 227 elements",
    ),
    ("--touched 1:999,3", "box: [1, 999) is no part of an axis of 227 elements"),
    ("--touched 1;3", "--touched 1;3: expected a part such as 10:20,30:40"),
    ("--touched 1,1 --layers z*", "--layers z*: no layer has such a name"),
    ("--touched 1,1 --layer conv5", "--layer: not with --touched, which is about every layer"),
    ("--touched 1,1 -o x.png", "--touched gives numbers: write them to a .json or .txt file"),
]


@pytest.mark.parametrize(("args", "line"), BAD, ids=[args or "nothing" for args, _ in BAD])
def test_bad_input(folder: Path, args: str, line: str) -> None:
    Path("bad.jpg").write_bytes(b"\xff\xd8 is not all of it")
    before = sorted(folder.iterdir())
    assert refused("example:alexnet", *args.split()) == line
    assert sorted(folder.iterdir()) == before


def test_an_old_file_stays_where_the_new_one_fails(folder: Path) -> None:
    Path("x.png").write_bytes(b"old")
    refused("example:wavenet", "-l", "out2", "--image", "cat.jpg", "-o", "x.png")
    assert Path("x.png").read_bytes() == b"old"
    assert len(list(folder.iterdir())) == 2
