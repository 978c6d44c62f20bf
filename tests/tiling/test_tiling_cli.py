"""``eyeshot tile``: plans as text and JSON, runs from file to file, exit codes, and every kind of bad input."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

from eyeshot.cli import main, tile_run
from eyeshot.tiling.plan import TilePlan
from eyeshot.tiling.planning import Planner
from eyeshot.tiling.subject import Subject
from eyeshot.tiling.work import Work
from eyeshot.views.tiles import render, to_html, to_text

torch = pytest.importorskip("torch")

SCHEMA = json.loads((files("eyeshot") / "schema" / "tile-1.json").read_text("utf-8"))

NET = '''
import torch
from torch import nn
from torch.nn.functional import interpolate, max_pool2d


class Net(nn.Module):
    """One level down and up, two classes."""

    def __init__(self, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.top = nn.Conv2d(channels, 4, 3, padding=1)
        self.deep = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x):
        top = self.top(x).relu()
        deep = self.deep(max_pool2d(top, 2)).relu()
        return self.head(torch.cat([top, interpolate(deep, scale_factor=2)], 1))


class Squeezed(Net):
    def forward(self, x):
        return super().forward(x) * x.mean((2, 3), keepdim=True)[:, :1]


def one():
    return Net(1)
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A module's file, its weights, and images of 40 × 64 pixels in three colours."""
    from PIL import Image

    home = tmp_path_factory.mktemp("tiles")
    (home / "tile_cli_net.py").write_text(NET, encoding="utf-8")
    pixels = np.random.default_rng(3).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    np.save(home / "image.npy", pixels)
    Image.fromarray(pixels).save(home / "image.png")
    sys.path.insert(0, str(home))
    import tile_cli_net

    net = tile_cli_net.Net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)  # so that weights from the file are told from those without
    torch.save(net.state_dict(), home / "net.pt")
    yield home
    sys.path.remove(str(home))


