"""The parts: each measures one promise and gives its ratios."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import eyeshot
from benchmarks import plain
from benchmarks.adjoint import adjoint
from benchmarks.erf_images import erf_images
from benchmarks.measure import PEAK, Ratio, Task, best, child, processes
from benchmarks.onnx_files import onnx_files
from benchmarks.tiles import tiles
from benchmarks.web import web
from eyeshot.examples import path

__all__ = ["PARTS", "Part"]

FLAT = 1.2
LINEAR = 1.5


class Part(NamedTuple):
    """``measure(quick)`` gives the rows; ``title`` and ``text`` say what they are."""

    title: str
    text: str
    measure: Callable[[bool], list[Ratio]]


def read_all(source: Any, size: Any) -> eyeshot.Report:
    """Analyse, and read every field of every layer."""
    report = eyeshot.analyze(source, size)
    for layer in report:
        _ = layer.fields
    return report


def example(name: str) -> Any:
    """A bundled spec, read once: the file's parsing is no part of these times."""
    return yaml.safe_load(path(name).read_text(encoding="utf-8"))


def power(n: int) -> str:
    """1000000 as 10^6, where that is shorter."""
    text = str(n)
    zeros = len(text) - len(text.rstrip("0"))
    return f"10^{zeros}" if zeros > 3 and text.rstrip("0") == "1" else f"{n:,}"


# --- against the input's size

ANY = (227, 1_000, 10_007, 1_000_003, 10**9)
NETS: dict[str, tuple[str, int, tuple[int, ...]]] = {
    "AlexNet": ("alexnet", 2, ANY),
    "ResNet-50 with its global pooling": ("resnet50", 2, ANY),
    "U-Net": ("unet", 2, (256, 1_024, 10_000, 1_000_000, 10**9)),
    "WaveNet": ("wavenet", 1, ANY),
    "VGG-16 with its adaptive pooling, multiples of 32": (
        "vgg16",
        2,
        (256, 1_024, 9_984, 1_000_000, 10**9),
    ),
    "VGG-16 with its adaptive pooling, other sizes": ("vgg16", 2, (250, *ANY[1:4], 10**9 + 7)),
}


def size(quick: bool) -> list[Ratio]:
    """Slowest over fastest size."""
    rows: list[Ratio] = []
    bound = total = 0
    for title, (name, axes, sizes) in NETS.items():
        spec = example(name)
        channels = spec["input"][0]
        if quick:
            sizes = (sizes[0], sizes[2], sizes[-1])

        def task(n: int, spec: Any = spec, axes: int = axes, channels: int = channels) -> Task:
            shape = (1, channels, *(n,) * axes)
            return Task(lambda _: read_all(spec, shape))

        tasks = {f"{title} at {power(n)}": task(n) for n in sizes}
        taken = best(tasks, 3 if quick else 60, 20)
        what = f"{title}: slowest of {', '.join(map(power, sizes))} to the fastest"
        rows.append(Ratio(what, max(taken.values()) / min(taken.values()), FLAT))
        for n in sizes:
            report = eyeshot.analyze(spec, (1, channels, *(n,) * axes))
            for layer in report:
                total += 1
                bound += any(field.status == "bound" for field in layer.fields)
    rows.append(Ratio(f"layers whose field is only a bound, of {total:,} above", bound, 0, ""))
    return rows


# --- against depth


def stack(depth: int) -> dict[str, Any]:
    """A plain stack of 3-windows in the short form."""
    return {f"layer{k}": [3, 1, 1] for k in range(depth)}


