"""``eyeshot erf``: tables, files, exit codes, interruption."""

from __future__ import annotations

import json
import pickle
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

import eyeshot
from eyeshot.cli import main
from eyeshot.views.effective import to_text

SCHEMA = json.loads((files("eyeshot") / "schema" / "erf-1.json").read_text("utf-8"))
FIVE = """\
two layers on 5x5 · layer2 at 1,1 · input 5×5 · mass
share   side   of the input   of the field
──────────────────────────────────────────
 20 %      3         16.0 %         25.0 %
 30 %      3         16.0 %         25.0 %
 50 %      5         36.0 %         56.2 %
 99 %      7         64.0 %        100.0 %
field          7×7, 4×4 of it inside the input
centre         4.5, 4.5
spread         1.02 (closed form 1.826)
half maximum   3.5
Gaussian       1.292 about 3.33, 3.33, R² 0.758
effective      100.0 % of the field
no unit is exactly in the middle; taken is row 1 of 2, column 1 of 2, counted from 0
69.1 % of the mass fell into padding
"""


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["erf", *args])


def test_the_table_of_one() -> None:
    result = run("example:five-by-five")
    assert (result.stdout, result.stderr, result.exit_code) == (FIVE, "", 0)
    assert str(eyeshot.erf("example:five-by-five")) + "\n" == FIVE


def test_the_figures_of_the_table_are_a_direct_count() -> None:
    """Layer 2's unit reads rows 1, 2, 3 and 3, 4, 5 … of the input, by hand."""
    once = np.zeros(5)
    for begin in (1, 3, 5):
        for k in range(begin, begin + 3):
            if k < 5 and begin < 5:  # the last unit of layer 1 does not exist
                once[k] += 1 / 9
    mass = np.outer(once, once)
    erf = eyeshot.erf("example:five-by-five")
    assert np.allclose(erf.map, mass)
    assert mass.sum() == pytest.approx(1 - 0.691, abs=1e-3)


def test_several_side_by_side() -> None:
    names = ["example:alexnet", "example:vgg16", "example:unet"]
    result = run(*names)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "effective receptive fields · mass"
    for name, line in zip(names, lines[3:6], strict=True):
        erf = eyeshot.erf(name)
        cells = re.split(r"\s{2,}", line)
        assert cells[:3] == [erf.title, erf.layer, ",".join(map(str, erf.index))]
        shown = [float(cell.removesuffix(" %")) for cell in cells[4:8]]
        expected = [100 * square.area_ratio for square in erf.squares]
        assert shown == pytest.approx(expected, rel=0.06)
        assert float(cells[-1].removesuffix(" %")) == pytest.approx(
            100 * erf.share_of_field, abs=0.06
        )
    assert any(line.startswith("VGG-16: ") for line in lines[6:])


def test_a_narrow_terminal_has_a_column_for_each() -> None:
    erfs = [eyeshot.erf(f"example:{name}") for name in ("alexnet", "vgg16", "five-by-five")]
    wide, narrow = to_text(erfs), to_text(erfs, 80)
    assert max(map(len, wide.splitlines()[:6])) > 80 >= max(map(len, narrow.splitlines()))
    rows = [re.split(r"\s{2,}", line) for line in wide.splitlines() if "   " in line]
    columns = [re.split(r"\s{2,}", line) for line in narrow.splitlines() if "  " in line]
    assert len(rows) == 4 and rows == [list(row) for row in zip(*columns, strict=True)]


def test_protocols_that_differ_have_a_column() -> None:
    mass = eyeshot.erf("example:five-by-five")
    values = {
        k: v for k, v in vars(mass).items() if not k.startswith("_") and k not in ("map", "samples")
    }
    grad = eyeshot.Erf(mass.map, **{**values, "protocol": "positive"}, samples=1)
    text = to_text([mass, grad])
    assert "protocol" in text.splitlines()[0] and "positive over 1 image " in text


