"""Tiles equal the whole on networks of every kind that people tile; what has none is refused by name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dense_nets import CASES, REFUSED, Odd, UNet, Windows
from random_nets import tiled, whole
from torch import nn

from eyeshot.errors import EyeshotError
from eyeshot.tiling.extents import NotTileable
from eyeshot.tiling.plan import TilePlan
from eyeshot.tiling.planning import Planner
from eyeshot.tiling.subject import Subject


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small convolutions wait for their threads longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plan_of(net: Any, shape: tuple[int, ...], tile: Any, **options: Any) -> TilePlan:
    return Planner(Subject(net, **options), shape).plan(tile)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference in units of the largest number."""
    assert found.shape == expected.shape
    assert not found.isnan().any(), "a part of the output was left out"
    return ((found - expected).abs().max() / expected.abs().max()).item()


def covered(plan: TilePlan) -> bool:
    """Whether some crop is less than the whole: a plan of one crop would prove nothing."""
    return len(plan) > 1 and any(axis.crop < axis.size for axis in plan.axes)


@pytest.mark.parametrize("name", CASES)
def test_tiles_equal_the_whole(name: str) -> None:
    make, shape, tiles = CASES[name]
    torch.manual_seed(0)
    net = make().eval()
    planner = Planner(Subject(net), shape)
    plans = [planner.plan(tile) for tile in tiles]
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        expected = net(x.float())
        for plan in plans[:1]:
            assert relative(tiled(net, x.float(), plan), expected) <= 1e-5
    net = net.double()
    expected = whole(net, x)
    for plan in plans:
        assert covered(plan)
        assert plan.out_shape == tuple(expected.shape)
        assert relative(tiled(net, x, plan), expected) <= 1e-10


@pytest.mark.parametrize("name", REFUSED)
def test_what_sees_everything_is_refused_by_name(name: str) -> None:
    make, shape, words = REFUSED[name]
    with pytest.raises(NotTileable) as caught:
        plan_of(make().eval(), shape, 8)
    told = str(caught.value)
    assert "\n" not in told
    for word in words:
        assert word in told


def test_a_plan_survives_json() -> None:
    net = UNet(1, "linear").double().eval()
    plan = plan_of(net, (1, 1, 30, 26), (7, 9))
    again = TilePlan.from_dict(plan.to_dict())
    assert list(again) == list(plan)
    x = torch.randn((1, 1, 30, 26), dtype=torch.float64)
    assert relative(tiled(net, x, again), whole(net, x)) <= 1e-10


# --- images of any size, and tiles of any


@pytest.mark.parametrize("size", range(1, 24))
def test_every_small_size(size: int) -> None:
    """Images smaller than the halo, than a tile, than the grid; every residue of the grid."""
    torch.manual_seed(size)
    net = nn.Sequential(
        nn.Conv1d(1, 2, 3, padding=1), nn.MaxPool1d(2, ceil_mode=True), nn.ReLU(),
        nn.Conv1d(2, 2, 5, 2, padding=2), nn.ConvTranspose1d(2, 1, 4, 4, padding=1),
    ).double().eval()  # fmt: skip
    x = torch.randn((1, 1, size), dtype=torch.float64)
    expected = whole(net, x)
    planner = Planner(Subject(net), (1, 1, size))
    for tile in (1, 2, 3, 4, 7, size, size + 5, 0):
        assert relative(tiled(net, x, planner.plan(tile)), expected) <= 1e-10


def test_tiles_larger_than_the_image_are_one() -> None:
    plan = plan_of(UNet(1), (1, 1, 20, 24), 512)
    assert len(plan) == 1
    (tile,) = plan
    assert tile.read[2:] == tile.write[2:] == (slice(0, 20), slice(0, 24))


def test_a_whole_axis_and_a_tiled_one() -> None:
    net = UNet(1, "2/2").double().eval()
    x = torch.randn((2, 1, 26, 60), dtype=torch.float64)
    plan = plan_of(net, (2, 1, 26, 60), (0, 12))
    assert plan.places == (1, 5)
    assert relative(tiled(net, x, plan), whole(net, x)) <= 1e-10


