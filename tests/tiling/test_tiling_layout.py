"""Layouts: what of an image a model is given, and where its output goes; numbers on the way in and out."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eyeshot.errors import EyeshotError
from eyeshot.tiling.layout import Layout
from eyeshot.tiling.plan import Span, TileAxis, TilePlan
from eyeshot.tiling.scaling import Scaling, nans, parse_scale


class Held:
    """An array in place of an image and of an output."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def read(self, slices: tuple[slice, ...]) -> np.ndarray:
        assert all(s.step in (None, 1) for s in slices) and len(slices) == self.array.ndim
        return self.array[slices]

    def write(self, slices: tuple[slice, ...], array: np.ndarray) -> None:
        assert self.array[slices].shape == array.shape  # nothing is broadcast
        self.array[slices] += array  # what is written twice is wrong


def plan(
    shape: tuple[int, ...],
    out: tuple[int, ...],
    axes: list[tuple[int, int]],
    tile: int,
    halo: int = 2,
    batch: int = 1,
) -> TilePlan:
    """Tiles of ``tile`` along pairs of input dim and output dim, for a model of any whole scale."""
    made = []
    for axis, dim in axes:
        size, scale = shape[axis], out[dim] // shape[axis]
        spans = []
        for begin in range(0, size, tile):
            end = min(begin + tile, size)
            low, high = max(0, begin - halo), min(size, end + halo)
            spans.append(
                Span(
                    (low, high),
                    ((begin - low) * scale, (end - low) * scale),
                    (begin * scale, end * scale),
                )
            )
        made.append(
            TileAxis(
                axis, dim, size, out[dim], Fraction(scale), Fraction(0), 1, (halo, halo),
                (halo, halo), (halo, halo), tile, tuple(spans),
            )
        )  # fmt: skip
    return TilePlan("net", "x", "y", shape, out, tuple(made), batch)


def through(
    image: np.ndarray, layout: Layout, tiles: TilePlan, wholes: dict[tuple[int, ...], np.ndarray]
) -> np.ndarray:
    """An output of all tiles of all items, each as if the model had made it."""
    found = Held(np.zeros(layout.out_shape(tiles)))
    for item in layout.items:
        for tile in tiles:
            part = wholes[item][tile.write][0]
            found.write(*layout.placed(item, part, tile.write, tiles))
    return found.array


@pytest.mark.parametrize(
    "axes", ["cyx", "yxc", "yx", "tyx", "tcyx", "yxt", "cztyx", "zyxc", "xy", "ycx", "xcty"]
)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("last", [False, True])
def test_two_axes(axes: str, count: int, last: bool) -> None:
    """Against numpy's own moving of dims, for models of channels first and last, at twice the size."""
    sizes = {"c": 3, "z": 2, "t": 2, "y": 11, "x": 13}
    shape = tuple(sizes[a] for a in axes)
    image = np.random.default_rng(0).random(shape)
    dims = (3, 1, 2) if last else (1, 2, 3)
    layout = Layout(axes, shape, 2, dims=dims)
    channels = 3 if "c" in axes else 1
    assert layout.input_shape(channels) == (
        (1, 11, 13, channels) if last else (1, channels, 11, 13)
    )
    out = (1, 22, 26, count) if last else (1, count, 22, 26)
    spatial = [(1, 1), (2, 2)] if last else [(2, 2), (3, 3)]
    tiles = plan(layout.input_shape(), out, spatial, 4)
    iterated = [a for a in axes if a not in "cyx"]
    assert layout.items == tuple(itertools.product(*(range(sizes[a]) for a in iterated)))

    # What is given: the item's planes with channels where the model has them.
    ordered = [*iterated, *("yxc" if last else "cyx")]
    padded = image if "c" in axes else image[..., None]
    named = axes if "c" in axes else axes + "c"
    for item in layout.items:
        whole = padded.transpose([named.index(a) for a in ordered])[item]
        for tile in tiles:
            np.testing.assert_array_equal(
                layout.gather(Held(image), item, tile.read), whole[tile.read[1:]]
            )

    # What is written: the same with another number of channels, put back.
    wholes = {item: np.random.default_rng([*item, 5]).random(out) for item in layout.items}
    got = through(image, layout, tiles, wholes)
    want_axes = axes
    if "c" not in axes and count > 1:
        first = min(axes.index("y"), axes.index("x"))
        want_axes = axes[:first] + "c" + axes[first:]
    assert layout.out_axes(tiles) == want_axes
    sizes |= {"c": count, "y": 22, "x": 26}
    assert layout.out_shape(tiles) == got.shape == tuple(sizes[a] for a in want_axes)
    for item in layout.items:
        index = tuple(item[iterated.index(a)] if a in iterated else slice(None) for a in want_axes)
        left = [a for a in want_axes if a not in iterated]
        plane = wholes[item][0] if "c" in left else wholes[item][0].squeeze(2 if last else 0)
        source = [a for a in ("yxc" if last else "cyx") if a in left]
        np.testing.assert_array_equal(got[index], plane.transpose([source.index(a) for a in left]))


