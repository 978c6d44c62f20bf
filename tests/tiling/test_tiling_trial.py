"""Trials: networks whose graph tiles and whose numbers don't are found out, others pass."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from eyeshot import EyeshotError
from eyeshot.tiling.models import load
from eyeshot.tiling.plan import Memory
from eyeshot.tiling.planning import Planner
from eyeshot.tiling.trial import trial


def planned(net, shape, tile, batch=1, halo=None, **options):
    torch.manual_seed(0)
    model = load(net() if isinstance(net, type) else net, threads=1, **options)
    return model, Planner(model.subject, shape, halo).plan(tile, batch)


def tiled(model, plan, x):
    """What the tiles give together, put in their places by hand."""
    out = np.full(plan.out_shape, np.nan)
    for tile in plan:
        out[tile.write] = model(x[tile.read])[tile.crop]
    return out


def unlike(model, plan):
    """How far the plan's own tiles are off on random numbers, of the whole's largest magnitude."""
    x = np.random.default_rng(1).standard_normal(plan.shape)
    whole = model(x)
    return np.abs(tiled(model, plan, x) - whole).max() / np.abs(whole).max()


# --- networks of which the graph says that they tile


class Coordinates(nn.Module):
    """Convolutions of the image and of where it is: relative to its size, or counted from its corner."""

    relative = True

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.head = nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, x):
        x = self.stem(x).relu()
        h, w = x.shape[-2:]
        rows, columns = torch.arange(h).to(x), torch.arange(w).to(x)
        if self.relative:
            rows, columns = rows / h, columns / w
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        return self.head(torch.cat([x, grid[None].expand(len(x), -1, -1, -1)], 1))


class Counted(Coordinates):
    relative = False


class Table(nn.Module):
    """Positions that were learned, of which the input takes the first."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(1, 4, 4, 4)
        self.places = nn.Parameter(torch.randn(1, 4, 1000) * 0.02)
        self.head = nn.Conv1d(4, 2, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + self.places[..., : x.shape[-1]])


class Stretched(Table):
    """The same, brought to the input's size."""

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + F.interpolate(self.places, size=x.shape[-1], mode="linear"))


class BySize(nn.Module):
    """Scaled by the number of pixels."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        return self.head(x) / (x.shape[-1] * x.shape[-2]) ** 0.5


class Shaky(nn.Module):
    """Noise is added, in whatever mode."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv3d(1, 2, 3, padding=1)

    def forward(self, x):
        return F.dropout(self.head(x), 0.1, training=True)


@pytest.mark.parametrize(
    ("net", "shape", "tile", "at"),
    [
        (Coordinates, (1, 2, 90, 75), 16, "cat"),
        (Counted, (1, 2, 90, 75), (16, 0), "cat"),
        (Counted, (1, 2, 90, 75), (0, 40), "cat"),
        (Table, (1, 1, 4000), 512, "add"),
        (Stretched, (1, 1, 4000), 512, "add"),
        (BySize, (1, 2, 64, 64), 16, "div"),
    ],
)
def test_positions_and_sizes_show(net, shape, tile, at):
    model, plan = planned(net, shape, tile)
    assert unlike(model, plan) > 1e-4  # or there would be nothing to be found
    found = trial(model, plan)
    assert not found.passed and found.error > 1e-4 * found.scale
    assert f"first at {at} ({at})" in found.message and "\n" not in found.message
    assert "depends on the position or on the input's size" in found.message
    assert found.dtype == "float64" and np.prod(found.window) <= np.prod(shape)


def test_noise_shows():
    model, plan = planned(Shaky, (1, 1, 20, 24, 28), 8)
    found = trial(model, plan)
    assert not found.passed
    assert "other numbers each time for one input, first at mul" in found.message