def test_tiles_have_whole_numbers_of_outputs() -> None:
    net = nn.Conv2d(1, 1, 3, 2, padding=1)
    with pytest.raises(EyeshotError, match="take a multiple of 2"):
        plan_of(net, (1, 1, 32, 32), 7)


def test_default_tiles() -> None:
    plan = plan_of(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 2500, 800), None)
    assert plan.places == (3, 1)


# --- outputs, inputs, axes


class Two(nn.Module):
    """A dense map, and a class for the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.body = UNet(1, "2/2")
        self.dense = nn.Conv2d(2, 1, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.body(x)
        return {"map": self.dense(x), "class": self.pool(x)}


def test_one_of_several_outputs() -> None:
    net = Two().double().eval()
    shape = (1, 1, 32, 40)
    with pytest.raises(EyeshotError, match=r"2 outputs.*output="):
        plan_of(net, shape, 16)
    with pytest.raises(NotTileable, match="pool"):
        plan_of(net, shape, 16, output="pool")
    plan = plan_of(net, shape, 16, output="dense")
    x = torch.randn(shape, dtype=torch.float64)
    out = torch.zeros(plan.out_shape, dtype=torch.float64)
    with torch.no_grad():
        for tile in plan:
            out[tile.write] = net(x[tile.read])["map"][tile.crop]
        expected = net(x)["map"]
    assert relative(out, expected) <= 1e-10


def test_an_axis_that_is_read_whole_need_not_be_tiled() -> None:
    """Spectrograms: all frequencies meet, time is tiled."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Linear(16, 5)).double().eval()
    shape = (1, 1, 90, 16)
    with pytest.raises(NotTileable, match="1 \\(linear\\)"):
        plan_of(net, shape, 16)
    plan = plan_of(net, shape, 20, axes=(2,))
    x = torch.randn(shape, dtype=torch.float64)
    assert relative(tiled(net, x, plan), whole(net, x)) <= 1e-10


def test_channels_last() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 5, padding=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    net = Last().double().eval()
    plan = plan_of(net, (1, 31, 26, 2), (10, 7), axes=(1, 2))
    assert [axis.dim for axis in plan.axes] == [1, 2]
    x = torch.randn((1, 31, 26, 2), dtype=torch.float64)
    assert relative(tiled(net, x, plan), whole(net, x)) <= 1e-10


def test_an_output_whose_axes_change_places() -> None:
    net = nn.Conv2d(1, 1, (3, 5), (1, 2)).double().eval()

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x).transpose(2, 3)

    plan = plan_of(Turned(), (1, 1, 31, 26), (10, 8))
    assert [axis.dim for axis in plan.axes] == [3, 2]
    x = torch.randn((1, 1, 31, 26), dtype=torch.float64)
    assert relative(tiled(Turned(), x, plan), whole(Turned(), x)) <= 1e-10