def test_json_of_one_and_of_several(tmp_path: Path) -> None:
    one = json.loads(run("example:alexnet", "-f", "json").stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(one)
    assert one == eyeshot.erf("example:alexnet").to_dict()
    several = json.loads(run("example:alexnet", "example:vgg16", "-f", "json").stdout)
    assert [each["title"] for each in several] == ["AlexNet", "VGG-16"]
    assert several[0] == one
    out = tmp_path / "erf.json"
    result = run("example:alexnet", "-o", str(out))
    assert (result.stdout, result.exit_code) == ("", 0)
    assert json.loads(out.read_text("utf-8")) == one


def test_the_unit_that_is_asked_for() -> None:
    result = run("example:alexnet", "-l", "conv3", "--at", "2,11", "-f", "json")
    content = json.loads(result.stdout)
    assert (content["layer"], content["index"]) == ("conv3", [2, 11])
    assert content == eyeshot.erf("example:alexnet", layer="conv3", at=(2, 11)).to_dict()
    small = json.loads(run("example:unet", "-i", "1x64x64", "-f", "json").stdout)
    assert small["shape"] == [64, 64]


def test_the_map_and_the_table_as_files(tmp_path: Path) -> None:
    out = tmp_path / "map.npy"
    result = run("example:five-by-five", "-o", str(out))
    assert (result.stdout, result.exit_code) == ("", 0)
    assert (np.load(out) == eyeshot.erf("example:five-by-five").map).all()
    table = tmp_path / "table.txt"
    assert run("example:five-by-five", "-o", str(table)).stdout == ""
    assert table.read_text("utf-8") == FIVE


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / f"erf.{suffix}"
    result = run("example:five-by-five", "-o", str(out))
    assert (result.stdout, result.stderr, result.exit_code) == ("", "", 0)
    begin = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    light = out.read_bytes()
    assert light.startswith(begin)
    run("example:five-by-five", "-o", str(out), "--theme", "dark", "--dpi", "50")
    assert out.read_bytes().startswith(begin) and out.read_bytes() != light


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["example:alexnet", "--at", "9,9"], "pool5: index 9 is outside 0 … 5"),
        (["example:alexnet", "--at", "1"], "fc7-conv: a unit has 2 indices"),
        (["example:alexnet", "--at", "x"], "--at x: expected an index such as 3,3"),
        (["example:alexnet", "-l", "conv9"], "there is no layer 'conv9'; did you mean 'conv"),
        (["example:alexnet", "--data", "random"], "takes gradients of a PyTorch module"),
        (["example:alexnet", "-p", "positive"], "takes gradients of a PyTorch module"),
        (["model.onnx", "-p", "mean-abs"], "takes gradients of a PyTorch module"),
        (["example:alexnet", "-p", "mass", "--data", "random"], "data: the protocol mass"),
        (["example:alexnet", "--samples", "3"], "samples: the protocol mass"),
        (["example:alexnet", "--full"], "crop: the protocol mass"),
        (["example:alexnet", "--weights", "w.pt"], "weights: the protocol mass"),
        (["example:alexnet", "--mean", "0.5,a"], "--mean 0.5,a: expected numbers"),
        (["example:alexnet", "-o", "erf.jpg"], "--output erf.jpg: expected a name that ends in"),
        (["example:alexnet", "-o", "erf"], "--output erf: expected a name that ends in"),
        (["example:alexnet", "example:vgg16", "-o", "m.npy"], "takes the map of one SOURCE"),
        (["example:alexnet", "-o", "nowhere/erf.json"], "nowhere/erf.json: No such file"),
        (["example:alexnet", "missing.yaml", "-o", "erf.json"], "missing.yaml"),
        ([], "Missing argument 'SOURCE...'"),
    ],
)
def test_bad_input_is_one_line(
    args: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "9,9" in args:
        args = [*args, "-l", "pool5"]
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("eyeshot: ") and result.stderr.count("\n") == 1
    assert line in result.stderr
    assert list(tmp_path.iterdir()) == []


# --- gradients, and what Ctrl-C leaves


def factory() -> Any:
    """What ``package.module:factory`` refers to."""
    from torch import nn

    # A ReLU may be off at every unit that counts, as the weights happen to fall.
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.LeakyReLU(), nn.Conv2d(2, 1, 3))


NET = f"{__name__}:factory"


