"""Masses of single units of ONNX models: against the operators' own response, and against the module's.

Resampling and averaging are linear, so that what onnxruntime makes of one element alone is that element's share
of every output: no other formula is needed.
"""

from __future__ import annotations

import io
import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

import eyeshot
from tests.frontends.onnx import backend
from tests.frontends.onnx.agree import bake, node_model, reported
from tests.frontends.onnx.ort import session

RNG = np.random.default_rng(0)
EMPTY = np.zeros(0, np.float32)
#: float32 tells no more apart.
CLOSE = 2e-6
Shape = Sequence[int]


def floats(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


# Masses: the response to one element -------------------------------------------------------------


def responses(model: onnx.ModelProto, name: str, shape: Shape) -> np.ndarray:
    """What each output element takes of each input element: [*output, *input]."""
    run = session(model)
    size = math.prod(shape)

    def response(at: int) -> np.ndarray:
        return np.asarray(run({name: (np.arange(size) == at).astype(np.float32).reshape(shape)})[0])

    # What comes of zeros is a constant beside what is read: an extrapolation value.
    columns = [response(k) - response(-1) for k in range(size)]
    return np.stack(columns, -1).astype(np.float64).reshape(*columns[0].shape, *shape)


def assert_shares(model: onnx.ModelProto, shape: Shape, close: float = CLOSE) -> eyeshot.Report:
    """Every unit's mass is what onnxruntime gives it of each element, added up over samples and channels."""
    axes = tuple(range(2, len(shape)))
    report, rows = reported(model, {"x0": tuple(shape)}, {"x0": axes})
    layer = report[rows[model.graph.output[0].name]]
    assert layer.status == "exact"
    want = responses(model, "x0", shape)
    rank = len(layer.shape)
    # A unit shares its mass among those of its elements that read anything.
    others = tuple(d for d in range(rank) if d not in layer.unit_dims)
    alive = (want != 0).any(axis=tuple(range(rank, want.ndim)))[(..., *[None] * (len(shape) - 2))]
    want = want.sum(axis=(rank, rank + 1))
    amounts = want.sum(axis=others) / np.maximum(alive.sum(axis=others), 1)
    for at in np.ndindex(*(layer.shape[d] for d in layer.unit_dims)):
        unit, amount = report.unit(layer.name, at), amounts[at]
        np.testing.assert_allclose(unit.mass, amount, rtol=0, atol=close, err_msg=f"unit {at}")
        assert unit.mask[np.abs(amount) > close].all()
        assert abs(unit.mass.sum() + unit.share_in_padding - 1) < 1e-9 or not unit.mask.any()
    return report


def check(op: str, shape: Shape, constants: Mapping[int, Any] | None = None, **kwargs: Any) -> Any:
    x = np.zeros(shape, np.float32)
    model, _ = node_model(op, x, constants=constants or {}, **kwargs)
    return assert_shares(model, shape)


def resize(
    shape: Shape, scales: Any = None, sizes: Any = None, roi: Any = None, **kwargs: Any
) -> eyeshot.Report:
    constants = {1: EMPTY if roi is None else floats(*roi), 2: EMPTY}
    if scales is not None:
        constants[2] = floats(*scales)
    else:
        constants[3] = np.array(sizes)
    kwargs.setdefault("opset", 19)
    report: eyeshot.Report = check("Resize", shape, constants, **kwargs)
    return report


COORDINATES = [
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_crop_and_resize",
]  # fmt: skip
#: Height and width, and scales: whole, simple, and such as are no simple fractions in float32.
SCALES = [((3, 4), (2, 3)), ((7, 5), (0.5, 2 / 3)), ((6, 8), (0.6, 0.7)), ((5, 7), (1.3, 0.3123))]
ROI = (0, 0, 0.2, -0.1, 1, 1, 0.8, 1.15)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("sizes, scales", SCALES)
def test_resize(coordinates: str, sizes: Any, scales: Any) -> None:
    shape = (1, 1, *sizes)
    given = {
        "scales": (1, 1, *scales),
        "roi": ROI if coordinates == "tf_crop_and_resize" else None,
        "coordinate_transformation_mode": coordinates,
    }
    resize(shape, mode="nearest", **given)
    for mode in ("linear", "cubic"):
        resize(shape, mode=mode, **given)
    resize(shape, mode="cubic", cubic_coeff_a=-0.5, **given)
    resize(shape, mode="cubic", exclude_outside=1, **given)


@pytest.mark.parametrize("sizes, scales", [*SCALES, ((9, 12), (0.21, 1 / 3))])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
def test_antialiased(coordinates: str, sizes: Any, scales: Any) -> None:
    given = {"scales": (1, 1, *scales), "coordinate_transformation_mode": coordinates}
    resize((1, 1, *sizes), mode="linear", antialias=1, **given)
    for a in (-0.75, -0.5):
        resize((1, 1, *sizes), mode="cubic", antialias=1, cubic_coeff_a=a, **given)
    resize((1, 1, *sizes), mode="cubic", antialias=1, exclude_outside=1, **given)


@pytest.mark.parametrize("coordinates", COORDINATES[:-1])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_to_sizes(coordinates: str, mode: str) -> None:
    for sizes in ((7, 3), (1, 11), (2, 1)):
        kwargs = {"mode": mode, "coordinate_transformation_mode": coordinates}
        resize((1, 1, 5, 6), sizes=(1, 1, *sizes), **kwargs)


def test_resize_in_one_and_three_dims() -> None:
    """Linear interpolation of a line and of a volume: products of the weights along each axis."""
    for scale in (2, 1.5, 0.4):
        resize((1, 1, 7), scales=(1, 1, scale), mode="linear")
        resize((1, 1, 3, 2, 4), scales=(1, 1, scale, 2, 1), mode="linear")


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_aspect_ratio(policy: str) -> None:
    given: Any = {"axes": [2, 3], "keep_aspect_ratio_policy": policy}
    resize((1, 1, 5, 6), sizes=(7, 4), mode="linear", **given)


def test_upsample() -> None:
    for scales in ((2, 3), (1.5, 2), (1, 4)):
        given = {1: floats(1, 1, *scales)}
        check("Upsample", (1, 1, 3, 4), given, opset=9, mode="linear")
        check("Resize", (1, 1, 3, 4), given, opset=10, mode="linear")


def test_a_table_and_a_closed_form_agree() -> None:
    """A scale that float32 just misses is written down output by output: it counts nearly the same."""
    masses = []
    for scale in (0.5, 0.5 + 2e-7):
        model, _ = node_model(
            "Resize", np.zeros((1, 1, 64), np.float32), constants={1: EMPTY, 2: floats(1, 1, scale)},
            mode="linear",
        )  # fmt: skip
        report, rows = reported(model, {"x0": (1, 1, 64)}, {"x0": (2,)})
        masses.append([report.unit(rows["y0"], k).mass for k in range(32)])
    np.testing.assert_allclose(*masses, atol=1e-4)


WINDOWS: list[dict[str, Any]] = [
    {"kernel_shape": [3, 2]},
    {"kernel_shape": [3, 2], "pads": [1, 1, 1, 0], "strides": [2, 1]},
    {"kernel_shape": [3, 3], "pads": [1, 2, 0, 1], "dilations": [2, 1]},
    {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 3], "strides": [2, 3], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [2, 4], "strides": [3, 3], "pads": [0, 1, 0, 1], "ceil_mode": 1},
]


