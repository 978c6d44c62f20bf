"""Resampling by the PyTorch frontend against poisoning: sizes, scales, alignment, rounding, coordinates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.frontends.agree import assert_agrees

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
SHAPES = {1: (1, 2, 9), 2: (1, 2, 7, 5), 3: (1, 1, 4, 5, 3)}


CASES = [
    (axes, mode, how)
    for axes in (1, 2, 3)
    for mode in ("nearest", "nearest-exact", "linear", "corners", "cubic", "area")
    for how in ("shrink", "grow", "same", "double", "scale", "recomputed", "one")
    if axes == 2 or (mode != "cubic" and how in ("shrink", "double", "scale"))
]


@pytest.mark.parametrize(("axes", "mode", "how"), CASES)
def test_interpolate(axes: int, mode: str, how: str) -> None:
    shape = SHAPES[axes]
    options: dict[str, Any] = {"mode": mode}
    if mode in ("linear", "corners", "cubic"):
        options = {
            "mode": "bicubic" if mode == "cubic" else MODES[axes],
            "align_corners": mode == "corners",
        }
    sizes = shape[2:]
    if how in ("scale", "recomputed"):
        options["scale_factor"] = (1.3, 2.5, 0.7)[:axes]
        options["recompute_scale_factor"] = how == "recomputed"
    else:
        options["size"] = {
            "shrink": [max(n * 2 // 3, 1) for n in sizes],
            "grow": [n * 2 + 3 for n in sizes],
            "same": [sizes[0], *(n + 1 for n in sizes[1:])],
            "double": [n * 2 for n in sizes],
            "one": [1 for _ in sizes],
        }[how]
    assert_agrees(lambda x: F.interpolate(x, **options), shape)


@pytest.mark.parametrize("mode", ("nearest", "nearest-exact", "bilinear", "bicubic", "linear"))
@pytest.mark.parametrize(
    ("n", "scale"), [(3, 1.05), (5, 1.1), (2, 7 / 3), (21, 0.3), (10, 1 / 3), (7, 1.7), (33, 3.3)]
)
def test_a_given_scale_is_the_step(mode: str, n: int, scale: float) -> None:
    """Sizes round down, the step does not; two-axis nearest kernels copy and double by size alone."""
    shape = (1, 1, n) if mode == "linear" else (1, 1, n, 4)
    factors = scale if mode == "linear" else (scale, 1.5)
    assert_agrees(lambda x: F.interpolate(x, scale_factor=factors, mode=mode), shape)


@pytest.mark.parametrize(
    ("mode", "n", "size"),
    [
        ("nearest-exact", 16, 61),
        ("nearest", 13, 98),
        ("bicubic", 3, 9),
        ("bicubic", 7, 49),
        ("bilinear", 3, 25),
        ("trilinear", 3, 25),
    ],
)
def test_rounding(mode: str, n: int, size: int) -> None:
    """Coordinates that are whole numbers but for the rounding of PyTorch's arithmetic."""
    shape = (1, 1, n, 1, 1) if mode == "trilinear" else (1, 1, n, 1)
    sizes = (size, *shape[3:])
    assert_agrees(lambda x: F.interpolate(x, size=sizes, mode=mode), shape)


@pytest.mark.parametrize(
    ("mode", "n", "size"), [("linear", 3, 25), ("nearest", 13, 98), ("nearest-exact", 10, 35)]
)
def test_rounding_in_single_precision(mode: str, n: int, size: int) -> None:
    x = torch.randn(1, 1, n, generator=torch.Generator().manual_seed(0))
    assert_agrees(lambda x: F.interpolate(x, size=size, mode=mode), inputs=[x])