def chain(depth: int) -> dict[str, Any]:
    """Residual blocks of one convolution and one addition; ``depth`` layers."""
    layers: dict[str, Any] = {"stem": {"op": "conv", "kernel": 3, "padding": 1, "channels": 8}}
    before = "stem"
    for k in range((depth - 1) // 2):
        layers[f"conv{k}"] = {"op": "conv", "kernel": 3, "padding": 1, "inputs": before}
        layers[f"add{k}"] = {"op": "add", "inputs": [f"conv{k}", before]}
        before = f"add{k}"
    return {"input": [3, 64, 64], "layers": layers}


def depth(quick: bool) -> list[Ratio]:
    """Time a layer against the time a layer at 1,000 layers."""
    rows = []
    depths = (10, 1_000, 3_000) if quick else (10, 100, 1_000, 10_000, 100_000)
    families: dict[str, Callable[[int], dict[str, Any]]] = {
        "plain stack": stack,
        "residual chain": chain,
    }
    for title, build in families.items():

        def task(spec: Any, size: Any) -> Task:
            return Task(lambda _: read_all(spec, size))

        specs = {n: build(n) for n in depths}
        count = {n: len(spec.get("layers", spec)) for n, spec in specs.items()}
        tasks = {
            f"{title} of {n:,} layers": task(spec, 227 if build is stack else None)
            for n, spec in specs.items()
        }
        taken = best(tasks, 3 if quick else 12, 60)
        each = dict(zip(depths, taken.values(), strict=True))
        for n in depths:
            if n != 1_000:
                value = each[n] / count[n] / (each[1_000] / count[1_000])
                what = f"{title} of {n:,} layers: time a layer, to that of 1,000 layers"
                rows.append(Ratio(what, value, LINEAR))
    return rows


# --- against the plain loop


def loop(quick: bool) -> list[Ratio]:
    """AlexNet against the article's formulas in a plain loop."""
    layers, n = plain.ALEXNET, 227
    _agree(plain.fields(layers, n), eyeshot.analyze(layers, n))
    calculator = eyeshot.ReceptiveFieldCalculator()

    def calculate(_: object) -> None:
        with redirect_stdout(StringIO()):
            calculator.calculate(layers, n)

    taken = best(
        {
            "loop": Task(lambda _: plain.fields(layers, n)),
            "printing loop": Task(lambda _: plain.report(layers, n, StringIO())),
            "analyze": Task(lambda _: eyeshot.analyze(layers, n)),
            "analyze, all fields": Task(lambda _: read_all(layers, n)),
            "calculate": Task(calculate),
        },
        10 if quick else 400,
        30,
    )
    return [
        Ratio("analyze, to the loop", taken["analyze"] / taken["loop"], 10),
        Ratio(
            "analyze and all fields, to the loop", taken["analyze, all fields"] / taken["loop"], 10
        ),
        Ratio(
            "analyze and all fields, to the loop that prints",
            taken["analyze, all fields"] / taken["printing loop"],
            10,
        ),
        Ratio(
            "ReceptiveFieldCalculator, to the loop that prints",
            taken["calculate"] / taken["printing loop"],
            10,
        ),
        Ratio("the loop that prints, to the loop", taken["printing loop"] / taken["loop"]),
    ]


def _agree(rows: Iterable[plain.Row], report: eyeshot.Report) -> None:
    """A race counts only where both give the same answer."""
    for name, n, field, jump, start in rows:
        (ours,) = report[name].fields
        if (ours.n, ours.size, ours.jump, ours.start) != (n, field, jump, start):
            raise AssertionError(f"{name}: {ours} is not {(n, field, jump, start)}")


# --- process start

BASE = "import numpy, rich"


def start(quick: bool) -> list[Ratio]:
    """A whole process, from its start to its end."""
    python = sys.executable
    taken = processes(
        {
            "python": [python, "-c", "pass"],
            "base": [python, "-c", BASE],
            "import": [python, "-c", "import eyeshot"],
            "show": [*_command(), "show", "example:alexnet"],
        },
        3 if quick else 31,
    )
    base = f'python -c "{BASE}"'
    return [
        Ratio(f'`python -c "import eyeshot"`, to `{base}`', taken["import"] / taken["base"], 2),
        Ratio(f"`eyeshot show example:alexnet`, to `{base}`", taken["show"] / taken["base"], 2),
        Ratio(f'`python -c "pass"`, to `{base}`', taken["python"] / taken["base"]),
    ]


def _command() -> list[str]:
    """The installed command; without one, what it would run."""
    script = Path(sysconfig.get_path("scripts")) / "eyeshot"
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "from eyeshot.cli import main; main()"]