@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize("window", WINDOWS)
def test_average_pool(window: dict[str, Any], counted: int) -> None:
    """Padding has a share if it is counted, and what a ceil mode's last window reads beyond it never has."""
    check("AveragePool", (1, 1, 6, 7), opset=19, count_include_pad=counted, **window)


def test_average_pool_by_default() -> None:
    """Padding is left out."""
    report = check("AveragePool", (1, 1, 5), opset=19, kernel_shape=[3], pads=[1, 1])
    unit = report.unit(-1, 0)
    assert unit.mass.tolist() == [0.5, 0.5, 0, 0, 0]
    assert unit.share_in_padding == 0


def lines(*axes: Any) -> np.ndarray:
    """A grid in which each axis goes its own way."""
    return np.stack(np.meshgrid(*axes, indexing="ij")[::-1], -1)[None].astype(np.float32)


GRIDS = [
    ((1, 1, 4, 3), lines([-1, -0.3, 1], [0.9, 0, -1.4, 0.1])),
    ((1, 1, 3, 5), lines(np.linspace(-1, 1, 4), np.linspace(-1, 1, 6))),
    ((1, 1, 4, 3), RNG.uniform(-1.8, 1.8, (1, 3, 3, 2)).astype(np.float32)),
]


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("shape, grid", GRIDS)
def test_grid_sample(shape: Any, grid: Any, padding: str, align: int) -> None:
    kwargs = {"padding_mode": padding, "align_corners": align, "opset": 20}
    for mode in ("linear", "nearest", "cubic"):
        check("GridSample", shape, {1: grid}, mode=mode, **kwargs)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample_in_space(padding: str) -> None:
    for grid in (
        lines([-1, 0.4], [0, 0.9, -1.3], [0.2]),
        RNG.uniform(-1.5, 1.5, (1, 2, 1, 2, 3)).astype(np.float32),
    ):
        check("GridSample", (1, 1, 3, 4, 2), {1: grid}, padding_mode=padding, opset=20)