@pytest.fixture
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(home, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__py*"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*args: Any, **env: str) -> Result:
    return CliRunner(env=env).invoke(main, ["tile", *map(str, args)])


RUN = ("run", "tile_cli_net:Net", "--weights", "net.pt", "--tile", 16, "--no-trial", "--workers", 1)


def refused(*args: Any) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    result = invoke(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("eyeshot: ") and len(line) < 510
    return line.removeprefix("eyeshot: ")


def whole(pixels: np.ndarray, *, weights: str | None = "net.pt") -> np.ndarray:
    """What the module gives for ``[H, W, C]`` pixels at once."""
    import tile_cli_net

    net = tile_cli_net.Net(pixels.shape[2])
    if weights:
        net.load_state_dict(torch.load(weights, weights_only=True))
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    with torch.no_grad():
        return net.eval()(x)[0].permute(1, 2, 0).numpy()


def left(folder: Path) -> set[str]:
    """What a command has left in the folder, beside what was there."""
    before = {"tile_cli_net.py", "net.pt", "image.npy", "image.png", "__pycache__"}
    return {path.name for path in folder.iterdir()} - before


# --- plans

UNET = ("plan", "example:unet", "--input", "1x16384x16384")
LESS = (*UNET[:-1], "1x4096x4096")


def test_the_plan_of_a_unet() -> None:
    """The published halo of depth 4 (94, and 107 of the worst unit), at two widths and in a pipe."""
    for env in ({}, {"COLUMNS": "80"}, {"COLUMNS": "120"}):
        result = invoke(*UNET, **env)
        assert (result.exit_code, result.stderr) == (0, "")
        lines = result.stdout.splitlines()
        assert lines[0] == ("U-Net, depth 4 · input 1x1x16384x16384 → head 1x2x16384x16384 · exact")
        cells = "axis size scale offset grid halo worst unit margin tile tiles".split()
        assert lines[1].split() == cells
        for dim, line in zip("23", lines[3:5], strict=True):
            row = f"{dim} 16,384 1 0 16 94, 94 107, 107 96, 96 1,024 16"
            assert " ".join(line.split()) == row
        assert all(len(line) <= int(env.get("COLUMNS", 100)) for line in lines)
        assert "tiles    256 (16x16)" in lines
        # 1024 + 2 · 96 inside, one margin less at both ends.
        read = 16 * 1024 + 30 * 96
        assert f"read {(read / 16384) ** 2:.4g} times" in result.stdout


@pytest.mark.parametrize("width", [30, 40, 60])
def test_no_number_is_cut_off_in_a_narrow_terminal(width: int) -> None:
    wide, narrow = (invoke(*LESS, COLUMNS=str(n)).stdout for n in (200, width))
    assert wide.count("\n") > 20
    numbers = [sorted(re.findall(r"[\d,.]+\d", text)) for text in (wide, narrow)]
    assert numbers[0] == numbers[1]
    table = narrow.split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= max(30, width)


def test_a_plan_as_json() -> None:
    result = invoke(*LESS, "--tile", "2048x0", "--batch", 4, "--format", "json")
    content = json.loads(result.stdout)
    jsonschema.validate(content, SCHEMA)
    assert (content["tiles"], content["batch"]) == (2, 4)
    assert [axis["tile"] for axis in content["axes"]] == [2048, 0]
    assert content["terms"]["torchio"]["values"]["patch_overlap"] == [192, 0]
    plan = TilePlan.from_dict(content)
    assert len(plan) == 2 and plan[1].read[2] == slice(2048 - 96, 4096)


def test_a_plan_in_a_file(tmp_path: Path) -> None:
    out = tmp_path / "plan.txt"
    result = invoke(*LESS, "-o", out)
    assert (result.exit_code, result.output) == (0, "")
    assert out.read_text("utf-8") == invoke(*LESS).stdout


def test_what_is_said_of_other_networks() -> None:
    """Strides have sizes that must be, one tile is the whole, an axis may differ from the other."""
    strided = invoke("plan", "example:patchgan", "--input", "3x512x256", "--tile", 128).stdout
    assert "sizes    multiples of 8" in strided
    assert "out" in strided.splitlines()[1].split() and " 1/8 " in strided
    one = invoke("plan", "example:wavenet").stdout
    assert "1, which is the whole" in one and "1023, 0" in one
    assert "sizes    any\n" in one


def test_views_of_a_plan() -> None:
    """A notebook's table, and the text; names can't steer a page or a terminal."""
    layers = {"a<b>": {"op": "conv", "kernel": 3, "padding": 1}, "c": "relu"}
    net = {"name": "<i>", "input": [1, 40], "layers": layers}
    plan = Planner(Subject(net)).plan(10)
    page = to_html(plan)
    assert "<i>" not in page and "&lt;i&gt;" in page
    assert page.count("<tr>") == 2
    assert to_text(plan) + "\n" == render(plan, 80)
    assert (str(plan), plan._repr_html_()) == (to_text(plan), page)
    painted = render(plan, 80, lambda text, style: f"{{{text}}}")
    assert painted.startswith("{<i> · input 1x1x40 → c 1x1x40 · exact}")


def test_what_cannot_be_tiled() -> None:
    line = refused("plan", "example:resnet18", "--input", "3x512x512")
    assert line.startswith("no tiles equal the whole: avgpool (global_avg_pool) ")
    assert line.endswith("; --approximate goes on with a halo of yours")


def test_an_approximation_is_called_one() -> None:
    result = invoke("plan", "example:unet", "--input", "1x1024x1024", "--approximate", "32x16")
    head = result.stdout.splitlines()[0]
    assert (result.exit_code, head.endswith("· approximate")) == (0, True)
    assert "32, 32" in result.stdout and "16, 16" in result.stdout
    assert "a halo of 32x16 was stated; 94 and 94 would be exact" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--tile", "1x"), "--tile 1x: expected a number, or one for each axis: 512x2048"),
        (("--tile", "-4"), "--tile -4: expected a number"),
        (("--tile", "1x2x3"), "tile: 3 sizes for 2 axes"),
        (("--approximate", "9x9x9"), "approximate: 3 halos for 2 axes"),
        (("--batch", "0"), "plan: Invalid value for '--batch'"),
        (("--output-layer", "nowhere"), "there is no layer 'nowhere'"),
        (("--weights", "net.pt"), "weights: a spec has no weights"),
    ],
)
def test_a_plan_that_makes_no_sense(args: tuple[str, ...], message: str) -> None:
    line = refused(*LESS, *args)
    assert line.startswith(message)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("1x8192x8192", "--tile", "1"), " tiles are more than 16777216"),
        (("1x16384",), "unet.yaml: layers.enc1.pool.kernel: 2 is larger than its input"),
        (("1x100x100",), "unet.yaml: layers.dec3.cat.inputs: shapes "),
        (("1x0x0",), "input: a size must be a whole number from 1 to 2^40, got 0"),
        (("1x9999999999999x16",), "input: a size must be a whole number from 1 to 2^40"),
        (("1xax3",), "input: expected a shape like 3x224x224"),
    ],
)
def test_sizes_that_make_no_sense(args: tuple[str, ...], message: str) -> None:
    assert message in refused("plan", "example:unet", "--input", *args)


