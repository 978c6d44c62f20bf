"""Regions, boxes and crops against poisoning."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model, reported
from tests.frontends.onnx.nodes import check
from tests.frontends.onnx.ort import session

RNG = np.random.default_rng(0)


def data(*shape: int) -> np.ndarray:
    return RNG.random(shape).astype(np.float32)


#: Inside, across the border, all outside, and smaller than an element.
BOXES = np.array(
    [[1.2, 0.4, 4.1, 5.3], [-2, 3, 9, 12], [9, 9, 12, 12], [2.2, 2.3, 2.4, 2.6]], np.float32
)
IMAGES = np.array([0, 1, 0, 1])


@pytest.mark.parametrize("ratio", [0, 1, 2])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_roi_align(ratio: int, scale: float) -> None:
    x = data(2, 1, 6, 5)
    kwargs = {
        "output_height": 2, "output_width": 3, "sampling_ratio": ratio, "spatial_scale": scale
    }  # fmt: skip
    check("RoiAlign", x, {1: BOXES, 2: IMAGES}, ort=True, opset=10, **kwargs)
    for mode in ("half_pixel", "output_half_pixel"):
        kwargs["coordinate_transformation_mode"] = mode
        check("RoiAlign", x, {1: BOXES, 2: IMAGES}, ort=True, opset=16, **kwargs)


def test_roi_align_by_the_maximum() -> None:
    check(
        "RoiAlign", data(2, 2, 6, 5), {1: BOXES[:1], 2: IMAGES[:1]}, ort=True, opset=16, mode="max"
    )


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.3])
def test_max_roi_pool(scale: float) -> None:
    rois = np.concatenate([IMAGES[:, None], BOXES], 1).astype(np.float32)
    kwargs = {"pooled_shape": [2, 3], "spatial_scale": scale, "opset": 13}
    check("MaxRoiPool", data(2, 1, 6, 5), {1: rois}, ort=True, **kwargs)


def test_regions_that_the_input_chooses() -> None:
    """Any of the plane may be read; each output reads its own region."""
    boxes = np.array([[1, 0.4, 4.1, 3.3], [0.2, 1, 2.5, 3]], np.float32)
    x, images = data(2, 1, 5, 5), np.array([0, 1])
    kwargs = {"output_height": 2, "output_width": 1, "opset": 16}
    model, feeds = node_model("RoiAlign", x, boxes, constants={2: images}, **kwargs)
    assert_agrees(model, feeds, "bound", run=session(model), draws=1)
    model, feeds = node_model("RoiAlign", x, boxes, images, **kwargs)
    report, _ = reported(model, feeds, {"x0": (2, 3), "x1": (0,), "x2": (0,)})
    assert report.status == "bound"
    model, feeds = node_model("RoiAlign", boxes, constants={0: x, 2: images}, **kwargs)
    report, _ = reported(model, feeds, {"x1": (0,)})
    assert report.status == "exact"
    assert report[-1].boxes().tolist() == [[[0, 1]], [[1, 2]]]


def test_regions_that_do_not_fit() -> None:
    x = data(2, 1, 5, 5)
    for constants in (
        {1: BOXES, 2: IMAGES + 7},
        {1: BOXES[:, :3], 2: IMAGES},
        {1: BOXES, 2: IMAGES[:2]},
        {1: BOXES * np.float32(np.nan), 2: IMAGES},
    ):
        model, feeds = node_model("RoiAlign", x, constants=constants, opset=16)
        with pytest.raises(EyeshotError) as error:
            reported(model, feeds, {"x0": (2,)})
        assert "malformed" not in str(error.value)


def test_absurd_regions() -> None:
    """Too many samples or bins are bounds; no table is made of them."""
    x, boxes = data(2, 1, 5, 5), {1: BOXES[:1], 2: IMAGES[:1]}
    for kwargs in ({"sampling_ratio": 1 << 33}, {"output_width": 1 << 33}):
        model, feeds = node_model("RoiAlign", x, constants=boxes, opset=16, **kwargs)
        assert reported(model, feeds, {"x0": (2,)})[0].status == "bound"


CORNERS = np.array(
    [[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 10, 1, 11], [0, 10.1, 1, 11.1]]], np.float32
)
SCORES = np.array([[[0.9, 0.75, 0.6, 0.5]]], np.float32)


def test_non_max_suppression() -> None:
    """As many boxes as may remain, unless the file says how many do; all are compared with all."""
    parameters = {2: np.array([3]), 3: np.array([0.5], np.float32)}
    model, feeds = node_model("NonMaxSuppression", CORNERS, SCORES, constants=parameters, opset=11)
    report, _ = reported(model, feeds, {"x0": (1,), "x1": (2,)})
    assert report[-1].shape == (3, 3)
    assert report.status == "bound"
    assert report.diagnostics[0].code == "data-dependent"
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y0", 7, (2, 3)))
    assert_agrees(model, feeds, "bound", draws=1)


def test_non_max_suppression_of_nothing() -> None:
    """Without a number of boxes none remain."""
    model, feeds = node_model("NonMaxSuppression", CORNERS, SCORES, opset=11)
    with pytest.raises(EyeshotError, match="no output"):
        reported(model, feeds, {"x0": (1,), "x1": (2,)})


def test_a_picture_in_bytes() -> None:
    """Its size is asked for; if the file declares it, any byte may be read."""
    model, feeds = node_model("ImageDecoder", np.zeros(20, np.uint8), opset=20)
    with pytest.raises(EyeshotError, match="size"):
        reported(model, feeds, {"x0": (0,)})
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y0", 2, (2, 2, 3)))
    report, _ = reported(model, feeds, {"x0": (0,)})
    assert report.status == "bound"


@pytest.mark.parametrize(
    "shape, sizes, kwargs",
    [
        ((5, 6), (3, 3), {}),
        ((5, 6), (8, 9), {}),
        ((5, 6), (2, 9), {}),
        ((5, 6), (5, 7), {}),
        ((2, 5, 6), (4, 9), {"axes": [1, 2]}),
        ((2, 5, 6), (9, 4), {"axes": [-1, -2]}),
    ],
)
def test_center_crop_pad(shape: Any, sizes: Any, kwargs: Any) -> None:
    check("CenterCropPad", data(*shape), {1: np.array(sizes)}, **kwargs)


def test_crop() -> None:
    """Left, top, right, bottom."""
    x = data(1, 1, 6, 7)
    check("Crop", x, run=lambda f: [f["x0"][:, :, 2:5, 1:4]], opset=6, border=[1, 2, 3, 1])
    check(
        "Crop", x, run=lambda f: [f["x0"][:, :, 2:5, 1:3]], opset=6, border=[1, 2, 0, 0], scale=[3, 2]
    )  # fmt: skip
