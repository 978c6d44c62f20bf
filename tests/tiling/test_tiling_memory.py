"""Tiles by a budget: amounts, the choice of a size, and one real measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

import eyeshot
from eyeshot.tiling.memory import SAFETY, Meter, fit, parsed, spelled
from eyeshot.tiling.models import load
from eyeshot.tiling.plan import Measured
from eyeshot.tiling.planning import Planner
from eyeshot.tiling.subject import Subject

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("2GB", 2 * 10**9),
        ("500MiB", 500 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("64k", 64_000),
        ("7", 7),
        (123456789, 123456789),
        ("0.5tb", 5 * 10**11),
    ],
)
def test_amounts(text: Any, count: int) -> None:
    assert parsed(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "2 GBs", "1e9", "0", 0, -5, True, None, 1.5j])
def test_what_is_no_amount(text: Any) -> None:
    with pytest.raises(eyeshot.EyeshotError, match="memory: expected an amount"):
        parsed(text)


def test_amounts_for_people() -> None:
    assert [spelled(n) for n in (12, 1999, 41_200_000, 2e9)] == [
        "12 bytes",
        "2.00 kB",
        "41.2 MB",
        "2.00 GB",
    ]
    for n in (787_400_001, 1_001_000_001, 999_999):
        assert parsed(spelled(n, up=True)) >= n


class Linear(Meter):
    """A process that takes just what a line says; nothing runs."""

    def __init__(self, base: int, fixed: int, slope: float) -> None:
        self.device, self.base, self.arrays = "cpu", base, 8.0
        self.fixed, self.slope = fixed, slope
        self.seen: list[tuple[int, ...]] = []

    def close(self) -> None:
        pass

    def measure(
        self, shape: Sequence[int], workers: int = 1, others: Sequence[Sequence[int]] = ()
    ) -> Measured:
        self.seen.append(tuple(shape))
        n = math.prod(shape) // shape[1]
        return Measured(
            tuple(shape), workers, round(workers * (self.fixed + self.slope * n)), n * 1e-6
        )


def planner(shape: tuple[int, ...]) -> Planner:
    dims = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[len(shape)]
    return Planner(Subject(nn.Sequential(dims(1, 4, 4, 4), dims(4, 4, 3, padding=1))), shape)


@pytest.mark.parametrize("shape", [(1, 1, 9000, 12000), (1, 1, 200_000), (1, 1, 400, 60, 500)])
@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (2, 3)])
def test_the_largest_that_fits(shape: tuple[int, ...], workers: int, batch: int) -> None:
    meter, made = Linear(10**8, 10**6, 2000.0), planner(shape)
    budget = 600_000_000
    plan = fit(meter, made, budget, workers=workers, batch=batch)
    assert plan.memory is not None and plan.batch == batch

    def takes(crop: Sequence[int]) -> float:
        n = batch * math.prod(crop)
        return 10**8 + workers * (SAFETY * (10**6 + 2000 * n) + SAFETY * 8 * n)

    crop = [axis.crop for axis in plan.axes]
    assert takes(crop) <= budget
    larger = [min(c + 2 * axis.grid, axis.size) for c, axis in zip(crop, plan.axes, strict=True)]
    assert larger == crop or takes(larger) > budget
    assert plan.memory.peak == pytest.approx(takes(crop), rel=0.01)
    tiles = [axis.tile for axis in plan.axes if axis.tile]
    assert max(tiles) - min(tiles) <= 4 and all(tile % 4 == 0 for tile in tiles)
    assert len(meter.seen) <= 3


def test_never_larger_than_the_image() -> None:
    plan = fit(Linear(10**8, 0, 100.0), planner((1, 1, 64, 64)), "64GB")
    assert len(plan) == 1 and plan.axes[0].tile == 0


def test_too_little_tells_the_least_that_does() -> None:
    made = planner((1, 1, 2000, 2000))
    with pytest.raises(eyeshot.EyeshotError, match=r"give at least [\d.]+ MB$") as caught:
        fit(Linear(10**8, 10**6, 2000.0), made, 10**8)
    least = str(caught.value).rpartition("at least ")[2]
    plan = fit(Linear(10**8, 10**6, 2000.0), made, least)
    assert plan.memory is not None and plan.memory.peak <= parsed(least) < 1.1e8


def test_tiles_that_were_asked_for_are_checked() -> None:
    meter, made = Linear(10**8, 10**6, 2000.0), planner((1, 1, 2000, 2000))
    plan = fit(meter, made, "1GB", tile=400)
    assert plan.memory is not None and plan.memory.peak < 10**9 and plan.axes[0].tile == 400
    with pytest.raises(
        eyeshot.EyeshotError, match=r"tiles of 800x800 take about 1.* GB, more than"
    ):
        fit(meter, made, "1GB", tile=800)


def test_a_plan_by_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Linear(10**8, 10**6, 2000.0)
    monkeypatch.setattr("eyeshot.tiling.memory.Meter", lambda model, shape: meter)
    options: dict[str, Any] = {"batch": 2, "workers": 3, "memory": "400MB"}
    plan = eyeshot.tile_plan(nn.Conv2d(1, 2, 3, padding=1), (1, 1, 3000, 3000), **options)
    assert plan.memory is not None and plan.exact and plan.batch == 2
    assert (plan.memory.budget, plan.memory.workers, plan.memory.base) == (400_000_000, 3, 10**8)
    assert 3e8 < plan.memory.peak <= 4e8
    assert all(shape[:2] == (2, 1) for shape in meter.seen)
    with pytest.raises(eyeshot.EyeshotError, match="take about"):
        eyeshot.tile_plan(nn.Conv2d(1, 2, 3), (1, 1, 3000, 3000), tile=500, **options)


def test_a_real_forward() -> None:
    """32 channels of float32 over the input are 128 bytes per position; a ReLU holds twice that."""

    class Wide(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 32, 1)

        def forward(self, x: Any) -> Any:
            if x.shape[-1] == 13:
                raise ValueError("unlucky")
            return torch.relu(self.first(x)).sum(1, keepdim=True)

    made = Planner(Subject(Wide()), (1, 1, 20_000, 20_000))
    with Meter(load(Wide(), threads=1)) as meter:
        with pytest.raises(eyeshot.EyeshotError, match="unlucky"):
            meter.measure((1, 1, 13, 13))
        plan = fit(meter, made, meter.base + 400_000_000)
    assert plan.memory is not None
    n = math.prod(axis.crop for axis in plan.axes)
    last = plan.memory.measured[-1]
    held = math.prod(last.shape)
    # An allocator that keeps what was freed holds more than the tensors, up to four times here.
    assert 256 * held <= last.peak <= 256 * held * 5 + 5e7
    assert plan.memory.base > 5e7 and plan.memory.arrays == pytest.approx(8)
    assert 4e8 / 256 / SAFETY / 6 < n < 4e8 / 256 / SAFETY