@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align(coordinates: str, ratio: int) -> None:
    """Bins average their samples, each of four elements; a sample outside is lost."""
    for box in ((0, 0, 4, 3), (0.7, 1.2, 5.3, 4.9), (-3, -2, 4, 9)):
        check(
            "RoiAlign", (1, 1, 6, 5), {1: floats(*box).reshape(1, 4), 2: np.array([0])}, opset=16,
            output_height=2, output_width=3, sampling_ratio=ratio, spatial_scale=0.8,
            coordinate_transformation_mode=coordinates,
        )  # fmt: skip


def linear_cases() -> list[str]:
    """The onnx package's own cases of resampling and averages, of small maps of floats."""
    words = ("resize", "upsample", "averagepool", "gridsample", "roialign_mode_avg")
    found = []
    for name in backend.cases():
        if name.startswith("node/test_") and any(word in name for word in words):
            first = next(iter(backend.load(name).feeds.values()))
            if "expanded" not in name and first.dtype == np.float32 and first.size <= 400:
                found.append(name)
    return found


@pytest.mark.parametrize("name", linear_cases())
def test_cases_of_the_onnx_package(name: str) -> None:
    """In the operators' own tests, too, onnxruntime's response is the mass."""
    case = backend.load(name)
    (key, x), *others = case.feeds.items()
    shape = x.shape
    model = bake(case.model, dict(others))
    for node in model.graph.node:
        node.input[:] = ["x0" if n == key else n for n in node.input]
    model.graph.input[0].name = "x0"
    assert_shares(model, shape)


def unpadded_cases() -> list[str]:
    """Cases of operators that pad nothing, however little their first or last outputs read."""
    words = (
        "attention",
        "lrn",
        "rnn_",
        "lstm",
        "gru_",
        "cumsum",
        "maxunpool",
        "scatter",
        "reversesequence",
    )
    found = []
    for name in backend.cases():
        if name.startswith("node/test_") and any(word in name for word in words):
            feeds = backend.load(name).feeds.values()
            if "expanded" not in name and sum(np.size(x) for x in feeds) < 1000:
                found.append(name)
    return found


