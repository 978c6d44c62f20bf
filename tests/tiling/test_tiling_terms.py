"""Numbers in other tools' terms: each tool's way of cutting and joining, played with a real network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import eyeshot
from eyeshot.tiling.plan import TilePlan
from eyeshot.tiling.terms import terms

torch = pytest.importorskip("torch")
nn = torch.nn
Pieces = Iterator[tuple[int, int, int, int, int]]


class Down(nn.Module):  # type: ignore[misc, name-defined]
    """Down by four and up again, with more to read on the left than on the right."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(1, 3, 3, stride=4, padding=1)
        self.last = nn.Conv2d(3, 1, 3, padding=1)
        self.side = nn.Conv2d(1, 1, 5)

    def forward(self, x: Any) -> Any:
        y = nn.functional.interpolate(self.low(x), scale_factor=4)
        y = y + self.side(nn.functional.pad(x, (4, 0, 4, 0)))
        return self.last(torch.relu(y))


def shuffling() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(1, 1, 3, padding=1)
    )


def made(build: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    return build().double().eval()


def told(
    build: Callable[[], Any], size: int, tile: int = 16, **options: Any
) -> tuple[Any, TilePlan]:
    model = made(build)
    return model, eyeshot.tile_plan(model, (1, 1, size, size), tile=tile, trial=False, **options)


def run(model: Any, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(np.ascontiguousarray(x))).numpy())


def joined(
    model: Any, x: np.ndarray, pieces: Pieces, scale: int = 1, out: int | None = None
) -> np.ndarray:
    """Crops [begin, end) of both axes, of whose outputs [first, last) go to ``at``."""
    size = x.shape[-1] * scale if out is None else out
    whole = np.full((1, 1, size, size), np.nan)
    for (b, e, f, t, at), (b2, e2, f2, t2, at2) in itertools.product(list(pieces), repeat=2):
        part = run(model, x[..., b:e, b2:e2])[..., f:t, f2:t2]
        whole[..., at : at + t - f, at2 : at2 + t2 - f2] = part
    return whole


def torchio(size: int, patch: int, overlap: int) -> Pieces:
    """Patches that advance by what doesn't overlap, the last one moved back to the end; half of it cropped."""
    starts = list(range(0, size + 1 - patch, patch - overlap))
    if starts[-1] != size - patch:
        starts.append(size - patch)
    for start in starts:
        left = overlap // 2 if start else 0
        right = overlap // 2 if start + patch != size else 0
        yield start, start + patch, left, patch - right, start + left


def blocks(size: int, tiles: int, overlap: int, block: int) -> Pieces:
    """CSBDeep: tiles of whole blocks, on either side so many more as hold the overlap."""
    count, more = size // block, -(-overlap // block)
    edges = [round(i * count / tiles) for i in range(tiles + 1)]
    for low, high in itertools.pairwise(edges):
        begin, end = max(0, low - more), min(count, high + more)
        first = (low - begin) * block
        yield begin * block, end * block, first, first + (high - low) * block, low * block


def padded(size: int, tile: int, pad: int, scale: int) -> Pieces:
    """Real-ESRGAN: tiles one after another, with so much of the image around each as there is."""
    for low in range(0, size, tile):
        high = min(low + tile, size)
        begin, end = max(0, low - pad), min(size, high + pad)
        first = (low - begin) * scale
        yield begin, end, first, first + (high - low) * scale, low * scale


def image(size: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((1, 1, size, size))


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.abs(a - b).max() < 1e-12)


def test_torchio() -> None:
    model, plan = told(Down, 76)
    held = terms(plan)["torchio"]
    patch, overlap = held["values"]["patch_size"][0], held["values"]["patch_overlap"][0]
    assert held["exact"] and overlap % 2 == 0 and patch < 76
    x = image(76)
    assert equal(joined(model, x, torchio(76, patch, overlap)), run(model, x))
    less = overlap - 2 * plan.axes[0].grid
    assert not equal(joined(model, x, torchio(76, patch, less)), run(model, x))


def test_csbdeep() -> None:
    model, plan = told(Down, 76)
    values = terms(plan)["CSBDeep"]["values"]
    overlap, block = values["axes_tile_overlap"][0], values["axes_div_by"][0]
    assert terms(plan)["CSBDeep"]["exact"] and (overlap, block) == (max(plan.axes[0].halo), 4)
    x = image(76)
    assert equal(joined(model, x, blocks(76, 5, overlap, block)), run(model, x))
    assert not equal(joined(model, x, blocks(76, 5, overlap - block, block)), run(model, x))


