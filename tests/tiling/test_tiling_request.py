"""``eyeshot.tile_plan``: what it plans, what it refuses, and what it says of tiles that are not exact."""

from __future__ import annotations

import json
import time
from importlib.resources import files
from typing import Any

import jsonschema
import numpy as np
import pytest

import eyeshot
from eyeshot.tiling.approximate import estimate
from eyeshot.tiling.models import load
from eyeshot.tiling.plan import Estimate, Measured, Memory, TilePlan

torch = pytest.importorskip("torch")
nn = torch.nn

SCHEMA = json.loads((files("eyeshot") / "schema" / "tile-1.json").read_text(encoding="utf-8"))


class Down(nn.Module):  # type: ignore[misc, name-defined]
    """Down by two and up again: tiles need 3 positions on either side, on a grid of 2."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(1, 3, 3, padding=1)
        self.last = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x: Any) -> Any:
        y = nn.functional.max_pool2d(x, 2)
        return self.last(nn.functional.interpolate(self.low(y), scale_factor=2))


class Normed(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.norm = nn.InstanceNorm2d(2)

    def forward(self, x: Any) -> Any:
        return self.norm(self.first(x))


class Ramp(nn.Module):  # type: ignore[misc, name-defined]
    """Adds each position's number, of which the graph of fields knows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return self.first(x) + torch.arange(x.shape[-1], dtype=x.dtype)


def made(kind: type) -> Any:
    torch.manual_seed(0)
    return kind().double().eval()