def test_three_axes_and_one() -> None:
    layout = Layout("tczyx", (2, 3, 5, 6, 7), 3)
    assert layout.input_shape() == (1, 3, 5, 6, 7) and layout.items == ((0,), (1,))
    image = np.random.default_rng(0).random((2, 3, 5, 6, 7))
    tiles = plan((1, 3, 5, 6, 7), (1, 2, 5, 6, 7), [(2, 2), (3, 3), (4, 4)], 3)
    for tile in tiles:
        got = layout.gather(Held(image), (1,), tile.read)
        np.testing.assert_array_equal(got, image[1][tile.read[1:]])
    assert layout.out_axes(tiles) == "tczyx"
    assert Layout("tc", (99, 2), 1).input_shape() == (
        1,
        2,
        99,
    )  # sound: time is what a 1-D model has
    assert Layout("tx", (9, 8), 1).input_shape() == (1, 1, 8)
    assert Layout("tx", (9, 8), 1).items == tuple((i,) for i in range(9))


def test_an_output_without_channels() -> None:
    """A model that gives a class per pixel has no dim of channels, and neither has what is written."""
    layout = Layout("yxc", (8, 9, 3), 2)
    tiles = plan((1, 3, 8, 9), (1, 8, 9), [(2, 1), (3, 2)], 4)
    assert (layout.out_axes(tiles), layout.out_shape(tiles)) == ("yx", (8, 9))
    whole = np.random.default_rng(0).random((1, 8, 9))
    np.testing.assert_array_equal(through(whole, layout, tiles, {(): whole}), whole[0])
    turned = plan((1, 3, 8, 9), (1, 2, 9, 8), [(2, 3), (3, 2)], 4)  # the model transposes
    whole = np.random.default_rng(0).random((1, 2, 9, 8))
    np.testing.assert_array_equal(
        through(whole, layout, turned, {(): whole}), whole[0].transpose(2, 1, 0)
    )


def test_a_model_without_a_channel_dim() -> None:
    image = np.random.default_rng(0).random((1, 8, 9))
    for axes, array in (("cyx", image), ("yx", image[0])):
        layout = Layout(axes, array.shape, 2, dims=(None, 1, 2))
        assert layout.input_shape() == (1, 8, 9)
        read = (slice(None), slice(2, 5), slice(3, 9))
        np.testing.assert_array_equal(layout.gather(Held(array), (), read), image[0, 2:5, 3:9])
    with pytest.raises(EyeshotError, match="the model takes 1 channel, the image has 3"):
        Layout("cyx", (3, 8, 9), 2, dims=(None, 1, 2)).input_shape()


