"""Tiles against the whole, against a sliding window with a guessed overlap, over workers and over image sizes.

``python -m benchmarks.tiles`` runs one measurement in a process of its own and prints one line of JSON.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

import eyeshot
from benchmarks.measure import LAUNCHER, Ratio, environment, note

__all__ = ["tiles"]

ROOT = Path(__file__).parents[1]
OVERHEAD, FLAT, WORKERS = 1.15, 1.1, 0.555
#: Float32 sums in another order, to the spread of the outputs.
EQUAL = 1e-5
OVERLAP = 0.25
BUDGET = 1_500_000_000


def tiles(quick: bool) -> list[Ratio]:
    """All of it, in one table."""
    with TemporaryDirectory(prefix="eyeshot-tiles-") as folder:
        return [
            *_sliding(quick, Path(folder)),
            *_overhead(quick),
            *_workers(quick, Path(folder)),
            *_sizes(quick, Path(folder)),
        ]


# --- networks


def _filled(module: Any) -> Any:
    """Random weights by which signals keep their size, so that far inputs count as in trained networks."""
    import torch

    torch.manual_seed(0)
    for m in module.modules():
        if isinstance(m, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
            torch.nn.init.uniform_(m.bias, -0.1, 0.1)
    return module.eval()


def _unet(depth: int, width: int) -> Any:
    from benchmarks.nets import UNet

    return _filled(UNet(depth, width))


def _mask(depth: int, width: int) -> Any:
    """A U-Net with one channel out."""
    from torch import nn

    return _filled(nn.Sequential(_unet(depth, width), nn.Conv2d(width, 1, 1)))


def _doubling(blocks: int, width: int) -> Any:
    """Super-resolution: residual pairs of 3x3 convolutions at low resolution, then a pixel shuffle by 2."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
            )

        def forward(self, x: Any) -> Any:
            return x + 0.3 * self.pair(x)

    body = [Block() for _ in range(blocks)]
    head, tail = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 12, 3, padding=1)
    return _filled(nn.Sequential(head, *body, tail, nn.PixelShuffle(2)))


def _dilated(most: int, width: int) -> Any:
    """3x3 convolutions dilated by 1, 2, 4 ... ``most``."""
    from torch import nn

    layers: list[Any] = []
    step, inside = 1, 3
    while step <= most:
        layers += [nn.Conv2d(inside, width, 3, padding=step, dilation=step), nn.ReLU()]
        step, inside = 2 * step, width
    return _filled(nn.Sequential(*layers))


NETS: dict[str, tuple[str, Callable[[], Any]]] = {
    "unet2": ("U-Net of depth 2", lambda: _unet(2, 4)),
    "unet3": ("U-Net of depth 3", lambda: _unet(3, 4)),
    "unet4": ("U-Net of depth 4", lambda: _unet(4, 4)),
    "double": ("super-resolution ×2, 4 residual blocks", lambda: _doubling(4, 4)),
    "dilated": ("dilated stack, 1 to 16", lambda: _dilated(16, 4)),
    "peer": ("U-Net of depth 3", lambda: _unet(3, 8)),
    "mask": ("U-Net of depth 2", lambda: _mask(2, 2)),
}


