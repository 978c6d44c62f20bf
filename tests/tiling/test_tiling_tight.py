"""Plans are tight: a halo one less on any side would change the output, and nothing beyond it is read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from dense_nets import CASES, UNet, halo_unet
from random_nets import whole
from torch import nn

from eyeshot.tiling.plan import Tile
from eyeshot.tiling.planning import Planner
from eyeshot.tiling.subject import Subject


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small convolutions wait for their threads longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# depth: (halo of a tile on the grid, half-extent of the worst single unit), as published
TABLE = {1: (8, 9), 2: (22, 23), 3: (46, 51), 4: (94, 107), 5: (190, 219)}


@pytest.mark.parametrize("depth", TABLE)
def test_the_published_table(depth: int) -> None:
    halo, unit = TABLE[depth]
    size = 1 << 12
    plan = Planner(Subject(halo_unet(depth)), (1, 1, size, size)).plan(512)
    for axis in plan.axes:
        assert axis.grid == 2**depth
        assert axis.halo == (halo, halo)
        assert axis.unit_halo == (unit, unit)
        assert axis.margin == tuple(math.ceil(halo / 2**depth) * 2**depth for _ in range(2))
        # What crops inside the image really have.
        begin, end = axis.spans[3].read
        assert (3 * 512 - begin, end - 4 * 512) == axis.margin


@pytest.mark.parametrize("size", [100, 128, 135])
def test_tiles_off_the_grid_read_no_more_than_they_need(size: int) -> None:
    """A crop is the hull of what its units read, rounded outwards to the grid: by less than one on a side."""
    planner = Planner(Subject(UNet(2, "2/2", nd=1, fit=True)), (1, 1, size))
    (extent,) = planner.extents
    for tile in (4, 7, 13, 32):
        (axis,) = planner.plan(tile).axes
        for (begin, end), _, (first, last) in axis.spans[:: max(1, len(axis.spans) - 1)]:
            low, high = extent.reads(first, last)
            assert 0 <= low - begin < axis.grid
            assert end - high < axis.grid or end == size


# --- halos by experiment

#: Networks whose random weights are all felt: no maximum, no rectifier that may shut off what lies far.
SMOOTH: dict[str, tuple[Any, tuple[int, ...], int]] = {
    "unet nearest": (lambda: smooth(UNet(2, "nearest", "avg")), (1, 1, 112, 112), 16),
    "unet linear": (lambda: smooth(UNet(1, "linear", "conv")), (1, 1, 64, 64), 16),
    "unet bicubic": (lambda: smooth(UNet(1, "bicubic", "conv")), (1, 1, 64, 64), 16),
    "unet 3/2": (lambda: smooth(UNet(2, "3/2", "conv")), (1, 1, 112, 112), 16),
    "unet 4/2": (lambda: smooth(UNet(2, "4/2", "conv")), (1, 1, 112, 112), 16),
    "unet shuffle": (lambda: smooth(UNet(1, "shuffle", "avg")), (1, 1, 64, 64), 16),
    "unet valid": (lambda: smooth(UNet(1, "2/2", "avg", valid=True)), (1, 1, 72, 72), 16),
    "unet 1d": (lambda: smooth(UNet(3, "linear", "avg", nd=1)), (1, 1, 256), 64),
    "unet 3d": (lambda: smooth(UNet(1, "2/2", "conv", nd=3)), (1, 1, 28, 28, 28), 4),
    **{
        name: (lambda name=name: smooth(CASES[name][0]()), shape, tile)
        for name, shape, tile in [
            ("x3", (1, 1, 32, 32), 8),
            ("unshuffle", (1, 1, 32, 32), 8),
            ("stride 8", (1, 1, 96, 96), 32),
            ("dilated", (1, 1, 64, 64), 16),
            ("aspp", (1, 1, 64, 64), 16),
            ("causal", (1, 1, 160), 40),
            ("uneven", (1, 1, 45, 48), 15),
            ("reflect and replicate", (1, 1, 40, 40), 10),
            ("convnext", (1, 1, 96, 96), 16),
            ("windows", (1, 1, 48, 48), 8),
            ("holes", (1, 1, 20, 20), 5),
            ("holes, strided", (1, 1, 32, 32), 8),
            ("one and a half", (1, 1, 32, 32), 8),
            ("channels apart", (1, 1, 30, 30), 8),
        ]
    },
}


def smooth(net: nn.Module) -> nn.Module:
    """The network with functions that never saturate and no maximum in the place of those that may."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, name, nn.Softplus())
            elif isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    return net.double().eval()