def test_chosen_channels() -> None:
    image = np.random.default_rng(0).random((8, 9, 4))
    layout = Layout("yxc", image.shape, 2, channels=(2, 0))
    assert layout.input_shape(2) == (1, 2, 8, 9)
    read = (slice(None), slice(None), slice(1, 4), slice(None))
    want = np.stack([image[1:4, :, 2], image[1:4, :, 0]])
    np.testing.assert_array_equal(layout.gather(Held(image), (), read), want)
    for axes, shape, channels, part in (
        (
            "yxc",
            (8, 9, 4),
            (0, 4),
            "there is no channel 4: the image has 4, 0 to 3 (y=8, x=9, c=4)",
        ),
        ("yxc", (8, 9, 4), (-1,), "there is no channel -1"),
        ("yxc", (8, 9, 4), (), "no channel is chosen"),
        ("yx", (8, 9), (0,), "the image has no channels to choose from (y=8, x=9)"),
    ):
        with pytest.raises(EyeshotError) as raised:
            Layout(axes, shape, 2, channels=channels)
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("shape", "spatial", "expected", "axes"),
    [
        ((8, 9), 2, None, "yx"),
        ((8, 9), 2, 3, "yx"),
        ((3, 8, 9), 2, 3, "cyx"),
        ((8, 9, 3), 2, 3, "yxc"),
        ((3, 8, 9), 2, 1, None),
        ((3, 8, 3), 2, 3, None),
        ((3, 8, 9), 2, None, None),
        ((1, 3, 8, 9), 2, 3, None),
        ((9,), 1, 1, "x"),
        ((9, 2), 1, 2, "xc"),
        ((4, 5, 6), 3, 1, "zyx"),
        ((1, 4, 5, 6), 3, 1, "czyx"),
        ((4,), 2, 1, None),
    ],
)
def test_axes_that_nobody_said(
    shape: tuple[int, ...], spatial: int, expected: int | None, axes: str | None
) -> None:
    if axes is not None:
        assert Layout(None, shape, spatial, expected=expected).axes == axes
        return
    with pytest.raises(
        EyeshotError, match=f"dims {'x'.join(map(str, shape))} have no .*--image-axes"
    ):
        Layout(None, shape, spatial, expected=expected)


def test_what_does_not_go_together() -> None:
    with pytest.raises(EyeshotError) as raised:
        Layout("tcyx", (2, 4, 8, 9), 2).input_shape(3)
    assert str(raised.value) == (
        "the model takes 3 channels, the image has 4: its dims are t=2, c=4, y=8, x=9; "
        "choose channels with --channels, or say what the dims are with --image-axes"
    )
    with pytest.raises(EyeshotError, match=r"the image has 4 \(2 chosen\)"):
        Layout("cyx", (4, 8, 9), 2, channels=(0, 1)).input_shape(3)
    with pytest.raises(
        EyeshotError, match="a model with 3 axes needs z and y and x; the image has c=2, y=8, x=9"
    ):
        Layout("cyx", (2, 8, 9), 3)
    for dims in ((2, 3, 4), (1, 2), (1, 2, 2), (0, 1, 2), (1, None, 2)):
        with pytest.raises(EyeshotError, match="the model's input has dims that are neither"):
            Layout("yx", (8, 9), 2, dims=dims)
    with pytest.raises(EyeshotError, match="4"):
        Layout("yx", (8, 9), 4)
    layout = Layout("yx", (8, 9), 2)
    with pytest.raises(
        EyeshotError, match=r"dims .1x2x3x8x9. that are neither batch, channels nor"
    ):
        layout.out_axes(plan((1, 1, 8, 9), (1, 2, 3, 8, 9), [(2, 3), (3, 4)], 4))
    with pytest.raises(EyeshotError, match="the plan has 1 axes, the layout 2"):
        layout.out_shape(plan((1, 1, 8), (1, 1, 8), [(2, 2)], 4))


@settings(max_examples=60)
@given(
    tile=st.integers(1, 3000),
    size=st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    scale=st.integers(1, 3),
    count=st.sampled_from([1, 3, 70]),
    axes=st.sampled_from(["cyx", "yxc", "yx", "tyx"]),
)
def test_no_two_tiles_share_a_chunk(
    tile: int, size: tuple[int, int], scale: int, count: int, axes: str
) -> None:
    sizes = {"c": 1, "t": 4, "y": size[0], "x": size[1]}
    layout = Layout(axes, tuple(sizes[a] for a in axes), 2)
    out = (1, count, size[0] * scale, size[1] * scale)
    tiles = plan(layout.input_shape(), out, [(2, 2), (3, 3)], tile)
    chunks = layout.out_chunks(tiles, "float32")
    shape = layout.out_shape(tiles)
    letters = layout.out_axes(tiles)
    for chunk, n in zip(chunks, shape, strict=True):
        assert 1 <= chunk <= max(n, 1)
    for axis, letter in zip(tiles.axes, "yx", strict=True):
        chunk = chunks[letters.index(letter)]
        edges = [begin for _, _, (begin, _) in axis.spans]
        assert all(begin % chunk == 0 for begin in edges)
        step = axis.spans[0].write[1]
        if step <= 1024:
            assert chunk == min(step, axis.out)
        elif any(step % n == 0 for n in range(512, 1025)):
            assert 512 <= chunk <= 1024
    if "t" in letters:
        assert chunks[letters.index("t")] == 1
    if max(step for axis in tiles.axes for step in [axis.spans[0].write[1]]) <= 1024:
        assert math.prod(chunks) * 4 <= 4 * (1 << 22)