# --- peak memory

SHOW = """
import sys
from eyeshot.cli import main
try:
    main(["show", *sys.argv[1:]])
except SystemExit as done:
    assert not done.code
"""
STACK = """
import sys
import eyeshot
layers = {f"layer{k}": [3, 1, 1] for k in range(int(sys.argv[1]))}
report = eyeshot.analyze(layers, 227)
fields = [layer.fields for layer in report]
"""
TRACED = """
import json, sys, tracemalloc
import yaml
import eyeshot
from eyeshot.examples import path

def analyze(layers, size):
    report = eyeshot.analyze(layers, size)
    return report, [layer.fields for layer in report]

name, size = sys.argv[1], json.loads(sys.argv[2])
if name.isdigit():
    layers = {f"layer{k}": [3, 1, 1] for k in range(int(name))}
    analyze({"layer0": [3, 1, 1]}, size)
else:
    layers = yaml.safe_load(path(name).read_text(encoding="utf-8"))
    analyze(layers, None)
tracemalloc.start()
kept = analyze(layers, size)
sys.stderr.write(str(tracemalloc.get_traced_memory()[1]))
"""


def memory(quick: bool) -> list[Ratio]:
    """Peak memory of whole processes, and of the analysis alone."""
    deep = 10_000 if quick else 100_000
    base = child(f"{BASE}\n{PEAK}")
    alexnet = child(SHOW + PEAK, "example:alexnet")
    peak = {
        n: child(SHOW + PEAK, "example:resnet50", "--input", f"3x{n}x{n}")
        for n in (224, 10**6, 10**9)
    }
    tall = child(STACK + PEAK, str(deep))
    alone = {n: child(TRACED, "resnet50", json.dumps([1, 3, n, n])) for n in (224, 10**6, 10**9)}
    each = {n: child(TRACED, str(n), "227") / n for n in (1_000, deep)}
    return [
        Ratio(f"`eyeshot show example:alexnet`, to `{BASE}`", alexnet / base),
        Ratio("`eyeshot show example:resnet50` at 10^6, to 224", peak[10**6] / peak[224], 1.1),
        Ratio("`eyeshot show example:resnet50` at 10^9, to 224", peak[10**9] / peak[224], 1.1),
        Ratio("the analysis of ResNet-50 alone at 10^6, to 224", alone[10**6] / alone[224], 1.1),
        Ratio("the analysis of ResNet-50 alone at 10^9, to 224", alone[10**9] / alone[224], 1.1),
        Ratio(f"a process that analyses a stack of {deep:,} layers, to `{BASE}`", tall / base),
        Ratio(
            f"the analysis of that stack alone, memory a layer, to that of {1_000:,} layers",
            each[deep] / each[1_000],
            LINEAR,
        ),
    ]


# --- exact hulls


def hulls(quick: bool) -> list[Ratio]:
    """The image engine against the analysis."""
    rows = []
    for title, name, shape in (
        ("ResNet-50 at 224", "resnet50", (1, 3, 224, 224)),
        ("U-Net at 512", "unet", (1, 1, 512, 512)),
    ):
        spec = example(name)

        def fields(_: object, spec: Any = spec, shape: Any = shape) -> object:
            return read_all(spec, shape)

        def fresh(spec: Any = spec, shape: Any = shape) -> eyeshot.Report:
            return read_all(spec, shape)

        taken = best(
            {
                f"{title}, analysis": Task(fields),
                f"{title}, last layer's boxes": Task(lambda report: report[-1].boxes(), fresh),
                f"{title}, all boxes": Task(
                    lambda report: [layer.boxes() for layer in report], fresh
                ),
            },
            3 if quick else 30,
            30,
        )
        analysis, last, every = taken.values()
        what = "to its analysis and all fields"
        rows.append(Ratio(f"{title}: `boxes()` of all layers, {what}", every / analysis))
        rows.append(Ratio(f"{title}: `boxes()` of the last layer, {what}", last / analysis))
    return rows