def _image(side: int) -> Any:
    """Soft blobs with a little noise, three channels: as smooth as pictures are."""
    import torch

    torch.manual_seed(side)
    coarse = torch.randn(1, 3, side // 16, side // 16)
    soft = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    return soft + 0.02 * torch.randn_like(soft)


# --- processes


def _fresh(task: str, **options: Any) -> dict[str, Any]:
    """What a task measured in a process of its own; ``peak``: its largest resident set, in bytes."""
    command = [sys.executable, "-S", "-c", LAUNCHER, sys.executable, "-m", "benchmarks.tiles"]
    done = subprocess.run(
        [*command, task, json.dumps(options)],
        cwd=ROOT,
        env={**environment(), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    told = {key: value for key, value in found.items() if key != "edges"}
    note(f"{task} {options}: {told}")
    return found


def _peak() -> int:
    """The largest resident set of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# --- against a sliding window


def _sliding(quick: bool, folder: Path) -> list[Ratio]:
    """The same module on the same image: whole, by exact tiles, and by windows with a quarter of overlap."""
    side, tile = (512, 128) if quick else (2048, 256)
    kinds = ["whole", "eyeshot", "constant", "gaussian"]
    if importlib.util.find_spec("monai") is None:
        note("MONAI is not installed (pip install monai): its rows are left out")
        kinds = kinds[:2]
    runs: dict[str, dict[str, Any]] = {}
    for turn in range(1 if quick else 2):
        for kind in kinds:
            found = _fresh("peer", kind=kind, side=side, tile=tile, out=str(folder / f"{kind}.npy"))
            if turn:
                found["seconds"] = min(found["seconds"], runs[kind]["seconds"])
            runs[kind] = found
    whole = np.load(folder / "whole.npy")
    spread = float(whole.std())
    titles = {
        "eyeshot": f"eyeshot, tiles of {tile}",
        "constant": "MONAI, constant weights",
        "gaussian": "MONAI, Gaussian weights",
    }
    errors, seams, times, peaks = [], [], [], []
    for kind in kinds[1:]:
        out = np.load(folder / f"{kind}.npy")
        error, what = float(np.abs(out - whole).max()) / spread, titles[kind]
        ours = kind == "eyeshot"
        errors.append(
            Ratio(
                f"{what}: largest error, to the standard deviation of the whole's output",
                float(f"{error:.2g}"),
                EQUAL if ours else None,
                "",
            )
        )
        step = _steps(out, runs[kind]["edges"]) / _steps(whole, runs[kind]["edges"])
        seams.append(
            Ratio(f"{what}: steps at the windows' edges, to the whole's steps there", step)
        )
        times.append(
            Ratio(
                f"{what}: CPU time, to the whole at once",
                runs[kind]["seconds"] / runs["whole"]["seconds"],
            )
        )
        peaks.append(
            Ratio(
                f"{what}: peak memory beyond the libraries', to the whole at once",
                runs[kind]["added"] / runs["whole"]["added"],
            )
        )
    return [*errors, *seams, *times, *peaks]


def _steps(out: Any, edges: Sequence[int]) -> float:
    """The mean absolute difference of neighbours on two sides of the edges, along both axes."""
    at = np.array(edges)
    down = np.abs(out[:, :, at] - out[:, :, at - 1]).mean()
    across = np.abs(out[..., at] - out[..., at - 1]).mean()
    return float(down + across) / 2


def _peer(kind: str, side: int, tile: int, out: str) -> dict[str, Any]:
    """One contender's time, its output in a file, and where its windows begin and end."""
    import torch

    torch.set_num_threads(1)
    module, image = NETS["peer"][1](), _image(side)
    # A window is what our crops are inside the image: a forward costs both the same.
    plan = eyeshot.tile_plan(module, tuple(image.shape), tile=tile, trial=False)
    window = tile + sum(plan.axes[0].margin)
    run, edges = _contender(kind, module, side, tile, window)
    base = _peak()
    run(image[..., : 2 * window, : 2 * window])  # lazy imports, thread pools
    with torch.inference_mode():
        begin = time.process_time()
        found = run(image)
        seconds = time.process_time() - begin
    peak = _peak()
    np.save(out, found.numpy())
    added = peak - base
    return {"seconds": seconds, "peak": peak, "added": added, "window": window, "edges": edges}


def _contender(
    kind: str, module: Any, side: int, tile: int, window: int
) -> tuple[Callable[[Any], Any], list[int]]:
    import torch

    if kind == "whole":
        return torch.inference_mode()(module), []
    if kind == "eyeshot":
        # Its plan is made anew each time, which counts too.
        return lambda x: eyeshot.tile(module, x, tile=tile, trial=False), list(
            range(tile, side, tile)
        )
    from monai.inferers import sliding_window_inference

    step = int(window * (1 - OVERLAP))
    begins = [min(k * step, side - window) for k in range(-(-(side - window) // step) + 1)]
    edges = {*begins[1:], *(begin + window for begin in begins[:-1])}

    @torch.inference_mode()
    def run(x: Any) -> Any:
        return sliding_window_inference(x, (window, window), 1, module, overlap=OVERLAP, mode=kind)

    return run, sorted(edges)


# --- overhead over the whole


def _overhead(quick: bool) -> list[Ratio]:
    """Tiles of 1024, to the whole at once, on one thread."""
    side, tile = (512, 128) if quick else (3072, 1024)
    rows = []
    for name in ["unet2", "dilated"] if quick else ["unet2", "unet3", "unet4", "double", "dilated"]:
        found = _fresh("overhead", net=name, side=side, tile=tile, rounds=1 if quick else 2)
        halo = "+".join(map(str, found["halo"]))
        what = f"{NETS[name][0]} (halo {halo}), {side}² by tiles of {tile}"
        rows.append(Ratio(f"{what}: CPU time, to the whole at once", found["ratio"], OVERHEAD))
        inner = (1 + sum(found["halo"]) / tile) ** 2
        rows.append(Ratio(f"{what}: what a tile inside reads, to the tile", inner))
    return rows


def _over(net: str, side: int, tile: int, rounds: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    module, image = NETS[net][1](), _image(side)
    plan = eyeshot.tile_plan(module, tuple(image.shape), tile=tile, trial=False)
    runs: dict[str, Callable[[], Any]] = {
        "whole": lambda: module(image),
        "tiles": lambda: eyeshot.tile(module, image, plan=plan),
    }
    best: dict[str, float] = {}
    outs: dict[str, Any] = {}
    with torch.inference_mode():
        module(image[..., :256, :256])
        for _ in range(rounds):
            for name, run in runs.items():
                outs.pop(name, None)
                begin = time.process_time()
                outs[name] = run()
                taken = time.process_time() - begin
                best[name] = min(taken, best.get(name, taken))
        spread = outs["whole"].std()
        apart = float((outs["whole"] - outs["tiles"]).abs().max() / spread)
    if apart > EQUAL:
        raise AssertionError(f"{net}: tiles are {apart} from the whole")
    ratio = best["tiles"] / best["whole"]
    return {"ratio": ratio, **best, "halo": plan.axes[0].halo, "reads": plan.overhead}


# --- workers


class Size(NamedTuple):
    """An image of ``side`` pixels a side, in a file."""

    side: int
    path: Path


def _zarr(folder: Path, sides: Iterable[int]) -> list[Size]:
    """Images of three channels of bytes, in chunks; written band by band."""
    import zarr

    made = []
    for side in sides:
        path = folder / f"{side}.zarr"
        image = zarr.create_array(
            path,
            shape=(3, side, side),
            chunks=(3, 512, 512),
            dtype="uint8",
            dimension_names=["c", "y", "x"],
        )
        rng = np.random.default_rng(side)
        x = np.arange(side)
        for begin in range(0, side, 512):
            y = np.arange(begin, begin + 512)[:, None]
            wave = 100 + 60 * np.sin(x / 37) * np.cos(y / 53)
            band = wave + rng.integers(0, 8, (3, 512, side), dtype=np.uint8)
            image[:, begin : begin + 512] = band.astype(np.uint8)
        made.append(Size(side, path))
    return made


def _workers(quick: bool, folder: Path) -> list[Ratio]:
    """``eyeshot.tiling.run`` with one worker and with two, each on one thread."""
    (image,) = _zarr(folder, [1024 if quick else 5120])
    tile = 256 if quick else 1024
    taken: dict[int, float] = {}
    for _ in range(1 if quick else 2):
        for workers in (1, 2):
            found = _fresh(
                "run",
                image=str(image.path),
                out=str(folder / "out.zarr"),
                tile=tile,
                workers=workers,
            )
            taken[workers] = min(found["seconds"], taken.get(workers, found["seconds"]))
    what = f"{image.side}² from Zarr to Zarr: time of two workers, to one (one thread each)"
    return [Ratio(what, taken[2] / taken[1], WORKERS)]


def _run(image: str, out: str, tile: int, workers: int) -> dict[str, Any]:
    """One run of a mask network over a file; the time is that of the tiles, their plan is there before."""
    from eyeshot.tiling.images import open_image
    from eyeshot.tiling.models import load
    from eyeshot.tiling.run import run
    from eyeshot.tiling.scaling import Scaling

    module = NETS["mask"][1]()
    model = load(module, threads=1)
    scaling = Scaling(scale="1/255", out_dtype="uint8", out_scale=50)
    shape = open_image(image).shape
    plan = eyeshot.tile_plan(module, (1, *shape), tile=tile, trial=False)
    base = _peak()
    begin = time.perf_counter()
    result = run(model, image, out, plan=plan, workers=workers, overwrite=True, scaling=scaling)
    seconds = time.perf_counter() - begin
    if result.failed or result.done != len(plan):
        raise AssertionError(f"{len(result.failed)} of {len(plan)} tiles failed")
    return {"seconds": seconds, "peak": _peak(), "base": base, "tiles": len(plan)}


# --- sizes


def _sizes(quick: bool, folder: Path) -> list[Ratio]:
    """Peak memory from small images to large ones, by the tiles that fit the budget at the largest."""
    sides = [512, 1024] if quick else [2048, 8192, 16384]
    first, last = sides[0], sides[-1]
    tile: int = _fresh("fitting", side=last, budget=BUDGET, workers=2)["tile"] or first
    tile = min(tile, 256 if quick else first // 2)
    peaks, added = {}, {}
    for side in sides:
        (image,) = _zarr(folder, [side])
        out = folder / "out.zarr"
        found = _fresh("run", image=str(image.path), out=str(out), tile=tile, workers=2)
        peaks[side], added[side] = found["peak"], found["peak"] - found["base"]
        shutil.rmtree(image.path)
    what = f"Zarr to Zarr, {NETS['mask'][0]}, tiles of {tile}, two workers: peak memory"
    rows = [
        Ratio(f"{what} for {side}², to {first}²", peaks[side] / peaks[first], FLAT)
        for side in sides[1:]
    ]
    over = "the same less what is there before the run"
    rows.append(Ratio(f"{over}, {last}² to {first}²", added[last] / added[first]))
    rows.append(Ratio(f"{what} for {last}², to its budget of 1.5 GB", peaks[last] / BUDGET, 1))
    raw = last * last * (3 + 1)
    rows.append(Ratio(f"{what} for {last}², to the image and the result", peaks[last] / raw))
    return rows


def _fitting(side: int, budget: int, workers: int) -> dict[str, Any]:
    """The tile that fits a budget."""
    plan = eyeshot.tile_plan(
        NETS["mask"][1](), (1, 3, side, side), memory=budget, workers=workers, trial=False
    )
    return {"tile": plan.axes[0].tile}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "peer": _peer,
    "overhead": _over,
    "run": _run,
    "fitting": _fitting,
}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](**json.loads(sys.argv[2]))))