def test_channels_last() -> None:
    x = torch.randn(1, 4, 3, 4, 5, dtype=torch.float64)

    def doubled(x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        return F.interpolate(x, scale_factor=(2.4, 1.2, 1.1), mode="nearest")

    assert_agrees(doubled, inputs=[x])


@pytest.mark.parametrize("mode", ("bilinear", "bicubic", "lanczos"))
@pytest.mark.parametrize("corners", (False, True))
@pytest.mark.parametrize("sizes", [(4, 20), (9, 13), (1, 12)])
def test_antialiased(mode: str, corners: bool, sizes: tuple[int, int]) -> None:
    if mode == "lanczos":
        assert_agrees(
            lambda x: torch.ops.aten._upsample_lanczos2d_aa(x, sizes, corners), (1, 1, 9, 12)
        )
        return
    options: dict[str, Any] = {"mode": mode, "align_corners": corners, "antialias": True}
    assert_agrees(lambda x: F.interpolate(x, size=sizes, **options), (1, 1, 9, 12))


@pytest.mark.parametrize("scale", (0.3, 0.7, 1.05, 1.6))
def test_antialiased_by_a_scale(scale: float) -> None:
    options: dict[str, Any] = {"mode": "bilinear", "antialias": True, "scale_factor": (scale, 0.5)}
    assert_agrees(lambda x: F.interpolate(x, **options), (1, 1, 11, 9))


def test_overload_with_a_list_of_scales() -> None:
    aten = torch.ops.aten
    assert_agrees(lambda x: aten.upsample_nearest2d.vec(x, None, [1.7, 0.6]), (1, 1, 7, 9))
    assert_agrees(lambda x: aten.upsample_bilinear2d.vec(x, None, False, [1.7, 0.6]), (1, 1, 7, 9))
    assert_agrees(lambda x: aten.upsample_linear1d(x, [15], False, 1.7), (1, 1, 9))
    assert_agrees(lambda x: aten.upsample_linear1d(x, [15], True, None), (1, 1, 9))


def test_simple_scales_keep_their_closed_form() -> None:
    """One period whatever the size: the canvas shows what the layer does, not how long the input is."""
    import eyeshot

    net = torch.nn.Upsample(scale_factor=1.5, mode="bilinear")
    report = eyeshot.analyze(net, input=(1, 1, 64, 64))
    (layer,) = [layer for layer in report.layers if layer.op.startswith("upsample")]
    assert layer.status == "exact"
    assert [field.jump for field in layer.fields] == [pytest.approx(2 / 3)] * 2


# --- at coordinates


@pytest.mark.parametrize("axes", (2, 3))
def test_a_grid_made_by_the_input_is_a_bound(axes: int) -> None:
    shape, out = SHAPES[axes], (4, 3, 2)[:axes]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(*shape, dtype=torch.float64, generator=generator)
    grid = torch.rand(1, *out, axes, dtype=torch.float64, generator=generator) * 2 - 1
    report = assert_agrees(
        lambda x, g: F.grid_sample(x, g, align_corners=False), inputs=[x, grid], status="bound"
    )
    assert "data-dependent" in {found.code for found in report.diagnostics}


def test_an_output_reads_its_own_coordinates() -> None:
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    assert_agrees(lambda g: F.grid_sample(x, g, align_corners=True), (1, 4, 3, 2))


@pytest.mark.parametrize("mode", ("bilinear", "nearest", "bicubic"))
@pytest.mark.parametrize("padding", ("zeros", "border", "reflection"))
@pytest.mark.parametrize("corners", (False, True))
def test_known_grid(mode: str, padding: str, corners: bool) -> None:
    """Scaled and shifted past the border; reflected cubic samples are bounded."""
    theta = torch.tensor([[[1.37, 0, 0.21], [0, -0.83, 0.43]]], dtype=torch.float64)
    grid = F.affine_grid(theta, [1, 1, 6, 9], align_corners=corners)
    status = "bound" if (mode, padding) == ("bicubic", "reflection") else "exact"
    assert_agrees(
        lambda x: F.grid_sample(x, grid, mode, padding, corners), (1, 1, 7, 8), status=status
    )


def test_known_grid_of_three_axes() -> None:
    theta = torch.tensor(
        [[[1.2, 0, 0, 0.1], [0, 0.9, 0, 0.3], [0, 0, -1.1, 0.05]]], dtype=torch.float64
    )
    grid = F.affine_grid(theta, [1, 1, 3, 4, 5], align_corners=False)
    assert_agrees(lambda x: F.grid_sample(x, grid, align_corners=False), (1, 1, 4, 5, 6))


def test_known_grid_that_turns() -> None:
    theta = torch.tensor([[[0.7, -0.7, 0.0], [0.7, 0.7, 0.0]]], dtype=torch.float64)
    grid = F.affine_grid(theta, [1, 1, 4, 4], align_corners=False)
    assert_agrees(
        lambda x: F.grid_sample(x, grid, align_corners=False), (1, 1, 5, 5), status="bound"
    )


def test_whole_positions_are_bounded_to_a_neighbour() -> None:
    theta = torch.eye(2, 3, dtype=torch.float64)[None]
    grid = F.affine_grid(theta, [1, 1, 7, 7], align_corners=True)
    report = assert_agrees(
        lambda x: F.grid_sample(x, grid, align_corners=True), (1, 1, 7, 7), status="bound"
    )
    widths = report.outputs[0].boxes()
    assert (widths[..., 1] - widths[..., 0]).max() <= 3


@pytest.mark.parametrize("corners", (False, True))
def test_affine_grid(corners: bool) -> None:
    assert_agrees(lambda t: F.affine_grid(t, [2, 1, 3, 4], corners), (2, 2, 3), axes=(1, 2))
    assert_agrees(lambda t: F.affine_grid(t, [1, 1, 2, 3, 4], corners), (1, 3, 4), axes=(1, 2))