def test_a_tile_of_no_whole_number_of_outputs() -> None:
    line = refused("plan", "example:patchgan", "--input", "3x512x512", "--tile", 100)
    assert line.endswith("take a multiple of 8")


# --- runs


def test_from_a_picture_to_zarr(folder: Path) -> None:
    """The result is what the module gives at once; the summary says what was done."""
    import zarr

    result = invoke(*RUN, "image.png", "-o", "out.zarr", "--scale", "1/255")
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert re.fullmatch(r"out\.zarr: 12 tiles in .* s, .*px/s\n", result.stderr)
    found = np.asarray(zarr.open_array("out.zarr", mode="r")[:])
    expected = whole(np.load("image.npy").astype(np.float32) / np.float32(255))
    assert found.shape == (40, 64, 2) and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-6
    assert left(folder) == {"out.zarr"}


def test_axes_channels_and_numbers(folder: Path) -> None:
    """Two stacks of channels first, of which three are taken in another order; bytes are written."""
    x = np.random.default_rng(5).normal(size=(2, 5, 24, 32)).astype(np.float32)
    np.save("stack.npy", x)
    result = invoke(
        *(*RUN, "stack.npy", "-o", "out.tif", "--image-axes", "tcyx", "--channels", "4,0,1"),
        *("--mean", "0.1,0.2,0.3", "--std", "2", "--out-dtype", "uint8", "--out-scale", "100"),
        *("--batch", 2, "--quiet"),
    )
    assert (result.exit_code, result.output) == (0, "")
    import tifffile

    found = tifffile.imread("out.tif")
    assert found.shape == (2, 2, 24, 32) and found.dtype == np.uint8
    given = (x[:, [4, 0, 1]] - np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1)) / 2
    for item, wanted in zip(found, given, strict=True):
        y = 100 * whole(wanted.transpose(1, 2, 0).astype(np.float32)).transpose(2, 0, 1)
        assert np.abs(np.clip(y, 0, 255) - item).max() < 0.51
        assert item.any()


def test_the_models_own_axes(folder: Path) -> None:
    """``--axes`` is the model's, ``--image-axes`` the image's: tiles along the height only."""
    np.save("grey.npy", np.load("image.npy")[..., 0])
    result = invoke(
        *("run", "tile_cli_net:one", "grey.npy", "-o", "out.npy", "--tile", "16x0"),
        *("--image-axes", "yx", "--axes", "2,3", "--dtype", "float64", "--no-trial", "-q"),
    )
    assert (result.exit_code, result.output) == (0, "")
    grey = np.load("grey.npy")[..., None].astype(np.float32)
    found = np.load("out.npy")
    assert found.shape == (2, 40, 64) and found.dtype == np.float64
    assert np.abs(found - whole(grey, weights=None).transpose(2, 0, 1)).max() < 1e-3


