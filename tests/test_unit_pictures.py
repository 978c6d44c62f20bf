"""Pictures of a unit's field and of effective receptive fields: what is drawn is what was worked out."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import eyeshot
from eyeshot import pictures
from eyeshot.analysis.erf import Erf
from eyeshot.errors import EyeshotError
from eyeshot.views.pictures import images
from eyeshot.views.pictures.fieldpanel import _outline
from eyeshot.views.pictures.planes import reduced

THEMES = ("light", "dark")


def photo(height: int = 48, width: int = 64) -> Image.Image:
    """A scene with slow and fast changes and all colours."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    base = np.stack([255 * x / width, 255 * y / height, 127 + 90 * np.sin(x / 5)], -1)
    return Image.fromarray((base * 0.8 + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def alexnet() -> eyeshot.Report:
    return eyeshot.analyze("example:alexnet")


@pytest.fixture(scope="module")
def dilated() -> eyeshot.Report:
    """Two layers whose fields have holes."""
    layers = {
        "a": {"op": "conv", "kernel": 3, "dilation": 4, "padding": 4},
        "b": {"op": "conv", "kernel": 3, "dilation": 8, "padding": 8},
    }
    return eyeshot.analyze({"input": [1, 48, 64], "layers": layers})


def artist(ax: Any, label: str) -> Any:
    found = [child for child in ax.get_children() if child.get_label() == label]
    assert len(found) == 1, (label, [child.get_label() for child in ax.get_children()])
    return found[0]


def has(ax: Any, label: str) -> bool:
    return any(child.get_label() == label for child in ax.get_children())


def sides(rectangle: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    """Rows and columns, begin and end."""
    x, y = rectangle.get_xy()
    return (y, y + rectangle.get_height()), (x, x + rectangle.get_width())


# --- one unit


@pytest.mark.parametrize("theme", THEMES)
def test_what_is_drawn_is_the_unit(alexnet: eyeshot.Report, theme: str) -> None:
    unit = alexnet.unit("conv5", (1, 6))
    ax: Any = pictures.draw_unit(unit, photo(), theme=theme)
    assert sides(artist(ax, "_box")) == unit.box == ((-48, 115), (32, 195))
    assert sides(artist(ax, "_clipped")) == unit.clipped
    assert sides(artist(ax, "_padding")) == unit.box
    (top, bottom), (left, right) = unit.clipped
    heat = artist(ax, "_mass")
    assert heat.get_extent() == [left, right, bottom, top]
    assert np.array_equal(heat.get_array(), unit.mass[top:bottom, left:right])
    assert heat.get_clim() == (0, unit.mass.max())
    assert artist(ax, "_image").get_extent() == [0, 227, 227, 0]
    assert np.array_equal(artist(ax, "_centre").get_xydata(), [[113.5, 33.5]])
    low, high = sorted(ax.get_ylim())
    assert ax.yaxis_inverted() and low < -48 and high > 227, "the view grows to show padding"
    assert ax.get_title(loc="left") == "conv5 (1, 6)\nfield 163×163 · jump 16 · 22 % in padding"


@pytest.mark.parametrize("on_image", [False, True])
@pytest.mark.parametrize("mass", [False, True])
def test_holes_are_seen(dilated: eyeshot.Report, on_image: bool, mass: bool) -> None:
    unit = dilated.unit("b", (24, 30))
    ax: Any = pictures.draw_unit(unit, photo() if on_image else None, mass=mass, zoom=False)
    alpha = artist(ax, "_mask").get_array()[..., 3]
    (top, bottom), (left, right) = unit.clipped
    inside = unit.mask[top:bottom, left:right]
    # A veil lies over holes; only where there is nothing else to see is what is read painted instead.
    marked = alpha == 0 if on_image or mass else alpha > 0
    assert np.array_equal(marked, inside)
    assert (~marked).sum() == unit.holes.sum() == 25 * 25 - 49
    assert has(ax, "_mass") is mass
    pieces = artist(ax, "_outline").get_segments()
    assert len(pieces) == 4 * 49, "every pixel stands alone"


def test_an_outline_is_every_edge_once() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        rows, columns = random.integers(1, 7, 2)
        read = random.random((rows, columns)) < 0.6
        pieces = _outline(read, (10, 20))
        drawn = set()
        for (x0, y0), (x1, y1) in pieces:
            assert x0 == x1 or y0 == y1
            for step in range(int(abs(x1 - x0) + abs(y1 - y0))):
                place = (x0, y0 + step, 1) if x0 == x1 else (x0 + step, y0, 0)
                assert place not in drawn
                drawn.add(place)
        wanted = set()
        for y in range(-1, rows + 1):
            for x in range(-1, columns + 1):
                here = 0 <= y < rows and 0 <= x < columns and read[y, x]
                below = 0 <= y + 1 < rows and 0 <= x < columns and read[y + 1, x]
                beside = 0 <= y < rows and 0 <= x + 1 < columns and read[y, x + 1]
                if here != below:
                    wanted.add((x + 20, y + 1 + 10, 0))
                if here != beside:
                    wanted.add((x + 1 + 20, y + 10, 1))
        assert drawn == wanted


def test_parts_can_be_left_out(alexnet: eyeshot.Report) -> None:
    unit = alexnet.unit("conv5", (6, 6))
    ax = pictures.draw_unit(unit, photo(), box=False, mask=False)
    assert has(ax, "_mass") and not any(has(ax, f"_{n}") for n in ("box", "clipped", "mask"))
    ax = pictures.draw_unit(unit, photo(), mass=False, mask=False)
    assert has(ax, "_clipped") and not has(ax, "_mass") and not has(ax, "_mask")
    colours = artist(ax, "_image").get_array()
    assert (colours[..., 0] != colours[..., 1]).any(), "without heat the image keeps its colours"


def test_a_small_field_is_shown_from_near(alexnet: eyeshot.Report) -> None:
    unit = alexnet.unit("conv1", (20, 20))
    near: Any = pictures.draw_unit(unit)
    assert np.ptp(near.get_xlim()) < 20
    whole: Any = pictures.draw_unit(unit, zoom=False)
    assert np.ptp(whole.get_xlim()) > 227
    under: Any = pictures.draw_unit(unit, photo())
    assert np.ptp(under.get_xlim()) > 227


def test_axes_and_settings_are_the_callers(alexnet: eyeshot.Report) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    made = Figure()
    ax = made.add_subplot()
    assert pictures.draw_unit(alexnet.unit("conv5", (6, 6)), ax=ax, theme="dark") is ax
    assert dict(matplotlib.rcParams) == before
    with pytest.raises(EyeshotError, match="takes 1 axes, got 2"):
        pictures.draw_unit(alexnet.unit("conv5", (6, 6)), ax=[ax, ax])


def test_global_fields_are_drawn_and_said() -> None:
    net = {
        "input": [4, 40, 40],
        "layers": {
            "local": {"op": "conv", "kernel": 3, "padding": 1},
            "pool": "global_avg_pool",
            "out": {"op": "mul", "inputs": ["local", "pool"]},
        },
    }
    report = eyeshot.analyze(net)
    ax: Any = pictures.draw_unit(report.unit("out", (20, 10)))
    assert sides(artist(ax, "_box")) == ((19, 22), (9, 12))
    assert sides(artist(ax, "_clipped")) == ((0, 40), (0, 40))
    assert "field 3×3 + global" in ax.get_title(loc="left")
    assert "reads the whole axis" in ax.get_xlabel()
    ax = pictures.draw_unit(report.unit("pool"))
    assert "field global" in ax.get_title(loc="left")


def test_inputs_of_one_and_three_axes() -> None:
    line = eyeshot.analyze("example:wavenet").unit("block2.add", (5,))
    ax: Any = pictures.draw_unit(line)
    stairs = artist(ax, "_mass").get_data()
    (begin, end) = line.clipped[0]
    assert np.array_equal(stairs.values, line.mass[begin:end])
    assert np.array_equal(stairs.edges, np.arange(begin, end + 1))
    assert artist(ax, "_box").get_x() == line.box[0][0] == -2
    layers = {"a": {"op": "conv", "kernel": [3, 5, 7]}}
    solid = eyeshot.analyze({"input": [1, 9, 11, 13], "layers": layers}).unit("a", (3, 3, 3))
    slices: Any = pictures.draw_unit(solid)
    assert len(slices) == 3
    for gone, ax in enumerate(slices):
        kept = [k for k in range(3) if k != gone]
        begin, end = solid.clipped[gone]
        drawn = artist(ax, "_mass").get_array()
        cut = solid["input"].mass_in_box.take((end - begin) // 2, axis=gone)
        assert np.array_equal(drawn, cut)
        assert sides(artist(ax, "_clipped")) == tuple(solid.clipped[k] for k in kept)
        assert ax.get_title(loc="left").startswith(f"axis {2 + gone} at ")
    with pytest.raises(EyeshotError, match="two axes"):
        pictures.draw_unit(line, photo())
    four = {"input": [1, 5, 5, 5, 5], "layers": {"a": "relu"}}
    with pytest.raises(EyeshotError, match="one, two or three axes can be drawn, not of 4"):
        pictures.draw_unit(eyeshot.analyze(four).unit("a", (1, 1, 1, 1)))


def test_every_input_has_its_panel() -> None:
    net = {
        "inputs": {"left": [1, 20, 30], "right": [1, 20, 30]},
        "layers": {
            "a": {"op": "conv", "kernel": 3, "padding": 1, "inputs": "left"},
            "b": {"op": "conv", "kernel": 5, "padding": 2, "inputs": "right"},
            "sum": {"op": "add", "inputs": ["a", "b"]},
        },
    }
    unit = eyeshot.analyze(net).unit("sum", (1, 15))
    panels: Any = pictures.draw_unit(unit, photo())
    for part, ax in zip(unit.parts, panels, strict=True):
        assert sides(artist(ax, "_box" if part.box != part.clipped else "_clipped")) == part.box
        assert ax.get_title(loc="left").startswith(part.name)


def test_inputs_without_axes_and_odd_names() -> None:
    from torch import Tensor, nn, zeros

    class Timed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor, step: Tensor) -> Tensor:
            out: Tensor = self.conv(x) + step.reshape(1, 1, 1, 1)
            return out

    report = eyeshot.analyze(Timed(), input={"x": (1, 3, 9, 9), "step": zeros(1)})
    ax: Any = pictures.draw_unit(report.unit(report[-1].name, (3, 3)))
    assert "field 3×3" in ax.get_title(loc="left")
    odd = eyeshot.analyze({"input": [1, 8, 8], "layers": {"$\\frac$": {"op": "conv", "kernel": 3}}})
    made = Figure()
    ax = pictures.draw_unit(odd.unit("$\\frac$", (1, 1)), ax=made.add_subplot())
    made.savefig(io.BytesIO(), format="png")


def test_large_inputs_are_drawn_small() -> None:
    report = eyeshot.analyze("example:resnet18", input=(1, 3, 2304, 2304))
    ax: Any = pictures.draw_unit(report.unit("avgpool"), photo())
    heat = artist(ax, "_mass")
    assert heat.get_array().shape == (768, 768)
    assert heat.get_extent() == [0, 2304, 2304, 0]
    assert max(artist(ax, "_image").get_array().shape) <= 2048


@pytest.mark.parametrize("shape", [(7,), (10, 3), (1, 9), (8, 8)])
def test_averages_keep_the_sum(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(2).random(shape)
    small = reduced(array, 4)
    assert max(small.shape) <= 4
    for place in np.ndindex(small.shape):
        block = tuple(
            slice(i * -(-n // 4) if n > 4 else i, (i + 1) * -(-n // 4) if n > 4 else i + 1)
            for i, n in zip(place, shape, strict=True)
        )
        assert small[place] == pytest.approx(array[block].mean())


# --- the way


def test_the_way_shows_each_map(alexnet: eyeshot.Report) -> None:
    way: Any = pictures.draw_path(alexnet, "conv5", (6, 2), ["pool2", "pool1"], photo())
    assert len(way) == 4
    for ax, of in zip(way, ("conv5", "pool2", "pool1", None), strict=True):
        unit = alexnet.unit("conv5", (6, 2), of=of)
        (top, bottom), (left, right) = unit.clipped
        heat = artist(ax, "_mass")
        assert np.array_equal(heat.get_array(), unit.mass[top:bottom, left:right])
        assert heat.get_extent() == [left, right, bottom, top]
        assert sides(artist(ax, "_frame")) == tuple((0, n) for n in unit.parts[0].shape)
    assert has(way[3], "_image") and not has(way[2], "_image")
    assert way[2].get_title(loc="left") == "pool1 27×27\nreads 19×15"
    middle: Any = pictures.draw_path(alexnet, "conv5", through=["pool1"])
    assert middle[0].get_title(loc="left") == "conv5 (6, 6)\n13×13"


def test_a_way_around_a_layer_is_said() -> None:
    report = eyeshot.analyze("example:unet")
    way: Any = pictures.draw_path(report, "head", (128, 128), ["dec1.up"])
    assert way[1].get_title(loc="left").endswith("33 % around it")
    with pytest.raises(EyeshotError, match=r"dec1.up reads nothing of head"):
        pictures.draw_path(report, "dec1.up", (128, 128), ["head"])
    with pytest.raises(EyeshotError, match="there is no layer 'hea'; did you mean 'head'"):
        pictures.draw_path(report, "dec1.up", (128, 128), ["hea"])
    with pytest.raises(EyeshotError, match="the way takes 2 axes, got 1"):
        pictures.draw_path(report, "head", (1, 1), axes=[way[0]])


# --- files


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
@pytest.mark.parametrize("theme", THEMES)
def test_files_are_valid_and_the_same_again(
    dilated: eyeshot.Report, tmp_path: Path, suffix: str, theme: str
) -> None:
    contents = []
    for k in range(2):
        drawn: Any = pictures.draw_unit(dilated.unit("b", (3, 30)), photo(), theme=theme)
        pictures.save(drawn, tmp_path / f"{k}{suffix}", 60)
        contents.append((tmp_path / f"{k}{suffix}").read_bytes())
    assert contents[0] == contents[1]
    if suffix == ".png":
        with Image.open(io.BytesIO(contents[0])) as image:
            image.load()
            ground = image.convert("RGB").getpixel((0, 0))
        assert (sum(ground) > 600) is (theme == "light")
    elif suffix == ".svg":
        import xml.etree.ElementTree as tree

        assert tree.fromstring(contents[0]).tag.endswith("svg")
    else:
        assert contents[0].startswith(b"%PDF-") and contents[0].rstrip().endswith(b"%%EOF")


def test_nothing_of_it_is_loaded_before_it_is_used() -> None:
    code = (
        "import sys, eyeshot, eyeshot.cli\n"
        "eyeshot.analyze('example:alexnet').unit('conv5', (3, 3)).mass\n"
        "import eyeshot.views.pictures.planes, eyeshot.views.pictures.images\n"
        "print(sorted({'matplotlib', 'PIL'} & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# --- images


def test_an_image_is_fitted_as_networks_are_fed() -> None:
    """The shorter side and the centre: what is cut off lies outside."""
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    back = images.fitted(wide, (20, 20))
    assert back.pixels.shape == (20, 20, 3)
    whole = Image.fromarray(wide).resize((60, 20), Image.Resampling.BICUBIC)
    assert np.array_equal(back.pixels, np.asarray(whole.crop((20, 0, 40, 20))))
    assert back.note == "image (30 wide, 10 high), centre crop resized to the input"
    stretched = images.fitted(wide, (20, 30), stretch=True)
    assert (stretched.pixels[:, :8] < 20).all() and (stretched.pixels[:, 13:17] == 200).all()
    assert "stretched" in stretched.note
    assert images.fitted(wide, (10, 30)).pixels is not None
    assert images.fitted(wide, (10, 30)).note == "image"
    assert max(images.fitted(wide, (9000, 9000)).pixels.shape) <= 2048


def saved(image: Image.Image, path: Path, **how: Any) -> Path:
    image.save(path, **how)
    return path


def test_images_of_every_mode_become_rgb(tmp_path: Path) -> None:
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert (images.load(saved(grey, tmp_path / "l.png"))[..., 1].ravel() == np.arange(256)).all()
    deep = Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16))
    assert (images.load(saved(deep, tmp_path / "i16.png"))[..., 0].ravel() == np.arange(256)).all()
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (images.load(saved(clear, tmp_path / "rgba.png")) == 255).all()
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert set(images.load(saved(half, tmp_path / "half.png")).ravel()) <= {126, 127, 128}
    palette = photo().convert("P")
    assert images.load(saved(palette, tmp_path / "p.gif")).shape == (48, 64, 3)
    assert images.load(saved(grey.convert("1"), tmp_path / "1.png")).max() == 255
    assert images.load(saved(photo().convert("CMYK"), tmp_path / "c.jpg")).shape == (48, 64, 3)
    fraction = Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4))
    assert images.load(saved(fraction, tmp_path / "f.tiff")).max() == 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    assert images.load(saved(photo(), tmp_path / "turned.jpg", exif=exif)).shape == (64, 48, 3)


def test_arrays_become_images() -> None:
    assert images.as_image(np.zeros((4, 5)))[0].shape == (4, 5, 3)
    assert images.as_image(np.ones((3, 40, 50)))[0].shape == (40, 50, 3)
    assert (images.as_image(np.full((4, 5, 1), 0.5))[0] == 128).all()
    for wrong in (np.zeros(3), np.zeros((6, 5, 2)), np.zeros((0, 4)), np.array([["a"]])):
        with pytest.raises(EyeshotError, match="image: expected an array"):
            images.as_image(wrong)
    with pytest.raises(EyeshotError, match="8 bits"):
        images.as_image(np.full((4, 4), 300))


def bomb(width: int, height: int) -> bytes:
    """A PNG that promises more than it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path) -> None:
    def why(content: bytes, name: str = "x.png") -> str:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EyeshotError) as caught:
            images.load(tmp_path / name)
        (line,) = str(caught.value).splitlines()
        assert line.startswith(str(tmp_path / name))
        return line

    whole = io.BytesIO()
    photo().save(whole, "PNG")
    assert "not an image" in why(b"")
    assert "not an image" in why(b"hello")
    assert "does not decode" in why(whole.getvalue()[: len(whole.getvalue()) // 2])
    assert "pixels" in why(bomb(9000, 9000))
    assert "pixels" in why(bomb(60000, 60000))
    assert "not an image" in why(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "x.eps")
    with pytest.raises(EyeshotError, match="no such file"):
        images.load(tmp_path / "none.png")
    with pytest.raises(EyeshotError, match="a folder"):
        images.load(tmp_path)


# --- effective receptive fields


def bell(sigma: float, n: int = 60, **more: Any) -> Erf:
    x = np.arange(n) + 0.5 - n / 2
    along = np.exp(-((x / sigma) ** 2) / 2)
    call: dict[str, Any] = {
        "title": "net", "layer": "conv", "index": (4, 4), "input": "x", "axes": (2, 3),
        "centre": (n / 2, n / 2), "box": ((-5, n + 5), (10, 50)), "clipped": ((0, n), (10, 50)),
        "protocol": "positive", "samples": 3,
    }  # fmt: skip
    return Erf(np.outer(along, along), **{**call, **more})


@pytest.mark.parametrize("scale", ["linear", "root", "log"])
@pytest.mark.parametrize("theme", THEMES)
def test_an_erf_is_drawn_as_it_is(scale: Any, theme: str) -> None:
    erf = bell(6)
    ax: Any = pictures.draw_erf(erf, scale=scale, theme=theme)
    heat = artist(ax, "_map")
    assert np.array_equal(heat.get_array(), erf.map / erf.map.max())
    assert heat.get_extent() == [0, 60, 60, 0]
    for square in erf.squares:
        drawn = artist(ax, f"_square {square.share:g}")
        assert sides(drawn) == tuple(zip(square.begin, square.end, strict=True))
    assert sides(artist(ax, "_box")) == erf.box
    for times in (1, 2):
        ellipse = artist(ax, f"_{times} sigma")
        assert ellipse.width == pytest.approx(2 * times * 6, rel=1e-6)
        assert ellipse.center == pytest.approx((30, 30))
    across = next(child for child in ax.child_axes if child.get_label() == "_across")
    line = artist(across, "_fwhm").get_xydata()
    assert line[1, 0] - line[0, 0] == pytest.approx(erf.fwhm[1])
    assert line.mean(0)[0] == pytest.approx(30)
    fit = artist(across, "_fit").get_xydata()
    assert fit[:, 1].max() == pytest.approx(1, rel=0.01)
    assert f"sides {', '.join(str(s.side) for s in erf.squares)}" in ax.get_xlabel()


def test_half_of_the_maximum_is_where_the_width_is() -> None:
    from eyeshot.views.pictures.erfcurves import _half

    random = np.random.default_rng(3)
    for _ in range(100):
        n = int(random.integers(1, 12))
        map_ = random.random(n)
        one: dict[str, Any] = {
            "axes": (2,),
            "centre": (n / 2,),
            "box": ((0, n),),
            "clipped": ((0, n),),
        }
        erf = Erf(map_, title="", layer="a", index=(0,), input="x", protocol="mass", **one)
        low, high = _half(map_)
        assert high - low == pytest.approx(erf.fwhm[0])
        if low > 0:
            assert np.interp(low, np.arange(n) + 0.5, map_) == pytest.approx(map_.max() / 2)


def test_several_stand_side_by_side_on_one_scale() -> None:
    erfs = [bell(3), bell(6, title="other"), bell(9)]
    places: Any = pictures.draw_erfs(erfs)
    for erf, ax in zip(erfs, places, strict=True):
        heat = artist(ax, "_map")
        assert heat.get_clim() == (0, 1)
        assert np.array_equal(heat.get_array(), erf.map / erf.map.max())
    assert places[1].get_title(loc="left").startswith("other · conv (4, 4)")
    long = "fasterrcnn_resnet50_fpn_v2"
    for ax in pictures.draw_erfs([bell(3, title=long, layer=f"{long}.{long}"), bell(6)]):
        assert max(map(len, ax.get_title(loc="left").split("\n"))) <= 34
    with pytest.raises(EyeshotError, match="no effective receptive field"):
        pictures.draw_erfs([])


def test_a_small_field_in_a_large_map_is_not_averaged() -> None:
    map_ = np.zeros((1100, 1200))
    map_[500:520, 900:920] = np.random.default_rng(4).random((20, 20))
    common: dict[str, Any] = {
        "title": "net", "layer": "a", "index": (9, 9), "input": "x", "axes": (2, 3),
        "centre": (510, 910), "protocol": "mass",
    }  # fmt: skip
    near = Erf(map_, box=((500, 520), (900, 920)), clipped=((500, 520), (900, 920)), **common)
    ax: Any = pictures.draw_erf(near)
    heat = artist(ax, "_map")
    left, right, bottom, top = heat.get_extent()
    assert 20 < right - left < 40 and 20 < bottom - top < 40
    assert np.array_equal(heat.get_array(), map_[top:bottom, left:right] / map_.max())
    far = Erf(map_, box=((450, 570), (850, 970)), clipped=((450, 570), (850, 970)), **common)
    both: Any = pictures.draw_erfs([near, far])
    assert both[0].get_xlim() == both[1].get_xlim()
    assert artist(both[0], "_map").get_extent() == artist(both[1], "_map").get_extent()


def test_maps_of_one_and_three_axes_and_of_nothing() -> None:
    x = np.arange(40) + 0.5
    common: dict[str, Any] = {"title": "net", "layer": "a", "input": "x", "protocol": "mass"}
    line = Erf(
        np.exp(-(((x - 20) / 4) ** 2) / 2), index=(3,), axes=(2,), centre=(20,), box=((2, 38),),
        clipped=((2, 38),), **common,
    )  # fmt: skip
    ax: Any = pictures.draw_erf(line)
    assert np.array_equal(artist(ax, "_map").get_data().values, line.map / line.map.max())
    solid = Erf(
        np.random.default_rng(0).random((6, 8, 10)), index=(1, 1, 1), axes=(2, 3, 4),
        centre=(3, 4, 5), box=((0, 6), (0, 8), (0, 10)), clipped=((0, 6), (0, 8), (0, 10)), **common,
    )  # fmt: skip
    slices: Any = pictures.draw_erf(solid)
    for gone, ax in enumerate(slices):
        cut = solid.map.take((3, 4, 5)[gone], axis=gone)
        assert np.array_equal(artist(ax, "_map").get_array(), cut / solid.map.max())
    nothing = Erf(
        np.zeros((9, 9)), index=(0, 0), axes=(2, 3), centre=(4, 4), box=((0, 0), (0, 0)),
        clipped=((0, 0), (0, 0)), **common,
    )  # fmt: skip
    assert pictures.draw_erf(nothing).get_xlabel() == "the unit gets nothing of the input"


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_erfs_are_saved(tmp_path: Path, suffix: str) -> None:
    for name, what in (("one", bell(5)), ("list", [bell(5)]), ("two", [bell(5), bell(8)])):
        pictures.save_erf(what, tmp_path / f"{name}{suffix}", theme="dark", dpi=50)
    first = (tmp_path / f"one{suffix}").read_bytes()
    assert first == (tmp_path / f"list{suffix}").read_bytes()
    assert first != (tmp_path / f"two{suffix}").read_bytes()
    if suffix == ".png":
        pictures.save_erf(bell(5), tmp_path / "sized.png", dpi=50, size=(4, 3))
        with Image.open(tmp_path / "sized.png") as image:
            assert image.size == (200, 150)
    with pytest.raises(EyeshotError, match=r"\.png, \.svg, \.pdf"):
        pictures.save_erf(bell(5), tmp_path / "x.jpg")
    with pytest.raises(EyeshotError, match="scale"):
        pictures.save_erf(bell(5), tmp_path / f"y{suffix}", scale="cubic")  # type: ignore[arg-type]
    assert not list(tmp_path.glob("[xy].*"))