def test_several_inputs_are_refused() -> None:
    class Sum(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a + b

    with pytest.raises(EyeshotError, match="several inputs"):
        Planner(Subject(Sum()), {"a": (1, 1, 8, 8), "b": (1, 1, 8, 8)})


def test_an_unknown_operator_is_refused_by_name() -> None:
    @torch.library.custom_op("eyeshot_tiling::opaque", mutates_args=())
    def opaque(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @opaque.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    class Opaque(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.eyeshot_tiling.opaque(x)

    with pytest.raises(NotTileable, match="opaque"):
        plan_of(Opaque(), (1, 1, 16, 16), 8)


# --- what a network makes of its input's size


def test_the_residue_of_the_image_is_kept() -> None:
    """Crops end where the image does, modulo the grid: here an odd row decides whether one is added."""
    net = Odd().double().eval()
    for size in (36, 35):
        plan = plan_of(net, (1, 1, size, 24), 8)
        for span in plan.axes[0].spans:
            assert (size - (span.read[1] - span.read[0])) % 2 == 0
        x = torch.randn((1, 1, size, 24), dtype=torch.float64)
        assert relative(tiled(net, x, plan), whole(net, x)) <= 1e-10


def test_a_network_that_changes_with_the_size_is_refused() -> None:
    class Fickle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near, self.far = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.near(x) if x.shape[2] < 230 else self.far(x)

    with pytest.raises(NotTileable, match=r"far does not run, unlike on the whole of 240"):
        plan_of(Fickle(), (1, 1, 240, 64), 16)


def test_a_kernel_that_changes_with_the_size_is_refused() -> None:
    class Fickle(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            k = 3 if x.shape[2] < 230 else 5
            return F.max_pool2d(x, k, 1, k // 2)

    with pytest.raises(NotTileable, match="max_pool2d works otherwise"):
        plan_of(Fickle(), (1, 1, 240, 64), 16)


def test_corners_are_looked_at_too() -> None:
    """Crops of the corners are the shortest along both axes: 17x17, which this network treats otherwise."""

    class Fickle(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            k = 5 if x.shape[2] + x.shape[3] < 35 else 3
            return F.max_pool2d(x, k, 1, k // 2)

    net, x = Fickle(), torch.randn((1, 1, 64, 64), dtype=torch.float64)
    plan = plan_of(net, (1, 1, 64, 64), 16)
    assert covered(plan)
    assert relative(tiled(net, x, plan), whole(net, x)) <= 1e-10


def test_a_branch_that_a_crop_would_leave_empty() -> None:
    """What does not reach the output must still run."""

    class Idle(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            F.interpolate(x[..., 6:], scale_factor=2)
            return F.relu(x)

    net, x = Idle(), torch.randn((1, 1, 4, 40), dtype=torch.float64)
    plan = plan_of(net, (1, 1, 4, 40), (0, 5))
    assert covered(plan)
    assert relative(tiled(net, x, plan), whole(net, x)) <= 1e-10


def test_windows_lie_on_the_grid() -> None:
    plan = plan_of(Windows(4), (1, 1, 24, 32), 8)
    assert [axis.grid for axis in plan.axes] == [4, 4]
    for tile in plan:
        for s, n in zip(tile.read[2:], (24, 32), strict=True):
            assert s.start % 4 == 0
            assert (s.stop - s.start) % 4 == n % 4


def test_spatial_concatenation_at_an_edge() -> None:
    """A column of the network's own put beside the image: right at the border, wrong in a crop."""

    class Beside(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = torch.full_like(x[..., :1], 3.0)
            return F.avg_pool2d(torch.cat([first, x, -first, first], 3), (1, 2), 1)[..., :-2]

    net, x = Beside(), torch.randn((1, 1, 6, 30), dtype=torch.float64)
    plan = plan_of(net, (1, 1, 6, 30), (0, 7))
    assert covered(plan)
    assert relative(tiled(net, x, plan), whole(net, x)) <= 1e-10


# --- ONNX


def exported(net: nn.Module, shape: tuple[int, ...], dims: dict[int, str]) -> bytes:
    pytest.importorskip("onnx")
    file = io.BytesIO()
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(
            net,
            (torch.zeros(shape),),
            file,
            input_names=["image"],
            output_names=["out"],
            dynamic_axes={"image": dims, "out": dims},
            dynamo=False,
        )
    return file.getvalue()


@pytest.mark.parametrize("up", ["nearest", "linear", "2/2", "shuffle"])
def test_onnx_through_onnxruntime(up: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    shape = (1, 1, 84, 88)
    content = exported(UNet(2, up).eval(), shape, {2: "h", 3: "w"})
    plan = plan_of(content, shape, (20, 24))
    assert covered(plan)
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (expected,) = session.run(None, {"image": x})
    out = np.full(plan.out_shape, np.nan, dtype=np.float32)
    for tile in plan:
        (found,) = session.run(None, {"image": np.ascontiguousarray(x[tile.read])})
        out[tile.write] = found[tile.crop]
    assert np.abs(out - expected).max() <= 1e-5 * np.abs(expected).max()