def test_an_output_that_exists_is_left_alone(folder: Path) -> None:
    (folder / "out.npy").write_text("mine", encoding="utf-8")
    assert "--overwrite" in refused(*RUN, "image.npy", "-o", "out.npy")
    assert (folder / "out.npy").read_text("utf-8") == "mine"
    assert left(folder) == {"out.npy"}
    result = invoke(*RUN, "image.npy", "-o", "out.npy", "--overwrite", "-q")
    assert (result.exit_code, result.output) == (0, "")
    assert np.load("out.npy").shape == (40, 64, 2)
    assert left(folder) == {"out.npy"}


def test_the_image_is_never_overwritten(folder: Path) -> None:
    before = (folder / "image.npy").read_bytes()
    line = refused(*RUN, "image.npy", "-o", "./image.npy", "--overwrite")
    assert "image.npy: would be written over the image " in line
    line = refused(*RUN, "image.npy", "-o", "net.pt/out.npy", "--overwrite")
    assert "net.pt/out.npy: would be written over the model " in line
    assert (folder / "image.npy").read_bytes() == before
    assert left(folder) == set()


def test_interrupted_and_resumed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is one line and exit code 130; the same command with --resume ends equal to an unbroken run."""
    command = (*RUN, "image.npy", "-o", "out.npy")
    assert invoke(*RUN, "image.npy", "-o", "other.npy", "-q").exit_code == 0

    def interrupting() -> Any:
        def progress(done: int, *_: Any) -> None:
            if done == 5:
                raise KeyboardInterrupt

        return progress

    with monkeypatch.context() as patched:
        patched.setattr(tile_run, "_log", interrupting)
        result = invoke(*command)
    assert (result.exit_code, result.stdout) == (130, "")
    assert re.fullmatch(r"eyeshot: .* of 12 tiles; .*--resume\n", result.stderr)
    assert not (folder / "out.npy").exists()
    assert "--resume" in refused(*command)
    assert "the model was another one" in refused(
        *("run", "tile_cli_net:Net", "image.npy", "-o", "out.npy", "--resume", "--no-trial")
    )
    np.save("changed.npy", np.load("image.npy") // 2)
    changed = [*RUN, "changed.npy", "-o", "out.npy", "--resume"]
    assert "the image was another one" in refused(*changed)
    result = invoke(*command, "--resume")
    assert result.exit_code == 0
    assert re.match(r"out\.npy: \d tiles in .*, \d done before\n", result.stderr)
    assert (folder / "out.npy").read_bytes() == (folder / "other.npy").read_bytes()


def test_an_approximate_run_says_so(folder: Path) -> None:
    result = invoke(*RUN, "image.npy", "-o", "out.npy", "--approximate", 2)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines[1].startswith("approximate: the error was estimated to be at most ")
    assert "places of the image" in lines[1]
    assert lines[2] == "note: a halo of 2 was stated; 5 and 5 would be exact"
    there = np.abs(np.load("out.npy") - whole(np.load("image.npy").astype(np.float32))).max()
    assert there > 1  # of pixels up to 255: a seam


def test_progress_without_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line now and then; here, all the time."""
    monkeypatch.setattr(tile_run, "LOG", -1.0)
    lines = invoke(*RUN, "image.npy", "-o", "out.npy").stderr.splitlines()
    assert len(lines) == 13
    assert re.fullmatch(r"3 of 12 tiles, .*px/s, .* left", lines[3])


def test_nans_are_passed_on_and_counted(folder: Path) -> None:
    pixels = np.load("image.npy").astype(np.float32)
    pixels[3, 4, 0] = pixels[39, 63, 2] = np.nan
    np.save("nan.npy", pixels)
    result = invoke(*RUN, "nan.npy", "-o", "out.npy")
    assert result.exit_code == 0
    assert "2 values of the image are NaN, and were passed on\n" in result.stderr
    assert np.array_equal(np.isnan(np.load("out.npy")), np.isnan(whole(pixels)))
    pixels[39, 63, 2] = 0
    np.save("nan.npy", pixels)
    result = invoke(*RUN, "nan.npy", "-o", "out.npy", "--overwrite")
    assert "1 value of the image is NaN, and was passed on\n" in result.stderr


