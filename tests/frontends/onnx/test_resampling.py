"""Resampling against poisoning, in onnxruntime: the reference evaluator reads other elements of weight 0."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest

import eyeshot
from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model, reported
from tests.frontends.onnx.ort import session

RNG = np.random.default_rng(0)
EMPTY = np.zeros(0, np.float32)


def data(*shape: int) -> np.ndarray:
    return RNG.random(shape).astype(np.float32)


def floats(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def check(
    op: str, *inputs: Any, status: str = "exact", run: Any = None, ort: bool = False, **kwargs: Any
) -> eyeshot.Report:
    """Poison one node. A dict among the inputs holds constants: ``{1: array}``."""
    constants = next((i for i in inputs if isinstance(i, dict)), {})
    arrays = [i for i in inputs if not isinstance(i, dict)]
    model, feeds = node_model(op, *arrays, constants=constants, **kwargs)
    return assert_agrees(model, feeds, status, run=session(model) if ort else run)


def resize(x: Any, scales: Any = None, sizes: Any = None, roi: Any = None, **kwargs: Any) -> Any:
    constants = {1: EMPTY if roi is None else floats(*roi), 2: EMPTY}
    if scales is not None:
        constants[2] = floats(*scales)
    else:
        constants[3] = np.array(sizes)
    kwargs.setdefault("opset", 19)
    return check("Resize", x, constants, ort=True, **kwargs)


NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
COORDINATES = [
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_crop_and_resize",
]  # fmt: skip
#: Height and width of the input, and scales: whole, simple, and such as are no simple fractions in float32.
SCALES = [
    ((3, 4), (2, 3)),
    ((7, 5), (0.5, 2 / 3)),
    ((6, 10), (0.6, 0.7)),
    ((5, 9), (1.3, 0.3)),
    ((1, 7), (2.5, 0.2)),
]
ROI = (0, 0, 0.2, -0.1, 1, 1, 0.8, 1.15)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("sizes, scales", SCALES)
def test_resize(coordinates: str, sizes: Any, scales: Any) -> None:
    x = data(1, 1, *sizes)
    given = {
        "scales": (1, 1, *scales),
        "roi": ROI if coordinates == "tf_crop_and_resize" else None,
        "coordinate_transformation_mode": coordinates,
    }
    for nearest in NEAREST:
        resize(x, mode="nearest", nearest_mode=nearest, **given)
    for mode in ("linear", "cubic"):
        resize(x, mode=mode, **given)
        resize(x, mode=mode, antialias=1, **given)
    resize(x, mode="cubic", exclude_outside=1, **given)


@pytest.mark.parametrize("coordinates", COORDINATES[:-1])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_to_sizes(coordinates: str, mode: str) -> None:
    for sizes in ((7, 3), (9, 13), (1, 11), (2, 1)):
        kwargs = {"mode": mode, "coordinate_transformation_mode": coordinates}
        resize(data(1, 1, 5, 8), sizes=(1, 1, *sizes), **kwargs)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
@pytest.mark.parametrize("axes", [[2, 3], [3, 2]])
def test_axes_and_aspect_ratio(policy: str, axes: Any) -> None:
    for mode in ("nearest", "linear"):
        x = data(1, 1, 5, 8)
        resize(x, sizes=(7, 6), axes=axes, mode=mode, keep_aspect_ratio_policy=policy)
        resize(x, scales=(0.5, 3), axes=axes, mode=mode)


def test_negative_axes() -> None:
    """onnxruntime has none: they are the same as those counted from the front."""
    x = data(1, 1, 4, 6)
    boxes = []
    for axes in ([-1, -2], [3, 2]):
        model, feeds = node_model("Resize", x, constants={1: EMPTY, 2: floats(0.5, 2)}, axes=axes)
        boxes.append(reported(model, feeds, {"x0": (2, 3)})[0][-1].boxes())
    np.testing.assert_array_equal(*boxes)


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_old_resize(opset: int) -> None:
    for mode, sizes in itertools.product(("nearest", "linear", "cubic"), ((7, 3), (4, 9))):
        resize(data(1, 1, 5, 6), sizes=(1, 1, *sizes), mode=mode, opset=opset)
    if opset == 11:
        kwargs = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "opset": opset}
        resize(data(1, 1, 5, 6), scales=(1, 1, 2, 0.4), **kwargs)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_of_opset_10(mode: str) -> None:
    for scales in ((2, 3), (0.5, 0.4), (1.3, 0.7)):
        check("Resize", data(1, 1, 5, 6), {1: floats(1, 1, *scales)}, ort=True, opset=10, mode=mode)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample(mode: str) -> None:
    x = data(1, 2, 3, 4)
    check("Upsample", x, ort=True, opset=7, scales=[1.0, 1.0, 2.0, 3.0], mode=mode)
    check("Upsample", x, {1: floats(1, 1, 1.5, 2)}, ort=True, opset=9, mode=mode)


def test_upsample_of_opset_1() -> None:
    model, feeds = node_model(
        "Upsample", data(1, 1, 3, 4), opset=1, height_scale=2.0, width_scale=3.0, mode="bilinear"
    )
    old = reported(model, feeds, {"x0": (2, 3)})[0][-1]
    model, feeds = node_model(
        "Upsample", data(1, 1, 3, 4), opset=7, scales=[1.0, 1.0, 2.0, 3.0], mode="linear"
    )
    new = reported(model, feeds, {"x0": (2, 3)})[0][-1]
    np.testing.assert_array_equal(old.boxes(), new.boxes())


def test_closed_forms() -> None:
    """Simple scales have a canvas of a short period, whatever the size; so have those in float32 near them."""
    for mode, scale, period in (
        ("nearest", 2, 2), ("linear", 2, 2), ("cubic", 4, 4), ("linear", 2 / 3, 2), ("nearest", 0.6, 3),
    ):  # fmt: skip
        model, feeds = node_model(
            "Resize", data(1, 1, 30, 60), constants={1: EMPTY, 2: floats(1, 1, scale, scale)}, mode=mode
        )  # fmt: skip
        for f in reported(model, feeds, {"x0": (2, 3)})[0][-1].fields:
            assert f.canvas is not None
            assert f.canvas.period == period, (mode, scale)


def test_an_axis_of_its_own_size() -> None:
    """What is not resized is left alone, and all of it if nothing is."""
    for mode in ("nearest", "linear", "cubic"):
        model, feeds = node_model(
            "Resize", data(1, 1, 4, 5), constants={1: EMPTY, 2: floats(1, 1, 1, 2)}, mode=mode
        )
        boxes = reported(model, feeds, {"x0": (2, 3)})[0][-1].boxes()
        assert boxes[:, 0, 0].tolist() == [[k, k + 1] for k in range(4)]
        resize(data(1, 1, 4, 5), scales=(1, 1, 1, 1), mode=mode)


def test_a_region_of_the_inputs_choice() -> None:
    x, roi = data(1, 1, 4, 5), floats(0, 0, 0.2, 0.1, 1, 1, 0.8, 0.9)
    kwargs: Any = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"}
    model, feeds = node_model("Resize", x, roi, constants={2: floats(1, 1, 2, 2)}, **kwargs)
    assert_agrees(model, feeds, "bound", run=session(model), draws=1)


@pytest.mark.parametrize(
    "inputs, kwargs",
    [
        ({1: EMPTY, 2: floats(1, 1, 2)}, {}),
        ({1: EMPTY, 2: floats(1, 1, 2, -2)}, {}),
        ({1: EMPTY, 2: floats(1, 1, 2, np.inf)}, {}),
        ({1: EMPTY, 2: floats(1, 1, 2, np.nan)}, {}),
        ({1: EMPTY, 2: floats(1, 1, 2, 1e30)}, {}),
        ({1: EMPTY, 2: EMPTY}, {}),
        ({1: EMPTY, 2: floats(1, 1, 2, 2)}, {"mode": "sinc"}),
        ({1: EMPTY, 2: floats(1, 1, 2, 2)}, {"nearest_mode": "odd"}),
        ({1: EMPTY, 2: floats(1, 1, 2, 2)}, {"coordinate_transformation_mode": "odd"}),
        ({1: EMPTY, 2: floats(1, 1, 2, 2)}, {"coordinate_transformation_mode": "tf_crop_and_resize"}),
        ({1: EMPTY, 2: floats(2, 2)}, {"axes": [2, 2]}),
        ({1: EMPTY, 2: floats(2)}, {"axes": [4]}),
        ({1: EMPTY, 2: EMPTY, 3: np.array([1, 1, -2, 2])}, {}),
    ],
)  # fmt: skip
def test_what_does_not_fit(inputs: Any, kwargs: Any) -> None:
    model, feeds = node_model("Resize", data(1, 1, 4, 4), constants=inputs, **kwargs)
    with pytest.raises(EyeshotError) as error:
        reported(model, feeds, {"x0": (2,)})
    assert "\n" not in str(error.value)
    assert "malformed" not in str(error.value)


def test_long_axes() -> None:
    """Exact as long as float32 tells positions apart and there is a closed form; beyond that a bound."""
    for n, scale, status in (
        (1 << 21, 4, "exact"),
        (1 << 21, 0.7123, "bound"),
        (1 << 22, 5, "bound"),
    ):
        model, _ = node_model("Resize", data(1, 1, n), constants={1: EMPTY, 2: floats(1, 1, scale)})
        report, _ = reported(model, {"x0": (1, 1, n)}, {"x0": (2,)})
        assert report.status == status, (n, scale)


# --- at coordinates


def lines(*axes: Any) -> np.ndarray:
    """A grid in which each axis goes its own way."""
    return np.stack(np.meshgrid(*axes, indexing="ij")[::-1], -1)[None].astype(np.float32)


GRIDS = [
    ((1, 2, 4, 3), lines([-1, -0.3, 1], [0.9, 0, -1.4, 0.1])),
    ((1, 1, 3, 5), lines(np.linspace(-1, 1, 4), np.linspace(-1, 1, 6))),
    ((2, 1, 4, 3), RNG.uniform(-1.8, 1.8, (2, 2, 3, 2)).astype(np.float32)),
]


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("shape, grid", GRIDS)
def test_grid_sample(shape: Any, grid: Any, padding: str, align: int) -> None:
    x = data(*shape)
    kwargs = {"padding_mode": padding, "align_corners": align}
    for mode in ("linear", "nearest", "cubic"):
        check("GridSample", x, {1: grid}, ort=True, opset=20, mode=mode, **kwargs)
    for mode in ("bilinear", "bicubic"):
        check("GridSample", x, {1: grid}, ort=True, opset=16, mode=mode, **kwargs)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample_in_space(padding: str) -> None:
    for mode, align in itertools.product(("linear", "nearest"), (0, 1)):
        kwargs = {"mode": mode, "padding_mode": padding, "align_corners": align, "opset": 20}
        x, grid = data(1, 1, 3, 4, 2), lines([-1, 0.4], [0, 0.9, -1.3], [0.2])
        check("GridSample", x, {1: grid}, ort=True, **kwargs)
        some = RNG.uniform(-1.5, 1.5, (1, 2, 1, 2, 3)).astype(np.float32)
        check("GridSample", x, {1: some}, ort=True, **kwargs)


def test_grid_sample_where_the_input_says() -> None:
    """Then anything of the plane may be read; the coordinates alone are exact."""
    x, grid = data(1, 2, 3, 4), RNG.uniform(-0.7, 0.7, (1, 2, 3, 2)).astype(np.float32)
    model, feeds = node_model("GridSample", x, grid)
    assert_agrees(model, feeds, "bound", draws=1)
    check("GridSample", grid, {0: x})


@pytest.mark.parametrize("size", [(2, 1, 3, 4), (1, 2, 2, 3, 2)])
@pytest.mark.parametrize("align", [0, 1])
def test_affine_grid(size: Any, align: int) -> None:
    axes = len(size) - 2
    theta = data(size[0], axes, axes + 1)
    check("AffineGrid", theta, {1: np.array(size)}, align_corners=align)


def test_a_known_affine_grid() -> None:
    """Its numbers are worked out, so that what is sampled there is exact."""
    h, from_array = onnx.helper, onnx.numpy_helper.from_array
    nodes = [
        h.make_node("AffineGrid", ["theta", "size"], ["grid"]),
        h.make_node("GridSample", ["x", "grid"], ["y"]),
    ]
    held = [
        from_array(floats(0.5, 0, 0.1, 0, 0.7, -0.2).reshape(1, 2, 3), "theta"),
        from_array(np.array([1, 1, 3, 4]), "size"),
    ]
    x = h.make_tensor_value_info("x", 1, (1, 1, 5, 6))
    graph = h.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="y")], held)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10)
    assert_agrees(model, {"x": data(1, 1, 5, 6)})


def test_grids_that_do_not_fit() -> None:
    for shape, kwargs in (
        ((1, 2, 2, 3), {}), ((2, 2, 2, 2), {}), ((1, 2, 2), {}), ((1, 2, 2, 2), {"mode": "odd"}),
        ((1, 2, 2, 2), {"padding_mode": "odd"}),
    ):  # fmt: skip
        model, feeds = node_model(
            "GridSample", data(1, 1, 3, 3), constants={1: data(*shape)}, **kwargs
        )
        with pytest.raises(EyeshotError):
            reported(model, feeds, {"x0": (2,)})


# --- blocks


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_and_back(mode: str) -> None:
    check("DepthToSpace", data(2, 12, 2, 3), blocksize=2, mode=mode)
    check("SpaceToDepth", data(2, 2, 4, 6), blocksize=2, mode=mode, opset=28)
    check("DepthToSpace", data(1, 9, 2, 1), blocksize=3, mode=mode)


def test_depth_to_space_of_old_opsets() -> None:
    check("DepthToSpace", data(1, 8, 2, 3), blocksize=2, opset=10, ort=True)
    check("SpaceToDepth", data(1, 2, 4, 6), blocksize=2, opset=10)


@pytest.mark.parametrize("op", ["DepthToSpace", "SpaceToDepth"])
def test_blocks_that_do_not_fit(op: str) -> None:
    for shape, kwargs in (
        ((1, 6, 3, 3), {"blocksize": 2}), ((1, 4, 4), {"blocksize": 2}), ((1, 4, 4, 4), {"blocksize": 0}),
        ((1, 4, 4, 4), {"blocksize": 2, "mode": "odd"}),
    ):  # fmt: skip
        model, feeds = node_model(op, data(*shape), **kwargs)
        with pytest.raises(EyeshotError):
            reported(model, feeds, {"x0": (2,)})