def both(model: Any, plan: TilePlan, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tiled result, in a plain loop, and the whole."""
    with torch.no_grad():
        out = np.full(plan.out_shape, np.nan)
        for tile in plan:
            out[tile.write] = model(torch.from_numpy(x[tile.read])).numpy()[tile.crop]
        return out, model(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("tile", [16, (12, 0), 7, None])
def test_tiles_equal_the_whole(tile: Any) -> None:
    model = made(Down)
    plan = eyeshot.tile_plan(model, (1, 1, 44, 38), tile=tile)
    x = np.random.default_rng(0).standard_normal((1, 1, 44, 38))
    tiled, whole = both(model, plan, x)
    assert plan.exact and plan.notes == () and plan.error is None and plan.memory is None
    assert np.abs(tiled - whole).max() < 1e-12
    assert (len(plan) == 1) == (tile is None)


def test_says_what_was_not_run() -> None:
    with torch.device("meta"):
        bare = Down()
    for source, word in (("example:unet", "spec"), (bare, "meta")):
        (note,) = eyeshot.tile_plan(source, "1x64x64", tile=32).notes
        assert note.startswith("only the structure was looked at") and word in note


def test_a_trial_finds_what_the_graph_does_not_tell() -> None:
    model = made(Ramp)
    assert len(eyeshot.tile_plan(model, (1, 1, 64, 64), tile=16, trial=False)) == 16
    with pytest.raises(eyeshot.NotTileable) as caught:
        eyeshot.tile_plan(model, (1, 1, 64, 64), tile=16)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile": -1}, "tile: expected a number"),
        ({"tile": (8, 8, 8)}, "3 sizes for 2 axes"),
        ({"batch": 0}, "batch: expected"),
        ({"workers": True}, "workers: expected"),
        ({"memory": "a lot"}, "memory: expected an amount such as 2GB"),
        ({"approximate": -3}, "approximate: expected input positions"),
        ({"approximate": "3"}, "approximate: expected input positions"),
        ({"approximate": (3,)}, "1 halos for 2 axes"),
        ({"weights": "absent.pt"}, "absent.pt: there is no such file"),
    ],
)
def test_refuses_what_can_not_be_meant(options: dict[str, Any], words: str) -> None:
    with pytest.raises(eyeshot.EyeshotError, match=words) as caught:
        eyeshot.tile_plan(made(Down), (1, 1, 32, 32), **options)
    assert "\n" not in str(caught.value)


def test_refuses_tiles_that_are_no_whole_outputs() -> None:
    with pytest.raises(eyeshot.EyeshotError, match="take a multiple of 4"):
        eyeshot.tile_plan(nn.Conv2d(1, 1, 4, 4), (1, 1, 32, 32), tile=10)


@pytest.mark.parametrize("options", [{"memory": "1GB"}, {"weights": "some.pt"}])
def test_a_spec_can_not_run(options: dict[str, Any]) -> None:
    with pytest.raises(eyeshot.EyeshotError, match="a spec has no weights"):
        eyeshot.tile_plan("example:unet", "1x64x64", **options)


def test_names_the_layers_that_see_all() -> None:
    with pytest.raises(eyeshot.NotTileable, match=r"norm .*statistics"):
        eyeshot.tile_plan(made(Normed), (1, 1, 32, 32), tile=16)


def test_too_many_tiles_are_told_soon() -> None:
    model = made(Down)
    eyeshot.tile_plan(model, (1, 1, 64, 64))  # what is loaded only once
    begin = time.perf_counter()
    with pytest.raises(eyeshot.EyeshotError, match="1000000000000 tiles are more than"):
        eyeshot.tile_plan(model, (1, 1, 1_000_000, 1_000_000), tile=1)
    assert time.perf_counter() - begin < 2


def test_more_than_is_needed_is_exact() -> None:
    plan = eyeshot.tile_plan(made(Down), (1, 1, 64, 64), tile=16, approximate=5)
    assert plan.exact and plan.error is None
    assert "tiles are exact" in plan.notes[0]
    assert plan.axes == eyeshot.tile_plan(made(Down), (1, 1, 64, 64), tile=16).axes


def test_an_approximation_tells_its_error() -> None:
    plan = eyeshot.tile_plan(made(Down), (1, 1, 64, 64), tile=16, approximate=(0, 1))
    assert not plan.exact and plan.blockers == () and "would be exact" in plan.notes[0]
    assert plan.error is not None and plan.error.data == "random" and plan.error.whole
    assert plan.error.largest > 1e-3 * plan.error.spread > 0


@pytest.mark.parametrize("kind", [Down, Normed])
def test_the_estimate_is_the_error(kind: type) -> None:
    """With all tiles sampled against the whole it is what a plain loop finds."""
    model = made(kind)
    plan = eyeshot.tile_plan(model, (1, 1, 48, 40), tile=16, approximate=0, trial=False)
    assert (plan.blockers == ("norm",)) == (kind is Normed)
    x = np.random.default_rng(3).standard_normal((1, 1, 48, 40))
    tiled, whole = both(model, plan, x)
    found = estimate(load(model), plan, lambda place: x[place], samples=len(plan))
    assert found is not None and found.data == "image" and found.whole
    assert found.largest == pytest.approx(np.abs(tiled - whole).max(), rel=1e-6)
    assert found.mean == pytest.approx(np.abs(tiled - whole).mean(), rel=1e-6)
    assert found.spread == pytest.approx(whole.std(), rel=1e-6)


def test_windows_stand_for_what_is_too_large() -> None:
    model = made(Down)
    plan = eyeshot.tile_plan(model, (1, 1, 200, 200), tile=100, approximate=0)
    x = np.random.default_rng(4).standard_normal((1, 1, 200, 200))
    near = estimate(load(model), plan, lambda place: x[place], positions=3000)
    assert near is not None and not near.whole and max(near.window) < 100
    # Seams are as bad beside small tiles as beside large ones.
    tiled, whole = both(model, plan, x)
    assert 0.2 < near.largest / np.abs(tiled - whole).max() < 1.5


def test_json_keeps_all_of_it() -> None:
    memory = Memory("cpu", 9, 1, (Measured((1, 1, 8, 8), 2, 5, 0.5),), 1, 0.5, 8.0, 2, 7, 3)
    error = Estimate(4, 0.5, 0.1, 1.0, "image", (64, 64), False)
    plan = eyeshot.tile_plan(made(Down), (1, 1, 64, 64), tile=16)
    for held in (plan, TilePlan(**vars(plan) | {"memory": memory, "error": error})):
        found = json.loads(json.dumps(held.to_dict()))
        jsonschema.Draft202012Validator(SCHEMA).validate(found)
        assert TilePlan.from_dict(found) == held


def test_a_layer_inside_is_planned() -> None:
    """What can't be run is not tried, and that is said; the plan is the one that its graph gives."""

    class Deep(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 1, 5, padding=2)
            self.last = nn.Conv2d(1, 1, 9, padding=4)

        def forward(self, x: Any) -> Any:
            return self.last(self.first(x))

    plan = eyeshot.tile_plan(Deep(), (1, 1, 64, 64), tile=16, output="first")
    assert [axis.halo for axis in plan.axes] == [(2, 2), (2, 2)]
    (note,) = plan.notes
    assert note.startswith("only the structure was looked at: output: first is a layer inside")


def test_a_graph_of_one_size_says_so() -> None:
    """A Reshape to the example's size: the line says what the graph was exported for."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    text = (
        '<ir_version: 8, opset_import: ["": 17]> net (float[1, 1, 8, 8] x) => (float[1, 1, 8, 8] y) '
        "<int64[4] s = {1, 1, 8, 8}> { r = Reshape(x, s) y = Add(r, x) }"
    )
    with pytest.raises(eyeshot.EyeshotError, match="the graph was exported for 1x1x8x8"):
        eyeshot.tile_plan(onnx.parser.parse_model(text), (1, 16, 16), tile=8)