class Loud:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The calls of the gradient route, which a stand-in answers: the second one is interrupted."""
    pytest.importorskip("torch")
    from eyeshot import gradients

    calls: list[dict[str, Any]] = []

    def measure(
        module: Any, report: Any, layer: str, index: tuple[int, ...], **call: Any
    ) -> gradients.Measured:
        calls.append({"layer": layer, "index": index, **call})
        if len(calls) == 3:
            raise KeyboardInterrupt
        return gradients.Measured(np.ones((9, 9)), 4 - len(calls), len(calls) == 2, ("a remark",))

    monkeypatch.setattr(gradients, "measure", measure)
    return calls


def test_options_reach_the_gradients(measured: list[dict[str, Any]]) -> None:
    result = run(
        NET, "-i", "1x9x9", "--data", "random", "-n", "3", "--channels", "0,1", "--batch", "2",
        "--device", "cpu", "--full", "--weights", "w.pt", "--resize", "--mean", "0.5", "--std",
        "0.25", "--seed", "7", "--at", "1,2", "--train",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    (call,) = measured
    expected = {
        "layer": "2", "index": (1, 2), "data": "random", "protocol": "mean-abs", "samples": 3,
        "channels": (0, 1), "batch": 2, "device": "cpu", "crop": False, "weights": "w.pt",
        "resize": True, "mean": (0.5,), "std": (0.25,), "seed": 7, "training": True,
    }  # fmt: skip
    assert {key: call[key] for key in expected} == expected
    assert "mean-abs over 3 images" in result.stdout and "a remark" in result.stdout


def test_ctrl_c_keeps_what_there_is(measured: list[dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "erf.json"
    result = run(NET, NET, NET, "-i", "1x9x9", "-p", "positive", "-o", str(out))
    assert result.exit_code == 130
    assert result.stderr == f"eyeshot: interrupted: {NET} is over 2 images\n"
    assert [each["interrupted"] for each in json.loads(out.read_text("utf-8"))] == [False, True]


def test_ctrl_c_before_the_first_image(measured: list[dict[str, Any]], tmp_path: Path) -> None:
    measured.extend([{}, {}])
    result = run(NET, "-i", "1x9x9", "-p", "positive", "-o", str(tmp_path / "erf.json"))
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.strip() == "eyeshot: interrupted"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_between_sources_keeps_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    first = eyeshot.erf("example:five-by-five")
    given = iter([first])

    def erf(*args: Any, **call: Any) -> Any:
        for one in given:
            return one
        raise KeyboardInterrupt

    monkeypatch.setattr(eyeshot, "erf", erf)
    result = run("example:five-by-five", "example:alexnet")
    assert (result.stdout, result.exit_code) == (FIVE, 130)
    assert result.stderr == "eyeshot: interrupted: example:alexnet is left out\n"


def test_gradients_of_a_real_module() -> None:
    pytest.importorskip("torch")
    content = json.loads(
        run(NET, "-i", "1x9x9", "--data", "random", "-n", "2", "-f", "json").stdout
    )
    jsonschema.Draft202012Validator(SCHEMA).validate(content)
    assert (content["protocol"], content["samples"]) == ("mean-abs", 2)
    assert (content["layer"], content["index"], content["centre"]) == ("2", [2, 2], [4.5, 4.5])
    assert content["clipped"] == [[2, 7], [2, 7]]


def test_the_size_comes_from_the_data(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "images.npy"
    np.save(file, np.random.default_rng(0).random((2, 1, 11, 13), np.float32))
    content = json.loads(run(NET, "--data", str(file), "-f", "json").stdout)
    assert content["shape"] == [11, 13] and content["samples"] == 2
    pillow = pytest.importorskip("PIL.Image")
    (tmp_path / "photos").mkdir()
    pillow.new("L", (12, 10), 40).save(tmp_path / "photos" / "a.png")
    for images in (tmp_path / "photos", tmp_path / "photos" / "a.png"):
        content = json.loads(run(NET, "--data", str(images), "-f", "json").stdout)
        assert content["shape"] == [10, 12] and content["samples"] == 1
    (tmp_path / "empty.npy").touch()
    np.savez(tmp_path / "zip.npz", np.zeros((1, 1, 9, 9), np.float32))
    (tmp_path / "zip.npz").rename(tmp_path / "zip.npy")
    for more in (
        ["-p", "positive"],
        *(["--data", str(tmp_path / n)] for n in ("empty.npy", "zip.npy")),
    ):
        result = run(NET, *more)
        assert result.exit_code == 2 and "what it is called with is not known" in result.stderr
        assert result.stderr.count("\n") == 1
    assert run(NET, "--data", "random", "-i", "1x9x9", "--device", "meta").stderr == (
        "eyeshot: device: meta computes nothing; try cpu or cuda\n"
    )


def test_weights_that_are_a_foreign_pickle(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "weights.pt"
    file.write_bytes(pickle.dumps(Loud(), protocol=4))  # torch also warns of the protocol
    result = run(NET, "--data", "random", "-i", "1x9x9", "--weights", str(file))
    assert result.exit_code == 2 and "is not unpickled" in result.stderr
    assert result.stderr.count("\n") == 1


def test_random_weights_are_said_to_be() -> None:
    pytest.importorskip("torchvision")
    erf = eyeshot.erf(
        "torchvision:squeezenet1_1", (1, 3, 64, 64), layer="features.0", data="random", samples=1
    )
    assert any("weights are random" in note for note in erf.notes)