# Numbers.


def test_scaling_in() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    got = Scaling(scale="1/255").inward(pixels, np.float32)
    # Rounded once: the floats nearest to the quotients.
    want = np.array([float(Fraction(i, 255)) for i in range(256)], np.float32).reshape(1, 16, 16)
    np.testing.assert_array_equal(got, want)
    assert got.dtype == np.float32 and pixels[0, 0, 1] == 1

    # float16 has neither these pixels nor the number that they are divided by.
    deep = np.array([[[1, 2049, 65504, 65520, 65535]]], np.uint16)
    half = Scaling(scale="1/65535", mean=0.5, std=0.25).inward(deep, np.float16)
    exact = [[[(Fraction(int(i), 65535) - Fraction(1, 2)) * 4 for i in deep.ravel()]]]
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, np.array(exact, np.float64), rtol=2.0**-11)
    assert Scaling().inward(deep, np.float16)[0, 0].tolist() == [1, 2048, 65504, np.inf, np.inf]

    image = np.random.default_rng(0).integers(0, 255, (3, 4, 5), dtype=np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    scaling = Scaling("1/255", mean, std)
    want = np.stack([(image[c].astype(float) / 255 - mean[c]) / std[c] for c in range(3)])
    np.testing.assert_allclose(scaling.inward(image, np.float64), want, rtol=1e-14)
    last = scaling.inward(image.transpose(1, 2, 0), np.float64, channel=2)
    np.testing.assert_allclose(last.transpose(2, 0, 1), want, rtol=1e-14)
    one = Scaling(mean=100, std=50).inward(image, np.float32)
    np.testing.assert_allclose(one, (image.astype(float) - 100) / 50, rtol=1e-6, atol=1e-6)
    with pytest.raises(EyeshotError, match="mean: 3 numbers for the model's 4 channels"):
        scaling.check(4)
    with pytest.raises(EyeshotError, match="3 numbers for 2 channels"):
        scaling.inward(image[:2], np.float32)
    assert Scaling.from_dict(scaling.to_dict()) == scaling
    assert Scaling().idle and not scaling.idle


def test_nans_are_passed_on_and_counted() -> None:
    image = np.array([[1.0, np.nan, np.inf, np.nan]], np.float32)
    got = Scaling("1/2", mean=1, std=2).inward(image, np.float32)
    assert nans(image) == nans(got) == 2
    assert nans(np.zeros(3, np.uint8)) == 0
    assert Scaling(out_dtype="uint8").outward(got).tolist() == [[0, 0, 255, 0]]


@settings(max_examples=150)
@example(value=-math.inf, dtype="int8", scale="1")
@example(value=-math.inf, dtype="int64", scale="255")
@example(value=math.inf, dtype="int64", scale="1")
@given(
    value=st.one_of(
        st.floats(width=32, allow_nan=False),
        st.integers(-600, 600).map(lambda n: n / 2),
        st.sampled_from([2.0**k + d for k in (7, 8, 15, 16, 31, 32, 63, 64) for d in (-1, 0)]),
    ),
    dtype=st.sampled_from("uint8 uint16 uint32 uint64 int8 int16 int32 int64".split()),
    scale=st.sampled_from(["1", "255", "1/2"]),
)
def test_scaling_out_rounds_and_clips(value: float, dtype: str, scale: str) -> None:
    """Against exact fractions."""
    value = float(np.float32(value))
    bounds = np.iinfo(dtype)
    got = Scaling(out_dtype=dtype, out_scale=scale).outward(np.array([value], np.float32))
    assert got.dtype == np.dtype(dtype)
    if math.isinf(value):
        want = bounds.max if value > 0 else bounds.min
        # The smallest is a float; the largest of 64 bits is none, and the float below it is taken.
        assert abs(int(got[0]) - want) <= (want >> 50 if value > 0 else 0)
        return
    exact = Fraction(value) * Fraction(scale)
    if abs(exact) < 1 << 22:  # float32 has the halves there, but for what the product itself loses
        product = float(np.float32(value) * np.float32(float(Fraction(scale))))
        assert int(got[0]) in {
            min(max(round(Fraction(p)), bounds.min), bounds.max) for p in (product, exact)
        }
    else:  # as near as a float is
        want = min(max(exact, bounds.min), bounds.max)
        assert abs(int(got[0]) - want) <= max(1, abs(want) / 2**22)


def test_scaling_out_of_halves_integers_and_floats() -> None:
    halves = np.array([0.5, 1.5, 2.5, -0.5, 254.5, 255.5, -3], np.float64)
    assert Scaling(out_dtype="uint8").outward(halves).tolist() == [0, 2, 2, 0, 254, 255, 0]
    classes = np.array([-1, 3, 300], np.int64)
    assert Scaling(out_dtype="uint8").outward(classes).tolist() == [0, 3, 255]
    assert Scaling(out_dtype="uint64").outward(classes).tolist() == [0, 3, 300]
    large = np.array([2**62 + 1, -(2**63)])
    assert Scaling(out_dtype="int64").outward(large).tolist() == large.tolist()
    assert Scaling(out_dtype="uint16").outward(np.array([65504, np.inf], np.float16)).tolist() == [
        65504,
        65535,
    ]
    beyond = np.array([1e10, -1e10, np.nan], np.float32)
    assert Scaling(out_dtype="int32").outward(beyond).tolist() == [2**31 - 1, -(2**31), 0]
    floats = np.array([0.1, 2.0], np.float32)
    same = Scaling().outward(floats)
    assert same.dtype == np.float32 and same.tolist() == floats.tolist() and same is not floats
    assert (
        Scaling(out_dtype="float64", out_scale=2).outward(floats).tolist()
        == (2 * floats.astype(float)).tolist()
    )
    assert Scaling(out_dtype="float16").outward(np.array([1e9])).tolist() == [np.inf]
    assert Scaling(out_dtype="uint8").outward(np.array([True, False])).tolist() == [1, 0]
    assert (
        Scaling().dtype(np.float32) == np.float32
        and Scaling(out_dtype="uint8").dtype("f4") == np.uint8
    )


def test_complex_outputs_stay_as_they_are() -> None:
    kept = np.array([1 + 2j, np.nan], np.complex64)
    np.testing.assert_array_equal(Scaling("1/255").outward(kept), kept)
    for options in ({"out_dtype": "float32"}, {"out_scale": 2}):
        with pytest.raises(EyeshotError, match="the model gives complex64"):
            Scaling(**options).dtype(kept.dtype)  # type: ignore[arg-type]


def test_a_model_that_takes_integers() -> None:
    pixels = np.array([[0, 3, 255]], np.uint8)
    got = Scaling().inward(pixels, np.int32)
    assert got.dtype == np.int32 and got.tolist() == [[0, 3, 255]]
    floats = np.array([[0.1, 0.5, 2.0, np.nan]], np.float32)
    with pytest.raises(EyeshotError, match="the model takes uint8, the image has float32"):
        Scaling().inward(floats, np.uint8)
    with pytest.raises(EyeshotError, match="the model takes uint8, the image has uint16"):
        Scaling().inward(pixels.astype(np.uint16), np.uint8)
    assert Scaling(scale=255).inward(floats, np.uint8).tolist() == [[26, 128, 255, 0]]


def test_factors() -> None:
    assert parse_scale("1/255") == Fraction(1, 255)
    assert parse_scale(" 0.1 ") == Fraction(1, 10) and parse_scale("1e-3") == Fraction(1, 1000)
    assert parse_scale(0.5) == parse_scale("2/4") == Fraction(1, 2) and parse_scale(3) == 3
    bad: list[Any] = [
        "",
        "x",
        "1/0",
        "0",
        0,
        "nan",
        "inf",
        float("nan"),
        True,
        None,
        "1e999999999",
        "1e-400",
        "1/2/3",
        "9" * 99,
    ]
    for value in bad:
        with pytest.raises(EyeshotError, match=r"^scale: "):
            parse_scale(value)
    for options, part in (
        ({"std": (1, 0)}, "std: 0"),
        ({"mean": "x"}, "mean: expected numbers"),
        ({"mean": ()}, "mean: expected finite numbers"),
        ({"std": float("nan")}, "std: expected finite"),
        ({"out_dtype": "complex64"}, "out_dtype: complex64 is none of"),
        ({"out_dtype": "nothing"}, "out_dtype: nothing is none of"),
        ({"out_dtype": "bool"}, "out_dtype: bool"),
        ({"out_scale": "0"}, "out_scale: 0"),
    ):
        with pytest.raises(EyeshotError, match=part):
            Scaling(**options)