class Together(nn.Module):
    """The batch's mean is taken off."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x):
        x = self.head(x)
        return x - x.mean(0, keepdim=True) / 2


def test_a_batch_that_is_mixed_shows_where_tiles_run_in_batches():
    model, plan = planned(Together, (1, 1, 64, 64), 16)
    assert trial(model, plan).passed and unlike(model, plan) < 1e-6
    model, plan = planned(Together, (1, 1, 64, 64), 16, batch=4)
    found = trial(model, plan)
    assert not found.passed and "mixes the samples of a batch" in found.message


def test_a_halo_that_is_too_small_shows():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 9, padding=4), nn.InstanceNorm2d(2), nn.Conv2d(2, 1, 3, padding=1)
    )
    model, plan = planned(net, (1, 1, 96, 96), 16, halo=(2, 2))
    assert not plan.exact
    assert not trial(model, plan).passed


# --- networks that tile


class UNet(nn.Module):
    def __init__(self, conv=nn.Conv2d, up=nn.ConvTranspose2d, pool=F.max_pool2d, depth=2):
        super().__init__()
        sizes = [4 * 2**k for k in range(depth + 1)]
        self.down = nn.ModuleList(
            conv(i, o, 3, padding=1) for i, o in zip([1, *sizes[:-1]], sizes, strict=True)
        )
        self.up = nn.ModuleList(up(2 * n, n, 2, 2) for n in sizes[:-1])
        self.back = nn.ModuleList(conv(2 * n, n, 3, padding=1) for n in sizes[:-1])
        self.head = conv(sizes[0], 3, 1)
        self.pool = pool

    def forward(self, x):
        kept = []
        for k, down in enumerate(self.down):
            x = down(self.pool(x, 2) if k else x).relu()
            kept.append(x)
        for up, back, skip in reversed(list(zip(self.up, self.back, kept[:-1], strict=True))):
            x = back(torch.cat([up(x), skip], 1)).relu()
        return self.head(x)


def volumes():
    return UNet(nn.Conv3d, nn.ConvTranspose3d, F.max_pool3d, 1)


def signals():
    return UNet(nn.Conv1d, nn.ConvTranspose1d, F.max_pool1d, 3)


def enlarged():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 9, 3, padding=1), nn.PixelShuffle(3)
    )


def valid():
    return nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Conv2d(4, 2, 3, stride=2, dilation=3))


@pytest.mark.parametrize(
    ("make", "shape", "tile"),
    [
        (UNet, (1, 1, 512, 384), 128),
        (UNet, (1, 1, 512, 384), (0, 64)),
        (UNet, (1, 1, 64, 64), 32),  # two tiles an axis: none away from the borders
        (UNet, (1, 1, 64, 64), 0),
        (volumes, (1, 1, 40, 64, 48), 16),
        (signals, (1, 1, 5000), 800),
        (enlarged, (1, 1, 100, 117), 25),
        (valid, (1, 1, 101, 96), 20),
        (nn.Sequential(nn.Conv2d(1, 2, 1)), (1, 1, 9, 9), 1),
    ],
)
def test_networks_that_tile_pass(make, shape, tile):
    torch.manual_seed(0)
    model, plan = planned(make if isinstance(make, nn.Module) else make(), shape, tile)
    found = trial(model, plan)
    assert found.passed, found.message
    assert found.scale > 1e-3 and found.error <= 1e-10 * found.scale and found.dtype == "float64"
    assert "\n" not in found.message
    # The window is larger than the crop, along the axes that are tiled, and both are on the grid.
    for axis in plan.axes:
        crop, window = found.crop[axis.axis], found.window[axis.axis]
        reads_less = axis.spans[-1].read != (0, axis.size)
        assert crop <= window <= axis.size and (crop < window) is reads_less
        assert (axis.size - window) % axis.grid == 0 and (window - crop) % axis.grid == 0


def test_a_trial_is_small():
    torch.manual_seed(0)
    model, plan = planned(UNet(), (1, 1, 16384, 16384), 1024)
    found = trial(model, plan)
    assert found.passed and max(found.window) < 120 < max(plan.crop)


def test_outputs_of_padding_alone_make_no_trial_longer_than_the_image():
    # 36 outputs of 2 positions each, for 51 positions.
    make = partial(nn.Conv2d, 2, 2, 3, stride=2, padding=(1, 11))
    model, plan = planned(make(), (1, 2, 20, 51), 0)
    assert plan.out_shape[3] * 2 > 51 + 2 * 8
    found = trial(model, plan)
    assert found.passed and all(0 < n <= m for n, m in zip(found.crop, plan.crop, strict=True))
    model, plan = planned(make(), (1, 2, 20, 151), 16)
    assert trial(model, plan).passed


def test_with_a_budget_nothing_is_cast():
    model, plan = planned(UNet(), (1, 1, 96, 80), 16)
    assert trial(model, plan).dtype == "float64"
    held = Memory("cpu", 10**9, 0, (), 0, 1.0, 8.0, 1, 10**8, 10**7)
    assert trial(model, replace(plan, memory=held)).dtype == "float32"


def test_channels_last():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Coordinates()

        def forward(self, x):
            return self.inner(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    model, plan = planned(Last, (1, 90, 75, 2), 16, axes=(1, 2))
    assert not trial(model, plan).passed
    good = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    model, plan = planned(good, (1, 90, 75, 2), 16, axes=(1, 2))
    assert trial(model, plan).passed


def test_tokens():
    class Words(nn.Module):
        def __init__(self, places):
            super().__init__()
            self.words = nn.Embedding(7, 4)
            self.places = places
            self.head = nn.Conv1d(4, 2, 3, padding=1)

        def forward(self, x):
            x = self.words(x).transpose(1, 2)
            if self.places:
                x = x + torch.arange(x.shape[-1]).to(x) / 10
            return self.head(x)

    for places in (False, True):
        model, plan = planned(Words(places), (1, 400), 50)
        assert trial(model, plan).passed is not places


# --- networks that fail, or behave otherwise, on small inputs


class Least(nn.Module):
    """Refuses inputs below a size; ``short``: of which it makes something else."""

    def __init__(self, least, short=None):
        super().__init__()
        self.head = nn.Conv1d(1, 2, 3, padding=1)
        self.least, self.short = least, short

    def forward(self, x):
        if x.shape[-1] < self.least:
            if self.short is None:
                raise ValueError(f"at least {self.least} samples are needed")
            return self.head(x) + torch.arange(x.shape[-1]).to(x)
        return self.head(x)


def test_trials_are_enlarged_where_a_network_needs_more():
    model, plan = planned(Least(900), (1, 1, 9000), 1000)
    found = trial(model, plan)
    assert found.passed and found.crop[2] >= 900
    # What it does to inputs that no tile is as small as does not count.
    model, plan = planned(Least(900, short=True), (1, 1, 9000), 1000)
    assert unlike(model, plan) < 1e-6
    found = trial(model, plan)
    assert found.passed and found.crop[2] >= 900


def test_networks_that_know_but_one_dtype():
    class Single(nn.Module):
        """Its weights are of any dtype, its inner numbers are not."""

        def __init__(self, places):
            super().__init__()
            self.head = nn.Conv1d(1, 2, 3, padding=1)
            self.places = places

        def forward(self, x):
            x = self.head(x.float())
            return x + torch.arange(x.shape[-1]).to(x) if self.places else x

    for places in (False, True):
        model, plan = planned(Single(places), (1, 1, 900), 100)
        found = trial(model, plan)
        assert found.dtype == "float32" and found.passed is not places


def test_a_crop_that_can_not_be_run_is_told():
    class Flaky(Least):
        def forward(self, x):
            if not x.is_meta and x.device.type == "cpu" and torch.is_inference_mode_enabled():
                raise ValueError("not today")
            return self.head(x)

    model, plan = planned(Flaky(0), (1, 1, 900), 100)
    with pytest.raises(
        EyeshotError, match=r"a crop of the plan can't be run: .*not today"
    ) as caught:
        trial(model, plan)
    assert "\n" not in str(caught.value)


# --- ONNX


def graph(coordinates):
    """A convolution; with coordinates, the running count of columns is added."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])]
    if coordinates:
        nodes += [
            helper.make_node("Shape", ["x"], ["n"], start=3, end=4),
            helper.make_node("Squeeze", ["n"], ["end"]),
            helper.make_node("Range", ["zero", "end", "one"], ["count"]),
            helper.make_node("Cast", ["count"], ["columns"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["y", "columns"], ["z"]),
        ]
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 32, 32])],
        [
            helper.make_tensor_value_info(
                "z" if coordinates else "y", TensorProto.FLOAT, [1, 2, 32, 32]
            )
        ],
        [
            numpy_helper.from_array(rng.standard_normal((2, 1, 3, 3)).astype("float32"), "w"),
            numpy_helper.from_array(np.array(0), "zero"),
            numpy_helper.from_array(np.array(1), "one"),
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def test_onnx_graphs():
    for coordinates in (False, True):
        model, plan = planned(graph(coordinates), (1, 1, 100, 90), 16)
        found = trial(model, plan)
        assert found.dtype == "float32" and found.passed is not coordinates, found.message