def test_nothing_is_lost_where_nothing_is_padded() -> None:
    """Keys beyond a window, places that nothing is written to, ends of sequences: those are no padding."""
    names = unpadded_cases()
    assert len(names) > 40
    for name in names:
        case = backend.load(name)
        axes = {key: tuple(range(np.ndim(x))) for key, x in case.feeds.items()}
        report, _ = reported(case.model, case.feeds, axes)
        for layer in report:
            n = tuple(layer.shape[d] for d in layer.unit_dims)
            for at in itertools.islice(np.ndindex(n), 4):
                unit = report.unit(layer.name, at)
                total = sum(part.total for part in unit.parts)
                assert unit.share_in_padding == 0, (name, layer.name, at)
                assert abs(total - any(part.mask.any() for part in unit.parts)) < 1e-9, (name, at)


@pytest.mark.parametrize("width", [2, 3])
def test_local_attention(width: int) -> None:
    """Queries and keys a quarter each, values a half; a token and those before it in the window alike."""
    q, kv = np.zeros((1, 6, 8), np.float32), np.zeros((1, 6, 4), np.float32)
    past = np.zeros((1, 2, 0, 2), np.float32)
    constants = {3: past, 4: past, 5: np.array([5], np.int32), 6: np.array(6, np.int32)}
    model, feeds = node_model(
        "GroupQueryAttention", q, kv, kv, domain="com.microsoft", constants=constants, outputs=3,
        num_heads=4, kv_num_heads=2, local_window_size=width,
    )  # fmt: skip
    report, rows = reported(model, feeds, dict.fromkeys(feeds, (1,)))
    layer = report[rows["y0"]]
    for token in range(6):
        seen = [p for p in range(6) if token - width < p <= token]
        unit = report.unit(layer.name, token)
        assert np.flatnonzero(unit["x0"].mask).tolist() == [token]
        assert abs(unit["x0"].total - 1 / 4) < 1e-12
        for name, share in (("x1", 1 / 4), ("x2", 1 / 2)):
            want = [(p in seen) * share / len(seen) for p in range(6)]
            np.testing.assert_allclose(unit[name].mass, want, atol=1e-12)
        assert unit.share_in_padding == 0


# The same network as a module --------------------------------------------------------------------


def exported(module: Any, shape: Shape) -> onnx.ModelProto:
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(module.eval(), torch.zeros(shape), file, input_names=["x"], dynamo=False)
    return onnx.load_from_string(file.getvalue())


def decoder() -> Any:
    """A small U-Net: encoder, skip connection, upsampling, transposed convolution."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.second = nn.Conv2d(4, 8, 3, padding=1)
            self.third = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
            self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
            self.last = nn.Conv2d(8, 2, 3, padding=1)

        def forward(self, x: Any) -> Any:
            f = nn.functional
            a = f.relu(self.first(x))
            b = f.relu(self.second(f.avg_pool2d(a, 3, 2, 1)))
            c = self.up(f.relu(self.third(f.max_pool2d(b, 2))))
            c = f.interpolate(c, scale_factor=2, mode="bilinear")
            return self.last(torch.cat([a, c], 1))

    return Net()


@pytest.mark.parametrize("name", ["resnet18", "decoder"])
def test_a_module_and_its_export(name: str) -> None:
    """The same unit has the same set and the same mass by either way."""
    shape = (1, 3, 64, 64)
    if name == "decoder":
        module, at = decoder(), [(0, 0), (31, 30), (63, 5)]
    else:
        module = pytest.importorskip("torchvision").models.resnet18(weights=None)
        module = __import__("torch").nn.Sequential(*list(module.children())[:-2])
        at = [(0, 0), (1, 1)]
    one, other = eyeshot.analyze(module, input=shape), eyeshot.analyze(exported(module, shape))
    (first,), (second,) = one.outputs, other.outputs
    for index in at:
        a, b = one.unit(first.name, index), other.unit(second.name, index)
        assert a.clipped == b.clipped
        np.testing.assert_array_equal(a.mask, b.mask)
        np.testing.assert_allclose(a.mass, b.mass, rtol=0, atol=1e-12)
        assert abs(a.share_in_padding - b.share_in_padding) < 1e-12