def test_tiles_that_fail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are done; place and cause are told, the exit code is 2, and --resume does the rest."""
    command = (*RUN, "image.npy", "-o", "out.npy", "--retries", 0)
    call = Work.__call__

    def pulled(self: Work, task: Any) -> Any:
        if task.unit in (4, 6, 7, 8, 9, 10, 11):
            raise OSError("the cable was pulled")
        return call(self, task)

    with monkeypatch.context() as patched:
        patched.setattr(Work, "__call__", pulled)
        result = invoke(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    first, *failed, last = result.stderr.splitlines()
    assert re.fullmatch(r"5 tiles in .*", first)
    # Windows of 3 at the head, below and above add 1 + 2 + 1, the pooling 1: 5, on the grid of 2.
    assert failed[0] == "tile 4 at [10:38,0:22]: OSError: the cable was pulled"
    assert len(failed) == 6 and failed[-1] == "and 2 more"
    assert re.fullmatch(r"eyeshot: 7 of 12 tiles failed; .*--resume tries these again", last)
    assert not (folder / "out.npy").exists()
    assert invoke(*command, "--resume", "-q").exit_code == 0
    expected = whole(np.load("image.npy").astype(np.float32))
    assert np.abs(np.load("out.npy") - expected).max() < 1e-3


# --- bad input


class Harmful:
    """Unpickled it writes a file."""

    def __reduce__(self) -> Any:
        return open, ("harm", "w")


def test_weights_that_do_not_fit(folder: Path) -> None:
    state = torch.load("net.pt", weights_only=True)
    torch.save({k: v for k, v in state.items() if k != "head.bias"}, "net.pt")
    assert "lacks head.bias" in refused(*RUN, "image.npy", "-o", "out.npy")
    torch.save(state | {"head.bias": torch.zeros(5)}, "net.pt")
    assert "head.bias is 5" in refused(*RUN, "image.npy", "-o", "out.npy")
    torch.save({"state_dict": state, "more": Harmful()}, "net.pt")
    assert "is not unpickled" in refused(*RUN, "image.npy", "-o", "out.npy")
    assert not (folder / "harm").exists()
    (folder / "net.pt").write_bytes(b"PK\x03\x04 nothing")
    assert "net.pt" in refused(*RUN, "image.npy", "-o", "out.npy")
    assert left(folder) == set()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("none.npy", "-o", "out.npy"), "there is no such image"),
        (("tile_cli_net.py", "-o", "out.npy"), "is no image that can be read"),
        (("cut.npy", "-o", "out.npy"), "truncated"),
        (("cut.png", "-o", "out.npy"), "truncated"),
        (("image.npy", "-o", "none/out.npy"), "there is no folder"),
        (("image.npy", "-o", "out.jpg"), "not .jpg"),
        (("image.npy", "-o", "out.npy", "--resume"), "there is no unfinished run to go on with"),
        (("image.npy", "-o", "out.npy", "--image-axes", "yx"), "2 letters (yx)"),
        (("image.npy", "-o", "out.npy", "--image-axes", "yxx"), "x is there twice"),
        (
            ("image.npy", "-o", "out.npy", "--image-axes", "yxc", "--channels", "0,9"),
            "no channel 9",
        ),
        (
            ("image.npy", "-o", "out.npy", "--image-axes", "yxc", "--channels", "0"),
            "the model takes 3 channels, the image has 3 (1 chosen): its dims are y=40, x=64, c=3; ",
        ),
        (
            ("image.npy", "-o", "out.npy", "--image-axes", "tyx"),
            "the model takes 3 channels, the image has 1: its dims are t=40, y=64, x=3; choose ",
        ),
        (("image.npy", "-o", "out.npy", "--channels", "a"), "--channels a: expected whole"),
        (("image.npy", "-o", "out.npy", "--mean", "1,2"), "2 numbers for the model's 3 channels"),
        (("image.npy", "-o", "out.npy", "--mean", "x"), "--mean x: expected numbers"),
        (("image.npy", "-o", "out.npy", "--std", "0"), "--std: 0 can't be divided by"),
        (("image.npy", "-o", "out.npy", "--scale", "1/0"), "--scale: expected a number"),
        (("image.npy", "-o", "out.npy", "--out-dtype", "text"), "--out-dtype: text is none of"),
        (("image.npy", "-o", "out.npy", "--memory", "2XB"), "memory: expected an amount"),
        (("image.npy", "-o", "out.npy", "--output-layer", "none"), "there is no layer 'none'"),
        (("image.npy", "-o", "out.npy", "--device", "moon"), "device"),
        (("image.npy",), "Missing option '-o'"),
    ],
)
def test_a_run_that_cannot_be(folder: Path, args: tuple[str, ...], message: str) -> None:
    """One line, exit code 2, and nothing is left behind."""
    for name in ("image.npy", "image.png"):
        content = (folder / name).read_bytes()
        (folder / f"cut{Path(name).suffix}").write_bytes(content[: len(content) * 2 // 3])
    assert message in refused(*RUN, *args)
    assert left(folder) == {"cut.npy", "cut.png"}


def test_models_that_cannot_run(folder: Path) -> None:
    out = ("image.npy", "-o", "out.npy", "--no-trial")
    assert "a spec has no weights" in refused("run", "example:unet", *out)
    assert "of which network" in refused("run", "net.pt", *out)
    assert "has no 'none'" in refused("run", "tile_cli_net:none", *out)
    line = refused("run", "tile_cli_net:Squeezed", *out)
    assert line.startswith("no tiles equal the whole: mean (mean) ")
    assert left(folder) == set()


def test_a_budget_too_small(folder: Path) -> None:
    """An ONNX file, which is measured soonest: the line says the least that does."""
    onnx = pytest.importorskip("onnx")
    text = (
        '<ir_version: 8, opset_import: ["": 17]> net (float[N, 3, H, W] image) => (float[N, 2, H, W] y) '
        "<int64[4] s = {2, 3, 3, 3}> { w = ConstantOfShape<value = float[1] {0.5}>(s) "
        "y = Conv<pads = [1, 1, 1, 1]>(image, w) }"
    )
    onnx.save(onnx.parser.parse_model(text), "net.onnx")
    line = refused("run", "net.onnx", "image.npy", "-o", "out.npy", "--memory", "9MB")
    found = re.fullmatch(
        r"memory: 9\.00 MB is too little: the smallest tiles .* take .*; give at least (\d+) MB",
        line,
    )
    assert found and 20 < int(found[1]) < 900
    assert left(folder) == {"net.onnx"}
    result = invoke("run", "net.onnx", "image.npy", "-o", "out.npy", "--tile", 16, "-q")
    assert (result.exit_code, result.output) == (0, "")
    x = torch.from_numpy(np.load("image.npy").transpose(2, 0, 1).astype(np.float32))[None]
    expected = torch.nn.functional.conv2d(x, torch.full((2, 3, 3, 3), 0.5), padding=1)
    assert np.abs(np.load("out.npy").transpose(2, 0, 1) - expected[0].numpy()).max() < 1e-2


@pytest.mark.parametrize(("missing", "out"), [("dask", "out.npy"), ("zarr", "out.zarr")])
def test_a_missing_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str, out: str
) -> None:
    """Nothing but what the command needs has to be there, and what it lacks is said."""
    monkeypatch.setitem(sys.modules, missing, None)
    assert "pip install 'eyeshot[tile]'" in refused(*RUN, "image.npy", "-o", out)
    assert left(folder) == set()


# --- words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.6, "1:00"), (3725, "1:02:05")],
)
def test_durations(seconds: float, text: str) -> None:
    assert tile_run._duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, ""), (12.0, "12 px/s"), (12_340, "12.3 kpx/s"), (3.2e6, "3.2 Mpx/s"), (1e9, "1 Gpx/s")],
)
def test_rates(rate: float, text: str) -> None:
    assert tile_run._rate(rate) == text
