"""Random networks, images and tiles: whatever the planner accepts equals the whole.

The number of examples is ``EYESHOT_FUZZ`` / 10 (30 in the suite; the night's long run draws new ones). A
failure prints the network as steps to paste into :class:`random_nets.Net`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_nets import Net, Step, draw_net, tiled, whole

from eyeshot.errors import EyeshotError
from eyeshot.tiling.extents import NotTileable
from eyeshot.tiling.planning import Planner
from eyeshot.tiling.subject import Subject

EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "300"))


def check(nd: int, size: Sequence[int], tile: Sequence[int], steps: Sequence[Step]) -> bool:
    """Whether there is a plan; if so the tiles have to equal the whole."""
    shape = (1, 2, *size)
    # Planned as people run it; PyTorch's interpolation reads by its own rounding in double precision.
    subject = Subject(Net(nd, steps).float())
    try:
        planner = Planner(subject, shape)
        steps_of = planner.steps()
        plan = planner.plan([max(1, round(t / s)) * s for t, s in zip(tile, steps_of, strict=True)])
    except NotTileable:
        return False
    net = Net(nd, steps)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = whole(net, x)
    assert plan.out_shape == tuple(expected.shape)
    found = tiled(net, x, plan)
    # A window of padding alone makes -inf of itself, in the whole as in a tile.
    same = (found == expected) | (found.isnan() & expected.isnan())
    error = torch.where(same, 0.0, (found - expected).abs()).nan_to_num(torch.inf)
    scale = max(1.0, expected.nan_to_num(0, 0, 0).abs().max().item())
    assert error.max().item() <= 1e-10 * scale, (nd, list(size), list(tile), list(steps))
    return True


@settings(
    max_examples=max(1, EXAMPLES // 10),
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_random_networks(data: st.DataObject) -> None:
    def pick(options: Sequence[Any]) -> Any:
        return options[data.draw(st.integers(0, len(options) - 1))]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        nd = pick((1, 1, 2, 2, 3))
        size = [pick(range(5, {1: 90, 2: 45, 3: 14}[nd])) for _ in range(nd)]
        tile = [pick(range(1, n + 4)) for n in size]
        steps = draw_net(pick, nd, size)
        if steps:
            check(nd, size, tile, steps)
    finally:
        torch.set_num_threads(threads)


def conv(k: int, s: int = 1, p: int = 0, d: int = 1, cin: int = 2, mode: str = "zeros") -> dict:
    one = {"k": (k,), "s": (s,), "p": (p,), "d": (d,)}
    return {"cin": cin, "cout": 2, "g": 1, "mode": mode, **one}


def back(k: int, s: int, p: int = 0, op: int = 0) -> dict:
    return {"cin": 2, "cout": 2, "k": (k,), "s": (s,), "p": (p,), "op": (op,), "d": (1,)}


#: What random search or thought has found, or might have: each in one dimension, with its size and tiles.
FOUND: dict[str, tuple[int, Sequence[int], Sequence[Step]]] = {
    # Shifted right and back again: units of the crop's end read no further than others, and are wrong.
    "overhang": (
        40,
        (4, 7),
        [
            ("pad", 0, {"mode": "constant", "pad": [3, -3]}),
            ("pad", 1, {"mode": "constant", "pad": [-3, 3]}),
            ("add", 0, {"other": 2, "how": "first"}),
        ],
    ),
    # The same with a column of the network's own put beside the image.
    "beside": (
        40,
        (4, 7),
        [
            ("slice", 0, {"cuts": [(1, 0, 1)]}),
            ("beside", 1, {"last": True}),
            ("beside", 2, {"last": False}),
            ("slice", 3, {"cuts": [(0, 2, 1)]}),
            ("add", 4, {"other": 0, "how": "first"}),
        ],
    ),
    # Units that read nothing carry their bias; behind the crop's edge there is padding instead.
    "holes": (30, (1,), [("back", 0, back(1, 4)), ("conv", 1, conv(3, p=6, d=6))]),
    "far holes": (60, (7,), [("back", 0, back(1, 4)), ("conv", 1, conv(5, p=30, d=15))]),
    # Other networks at other sizes.
    "to a multiple": (45, (5, 9), [("multiple", 0, {"of": 4}), ("conv", 1, conv(3, p=1))]),
    "ceil": (
        43,
        (4, 10),
        [
            ("max", 0, {"k": (3,), "s": (2,), "p": (1,), "d": (1,), "ceil": True}),
            ("avg", 1, {"k": (2,), "s": (2,), "p": (0,), "ceil": True, "all": True}),
            ("up", 2, {"by": 4, "mode": "linear"}),
        ],
    ),
    # A smaller image than padding reflects.
    "reflected": (9, (2, 5), [("conv", 0, conv(5, p=2, mode="reflect")), ("act", 1, {})]),
    "reflected twice": (
        24,
        (4, 5),
        [
            ("pad", 0, {"mode": "reflect", "pad": [3, 0]}),
            ("pad", 1, {"mode": "replicate", "pad": [0, 3]}),
            ("conv", 2, conv(4, 2, 1, 2)),
            ("up", 3, {"by": 2, "mode": "nearest"}),
        ],
    ),
    # Skips of other lengths, cut at the beginning, in the middle, or padded.
    "skips": (
        47,
        (6, 11),
        [
            ("conv", 0, conv(3)),
            ("conv", 1, conv(4, p=1)),
            ("add", 2, {"other": 0, "how": "centre"}),
            ("cat", 3, {"other": 1, "how": "first"}),
            ("add", 2, {"other": 1, "how": "first"}),
            ("cat", 4, {"other": 5, "how": "first"}),
        ],
    ),
    "strided slices": (
        50,
        (6, 8),
        [
            ("slice", 0, {"cuts": [(1, 2, 2)]}),
            ("conv", 1, conv(3, p=2)),
            ("up", 2, {"by": 2, "mode": "nearest-exact"}),
            ("cat", 3, {"other": 0, "how": "first"}),
        ],
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found(name: str) -> None:
    size, tiles, steps = FOUND[name]
    accepted = [check(1, [size], [tile], steps) for tile in (*tiles, size - 1, size + 7)]
    assert all(accepted)


def test_refusals_are_errors_of_users() -> None:
    assert issubclass(NotTileable, EyeshotError)