@pytest.mark.parametrize(("build", "scale", "size"), [(Down, 1, 76), (shuffling, 2, 50)])
def test_real_esrgan(build: Any, scale: int, size: int) -> None:
    model, plan = told(build, size)
    held = terms(plan)["Real-ESRGAN"]
    tile, pad = held["values"]["tile"], held["values"]["tile_pad"]
    assert held["exact"] and tile == 16 and held["values"]["pre_pad"] == 0
    x = image(size)
    assert equal(joined(model, x, padded(size, tile, pad, scale), scale), run(model, x))
    less = pad - plan.axes[0].grid
    assert not equal(joined(model, x, padded(size, tile, less, scale), scale), run(model, x))


@pytest.mark.parametrize(
    ("build", "scale"),
    [(Down, 1), (shuffling, 2), (lambda: nn.Sequential(nn.Conv2d(1, 2, 5), nn.Conv2d(2, 1, 3)), 1)],
)
def test_bioimage(build: Any, scale: int) -> None:
    """Inside, the output of any block less its halo on both sides is the whole's."""
    model, plan = told(build, 72)
    held = terms(plan)["bioimage.io"]["values"]
    halo, step, offset = held["halo"][0], held["step"][0], held["offset"][0]
    x = image(72)
    whole = run(model, x)
    size = 32 // step * step
    assert run(model, x[..., :size, :size]).shape[-1] == size * scale + offset
    for begin in range(0, 72 - size + 1, step):
        part = run(model, x[..., begin : begin + size, begin : begin + size])
        at, n = begin * scale + halo, size * scale + offset - 2 * halo
        there = whole[..., at : at + n, at : at + n]
        assert n > 0 and equal(part[..., halo : halo + n, halo : halo + n], there)
    if halo:
        less = halo - step * scale
        begin, n = step, size * scale + offset - 2 * less
        part = run(model, x[..., begin : begin + size, begin : begin + size])
        at = begin * scale + less
        there = whole[..., at : at + n, at : at + n]
        assert not equal(part[..., less : less + n, less : less + n], there)
    assert terms(plan)["bioimage.io"]["exact"] == (halo == 0)


def test_dask() -> None:
    da = pytest.importorskip("dask.array")
    model, plan = told(Down, 76)
    held = terms(plan)["dask map_overlap"]
    values = held["values"]
    assert held["exact"]
    x = image(76)
    array = da.from_array(x, chunks=(1, 1, *values["chunks"]))
    depth = {2: values["depth"][0], 3: values["depth"][1]}
    found = array.map_overlap(
        lambda block: run(model, block),
        depth=depth,
        boundary=values["boundary"],
        dtype=x.dtype,
        meta=x[:0],
    )
    assert equal(found.compute(scheduler="sync"), run(model, x))


def test_monai_advances_on_the_grid() -> None:
    """int(roi * (1 - overlap)) is its own arithmetic."""
    for build, tile in ((Down, 16), (Down, 20), (shuffling, 7), (Down, 28)):
        _, plan = told(build, 140, tile)
        held = terms(plan)["MONAI"]
        for axis, roi, overlap in zip(
            plan.axes, held["values"]["roi_size"], held["values"]["overlap"], strict=True
        ):
            advance = int(roi * (1 - overlap))
            assert advance == tile and roi - advance >= 2 * max(axis.halo)
        assert not held["exact"] and "averaged" in held["note"]


def test_what_a_tool_can_not_run() -> None:
    _, plan = told(lambda: nn.Conv2d(1, 1, 5), 40)
    held = terms(plan)
    assert [tool for tool in held if held[tool]["values"]] == ["bioimage.io"]
    assert all(
        entry["note"].startswith("can't run") for t, entry in held.items() if t != "bioimage.io"
    )


def test_an_image_off_the_grid_is_told() -> None:
    _, plan = told(
        lambda: nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.Upsample(scale_factor=2)), 40
    )
    assert terms(plan)["torchio"]["exact"]

    class Odd(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            y = nn.functional.max_pool2d(x, 2, ceil_mode=True)
            return nn.functional.interpolate(y, scale_factor=2)[..., : x.shape[2], : x.shape[3]]

    _, plan = told(Odd, 41)
    held = terms(plan)
    assert not any(entry["exact"] for entry in held.values())
    assert all(
        "41 is no multiple of 2" in held[tool]["note"] for tool in ("torchio", "dask map_overlap")
    )


def test_a_stated_halo_is_not_exact_anywhere() -> None:
    model = made(Down)
    plan = eyeshot.tile_plan(model, (1, 1, 76, 76), tile=16, approximate=2)
    assert all(not e["exact"] and "stated" in e["note"] for e in terms(plan).values())