PARTS: dict[str, Part] = {
    "size": Part(
        "Against the input's size",
        "CPU time of `analyze` and of reading every field of every layer, from small inputs to 10^9 a side. "
        "The closed form promises that it does not grow.",
        size,
    ),
    "depth": Part(
        "Against depth",
        "The same for plain stacks (`[3, 1, 1]` again and again, one axis) and residual chains "
        "(a 3×3 convolution and an addition a block, two axes). Linear time has ratio 1.",
        depth,
    ),
    "loop": Part(
        "Against the article's plain loop",
        "AlexNet in the short form on 227, one axis. The loop (`benchmarks/plain.py`) knows four formulas and "
        "plain stacks only, and checks nothing; before the race both must give the same numbers.",
        loop,
    ),
    "start": Part(
        "Process start",
        "Whole processes, wall-clock medians. Any tool with a numeric core and a rich table pays for importing "
        "`numpy` and `rich`.",
        start,
    ),
    "memory": Part(
        "Peak memory",
        "Whole processes by their largest resident set, the analysis alone by `tracemalloc` (objects that the "
        "caller passes in are not counted; the report and its fields are kept).",
        memory,
    ),
    "hulls": Part(
        "Exact hulls inside the input",
        "`boxes()` evaluates every unit of this very input, borders included. Its cost grows with the input, "
        "which is why the table does without it; there is no aim.",
        hulls,
    ),
    "adjoint": Part(
        "One unit, against autograd",
        "The centre unit of the last convolution at 224: its mass and its exact set, to one backward pass of "
        "torchvision's module from that unit, on one thread, weights needing no gradients. The forward pass is "
        "not counted, unless a row says so. The report is that of a spec; a traced module's holds batch norms "
        "and ReLUs as well. It needs what the tests need.",
        adjoint,
    ),
    "onnx": Part(
        "ONNX files",
        "`eyeshot.analyze` of a file and every field of every layer, to `onnx.load` and "
        "`onnx.shape_inference.infer_shapes` of it alone, which give shapes and nothing else. The files: the "
        "nine that the onnx package ships, a torchvision network as PyTorch's exporter writes it, a long chain "
        "of convolutions and ReLUs, each with its own weights. It needs what the tests need.",
        onnx_files,
    ),
    "erf": Part(
        "The effective receptive field on images",
        "`eyeshot.erf` of the centre unit, its analysis included, to a plain script that runs 50 images whole "
        "up to the layer and takes gradients in RepLKNet's protocol: CPU time on one thread. A torchvision "
        "ResNet-18; its layer2 has a field of 99 pixels a side, layer3 one of 211, layer4 one of 435. Where "
        "the field is smaller than the image, eyeshot runs a crop; either way it cuts from the layers in "
        "between what the unit does not need.",
        erf_images,
    ),
    "tiles": Part(
        "Tiles, to the whole image",
        "`eyeshot.tile` by exact tiles and MONAI's `sliding_window_inference` with a quarter of overlap, on "
        "the same module and image, with windows as large as eyeshot's crops: 256 and 48 on either side of a "
        "U-Net of depth 3, on 2048². A *step* is the absolute difference of two neighbouring pixels. Every "
        "contender and every image has a process of its own, and forward passes one thread. Networks are "
        "random, scaled so that signals keep their size. It needs what the tests need and MONAI "
        "(`pip install monai`), without which its rows are left out, and 1.5 GB of disk.",
        tiles,
    ),
    "web": Part(
        "The page, in a browser",
        "`eyeshot report` and `eyeshot explore` in Debian's chromium without a screen or a GPU, driven "
        "by playwright at 1440×900. Times are on a clock on the wall, since what they are held against is a "
        "person's: *hover to paint* from the first handler of a pointer's move until the frame with the new "
        "boxes is drawn, which on a screen of 60 Hz has its 16 ms; *opened* from the start of the navigation; "
        "*key to paint* from the key in the editor, by way of the server, until the frame with the new network "
        "is drawn. It needs what the tests need.",
        web,
    ),
}
