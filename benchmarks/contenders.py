"""What each contender answers, and what that costs: ``python -m benchmarks.contenders`` runs one in a process.

It prints one line of JSON. Everything is done in one thread; imports, the building of the module and a first
run on one convolution lie before the clock.
"""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import io
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.nets import NETS

__all__ = ["CONTENDERS", "truth"]

ROUNDS = 3
ENOUGH = 4.0
"""Seconds after which a task is not repeated."""

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

Answer = tuple[Any, str]
"""The field along the first axis (None: there is no such answer), and what the contender says of it."""


def eyeshot(module: nn.Module, shape: tuple[int, ...], period: int) -> Answer:
    """The trace, the engine, and every field of every layer."""
    import eyeshot

    report = eyeshot.analyze(module, shape)
    for layer in report:
        _ = layer.fields
    field = report.outputs[-1].fields[0]
    return (shape[2] if field.is_global else int(field.size)), report.status


def torchscan(module: nn.Module, shape: tuple[int, ...], period: int) -> Answer:
    """The last module call's metric where it is one of the whole network."""
    import torchscan

    report: Any = torchscan.crawl_module(module, shape[1:])
    last = report["layers"][-1]
    if "metrics" not in last:  # before 0.2
        return last["rf"], ""
    metric = last["metrics"]["receptive_field"]
    if metric["scope"] == "module_call":
        return None, "fields of single module calls, not of the input"
    return metric["value"], metric["status"]


def rfa_toolbox(module: nn.Module, shape: tuple[int, ...], period: int) -> Answer:
    """The largest field of the output node."""
    # Gone from the standard library since Python 3.10, for which the last release is too old.
    collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]
    import rfa_toolbox as toolbox

    node = toolbox.create_graph_from_pytorch_model(module, input_res=shape)
    size = node.receptive_field_max
    return (float(size[0]) if isinstance(size, tuple) else float(size)), ""


def pytorch_receptive_field(module: nn.Module, shape: tuple[int, ...], period: int) -> Answer:
    """The last hooked module's."""
    from torch_receptive_field import receptive_field

    found = receptive_field(module, shape[1:], device="cpu")
    last = [stats for key, stats in found.items() if key != "input_size"][-1]
    return last["r"], ""


def probe(module: nn.Module, shape: tuple[int, ...], period: int) -> Answer:
    """Backwards from the middle unit (each phase once), counting the input positions with a gradient."""
    dtype = next(module.parameters()).dtype
    x = torch.rand(shape, dtype=dtype, requires_grad=True)
    out = module(x)
    size = 0
    h, w = out.shape[2] // 2, out.shape[3] // 2
    for k in range(period):
        (gradient,) = torch.autograd.grad(out[0, :, h + k, w].sum(), x, retain_graph=k + 1 < period)
        at = gradient[0].abs().sum((0, 2)).nonzero()
        size = max(size, int(at.max() - at.min()) + 1 if len(at) else 0)
    return size, ""


def positive(module: nn.Module) -> nn.Module:
    """The usual remedy for lost gradients: averages for maxima, weights of 1 / channels, double precision."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(parent, name, pool)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.fill_(1 / parameter.shape[1])
    return module.double()


Contender = tuple[
    Callable[[nn.Module, tuple[int, ...], int], Answer], Callable[[nn.Module], nn.Module]
]


def _as_it_is(module: nn.Module) -> nn.Module:
    return module


CONTENDERS: dict[str, Contender] = {
    "eyeshot": (eyeshot, _as_it_is),
    "torchscan": (torchscan, _as_it_is),
    "torchscan-0.1": (torchscan, _as_it_is),
    "rfa_toolbox": (rfa_toolbox, _as_it_is),
    "pytorch-receptive-field": (pytorch_receptive_field, _as_it_is),
    "gradient": (probe, _as_it_is),
    "gradient-positive": (probe, positive),
}


# --- the truth


def truth(module: nn.Module, shape: tuple[int, ...], period: int) -> int:
    """The largest field along the first axis of the middle units, by poisoning in double precision.

    All rows before p are set to NaN at once; a unit turns NaN if and only if its field begins before p.
    Bisection finds the beginning, and in the same way the end. A field that reaches the border ends there.
    """
    module = module.double()
    clean = torch.rand(shape, dtype=torch.float64)
    n = shape[2]
    with torch.no_grad():
        out = module(clean)
        middle = (out.shape[2] // 2, out.shape[3] // 2)

        def dirty(begin: int, end: int, k: int) -> bool:
            spoilt = clean.clone()
            spoilt[:, :, begin:end] = float("nan")
            seen: Tensor = module(spoilt)
            return bool(seen[0, :, middle[0] + k, middle[1]].isnan().any())

        def first(holds: Callable[[int], bool]) -> int:
            low, high = 1, n
            while low < high:
                between = (low + high) // 2
                low, high = (low, between) if holds(between) else (between + 1, high)
            return low

        sizes = []
        for k in range(period):
            begin = first(lambda p, k=k: dirty(0, p, k)) - 1
            end = n - first(lambda p, k=k: dirty(n - p, n, k)) + 1
            sizes.append(end - begin)
    return max(sizes)


# --- the process


def _measured(
    name: str, module: nn.Module, shape: tuple[int, ...], period: int, tall: tuple[int, ...] | None
) -> dict[str, Any]:
    """Cost on ``shape``; the answer on ``tall`` where that is given."""
    run, prepare = CONTENDERS[name]
    module = prepare(module)
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        run(prepare(nn.Sequential(nn.Conv2d(3, 3, 3))).eval(), (1, 3, 16, 16), 1)
    before = _fresh_peak()
    least = float("inf")
    spent = 0.0
    for _ in range(ROUNDS):
        begin = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            answer, says = run(module, shape, period)
        taken = time.process_time() - begin
        least, spent = min(least, taken), spent + taken
        if spent > ENOUGH:
            break
    memory = _peak() - before
    if tall is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            answer, says = run(module, tall, period)
    number = None if answer is None else float(answer)
    return {
        "answer": "inf" if number == float("inf") else number,
        "says": says,
        "seconds": least,
        "memory": memory,
    }


def _fresh_peak() -> int:
    """Bytes resident now; where the system can, the peak starts anew from here."""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5")
    return _peak()


def _peak() -> int:
    """Largest resident set so far in bytes: since the last reset on Linux, of the whole process elsewhere."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> int:
    """``contender net side [height width]``: cost on a square input, the answer on the other one if given.

    The contender ``truth`` gives the poisoned answer, and costs nothing of interest.
    """
    name, net, *sizes = sys.argv[1:]
    side, *other = map(int, sizes)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape, tall = (1, 3, side, side), (1, 3, *other) if other else None
    kind = NETS[net]
    module = kind.build(side).eval()
    try:
        if name == "truth":
            found: dict[str, Any] = {"answer": truth(module, tall or shape, kind.period)}
        else:
            found = _measured(name, module, shape, kind.period, tall)
    except Exception as error:
        text = " ".join(str(error).split())
        found = {"error": f"{type(error).__name__}: {text}"[:160]}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