def shown(net: nn.Module, x: torch.Tensor, tile: Tile, place: tuple[slice, ...]) -> bool:
    """Whether other values at ``place`` change the tile's part of the whole output."""
    expected = whole(net, x)[tile.write]
    other = x.clone()
    other[place] = -7.0 * other[place] + 3.0
    return not torch.equal(whole(net, other)[tile.write], expected)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_halo_one_less_would_differ(name: str) -> None:
    """On each side of each axis: the halo's last column counts for some tile on the grid, the next for none."""
    make, shape, size = SMOOTH[name]
    torch.manual_seed(1)
    net = make()
    plan = Planner(Subject(net), shape).plan(size)
    x = torch.randn(shape, dtype=torch.float64)
    for axis in plan.axes:
        assert size % axis.grid == 0
        for side, halo in enumerate(axis.halo):
            felt = []
            # The middle tile: far from both borders.
            at = math.ceil(axis.size / size) // 2
            begin, end = at * size, (at + 1) * size
            step = axis.scale * size
            write = slice(int(at * step), int((at + 1) * step))
            for extra in (0, 1):
                column = begin - halo - extra if side == 0 else end + halo - 1 + extra
                assert 0 <= column < axis.size, "the image is too small for this test"
                place = [slice(None)] * len(shape)
                place[axis.axis] = slice(column, column + 1)
                out = [slice(None)] * len(shape)
                out[axis.dim] = write
                tile = Tile(0, (), (), (), tuple(out))
                felt.append(shown(net, x, tile, tuple(place)))
            if halo > 0:
                assert felt[0], f"axis {axis.axis}, side {side}: a halo of {halo - 1} would do"
            assert not felt[1], f"axis {axis.axis}, side {side}: a halo of {halo} does not do"


@pytest.mark.parametrize("name", ["unet 1d", "causal", "stride 8", "x3", "unet valid", "dilated"])
def test_a_crop_one_grid_shorter_differs(name: str) -> None:
    """What the network makes of a crop without its last grid is wrong, on every side that is no real border."""
    make, shape, size = SMOOTH[name]
    torch.manual_seed(2)
    net = make()
    shape = (*shape[:2], *(n + 2 * size for n in shape[2:]))
    plan = Planner(Subject(net), shape).plan(size)
    x = torch.randn(shape, dtype=torch.float64)
    expected = whole(net, x)
    place = tuple(n // 2 for n in plan.places)
    middle = next(tile for tile in plan if tile.place == place)
    for axis in plan.axes:
        for side in range(2):
            if not axis.margin[side]:
                continue
            read, crop = list(middle.read), list(middle.crop)
            s, c = read[axis.axis], crop[axis.dim]
            assert s.start > 0
            assert s.stop < axis.size
            if side == 0:
                cut = int(axis.grid * axis.scale)
                read[axis.axis] = slice(s.start + axis.grid, s.stop)
                crop[axis.dim] = slice(c.start - cut, c.stop - cut)
            else:
                read[axis.axis] = slice(s.start, s.stop - axis.grid)
            want = expected[middle.write]
            found = whole(net, x[tuple(read)])[tuple(crop)]
            assert found.shape != want.shape or not torch.allclose(found, want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["unet nearest", "unet 3/2", "uneven", "aspp", "holes, strided"])
def test_what_lies_outside_a_tiles_hull_is_not_read(name: str) -> None:
    """NaN in all that the planner says a tile does not read leaves the tile as it is."""
    make, shape, size = SMOOTH[name]
    torch.manual_seed(3)
    net = make()
    planner = Planner(Subject(net), shape)
    plan = planner.plan(size)
    x = torch.randn(shape, dtype=torch.float64)
    expected = whole(net, x)
    for tile in itertools.islice(plan, 0, None, max(1, len(plan) // 5)):
        other = torch.full_like(x, torch.nan)
        place = [slice(None)] * len(shape)
        for extent in planner.extents:
            write = tile.write[extent.dim]
            place[extent.axis] = slice(*extent.reads(write.start, write.stop))
        other[tuple(place)] = x[tuple(place)]
        assert torch.equal(whole(net, other)[tile.write], expected[tile.write])


def test_the_worst_unit_between_input_positions() -> None:
    """A unit's own positions are rounded outwards: here the second lies on the first's half position."""
    net = nn.Sequential(nn.Upsample(scale_factor=2), nn.ZeroPad2d((0, 2, 0, 2)), nn.Conv2d(1, 1, 3))
    for axis in Planner(Subject(net), (1, 1, 20, 20)).plan(5).axes:
        assert axis.unit_halo == (0, 1)
        assert axis.halo == (0, 1)


@pytest.mark.parametrize("name", ["shifted", "unet nearest", "covered stride"])
def test_margins_are_what_crops_have(name: str) -> None:
    """Also where crops had to be enlarged beyond the halo."""
    make = CASES[name][0]
    size = 12
    for axis in Planner(Subject(make().eval()), (1, 1, 120, 120)).plan(size).axes:
        begin, end = axis.spans[5].read
        assert (5 * size - begin, end - 6 * size) == axis.margin
        assert axis.margin != axis.halo
