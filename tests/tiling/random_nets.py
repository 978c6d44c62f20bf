"""Random small networks as lists of steps, which print as themselves and run in PyTorch.

A step is ``(op, source, options)``; ``source`` is the number of the value that it reads, 0 the input. The last
value is the output. Steps are drawn through ``pick(options)``: Hypothesis or ``random`` may do the choosing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["Net", "draw_net", "tiled", "whole"]

T = TypeVar("T")
Pick = Callable[[Sequence[T]], T]
Step = tuple[str, int, dict[str, Any]]

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BACK = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
MAX_SIZE = 400


class Net(nn.Module):
    """The steps as a module; weights follow from ``seed``."""

    def __init__(self, nd: int, steps: Sequence[Step], seed: int = 0) -> None:
        super().__init__()
        self.nd = nd
        self.steps = list(steps)
        self.layers = nn.ModuleDict()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for k, (op, _, o) in enumerate(self.steps):
                layer = self._layer(op, o)
                if layer is not None:
                    self.layers[str(k)] = layer.double()
        self.eval()

    def _layer(self, op: str, o: dict[str, Any]) -> nn.Module | None:
        if op == "conv":
            conv = CONV[self.nd](o["cin"], o["cout"], o["k"], o["s"], o["p"], o["d"], groups=o["g"])
            conv.padding_mode = "zeros"
            if o["mode"] != "zeros":
                conv = CONV[self.nd](
                    o["cin"], o["cout"], o["k"], o["s"], o["p"], o["d"], o["g"], True, o["mode"]
                )
            return conv
        if op == "back":
            return BACK[self.nd](
                o["cin"], o["cout"], o["k"], o["s"], o["p"], o["op"], 1, True, o["d"]
            )
        if op == "norm":
            norm = NORM[self.nd](o["c"])
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
            nn.init.normal_(norm.bias)
            return norm
        if op == "channels":
            return nn.LayerNorm(o["c"])
        return None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for k in range(len(self.steps)):
            values.append(self.step(k, values))
        return values[-1]

    def step(self, k: int, values: list[torch.Tensor]) -> torch.Tensor:
        op, source, o = self.steps[k]
        nd, x = self.nd, values[source]
        if op in ("conv", "back", "norm"):
            return self.layers[str(k)](x)
        if op == "channels":
            return self.layers[str(k)](x.movedim(1, -1)).movedim(-1, 1)
        if op == "act":
            return F.gelu(x)
        if op == "max":
            return MAX[nd](x, o["k"], o["s"], o["p"], o["d"], o["ceil"])
        if op == "avg":
            return AVG[nd](x, o["k"], o["s"], o["p"], o["ceil"], o["all"])
        if op == "up":
            mode = LINEAR[nd] if o["mode"] == "linear" else o["mode"]
            return F.interpolate(x, scale_factor=o["by"], mode=mode)
        if op == "like":
            mode = LINEAR[nd] if o["mode"] == "linear" else o["mode"]
            return F.interpolate(x, size=values[o["other"]].shape[2:], mode=mode)
        if op == "shuffle":
            return F.pixel_shuffle(x, o["by"])
        if op == "unshuffle":
            return F.pixel_unshuffle(x, o["by"])
        if op == "pad":
            if o["mode"] == "constant":
                return F.pad(x, o["pad"], value=0.7)
            return F.pad(x, o["pad"], mode=o["mode"])
        if op == "slice":
            for dim, (begin, drop, step) in enumerate(o["cuts"], 2):
                x = x.narrow(dim, begin, x.shape[dim] - begin - drop)
                x = x[(slice(None),) * dim + (slice(None, None, step),)]
            return x
        if op == "multiple":  # pad to a multiple at the end, as many networks do
            pad = [0 if i % 2 == 0 else -x.shape[-1 - i // 2] % o["of"] for i in range(2 * nd)]
            return F.pad(x, pad)
        if op in ("add", "cat"):
            other = values[o["other"]]
            if o["how"] == "pad":
                pad = []
                for dim in range(nd + 1, 1, -1):
                    more = x.shape[dim] - other.shape[dim]
                    pad += [more // 2, more - more // 2]
                other = F.pad(other, pad)
            else:
                for dim in range(2, nd + 2):
                    size = min(x.shape[dim], other.shape[dim])
                    begins = [
                        (t.shape[dim] - size) // 2 if o["how"] == "centre" else 0
                        for t in (x, other)
                    ]
                    x, other = (
                        t.narrow(dim, b, size) for t, b in zip((x, other), begins, strict=True)
                    )
            return x + other if op == "add" else torch.cat([x, other], 1)
        if op == "windows":  # every window's mean beside its elements
            w = o["w"]
            shape = [*x.shape[:2]]
            for n in x.shape[2:]:
                shape += [n // w, w]
            inner = tuple(range(3, 3 + 2 * nd, 2))
            cut = x.reshape(shape)
            return (cut - cut.softmax(-1).mean(inner, keepdim=True)).reshape(x.shape)
        if op == "beside":  # a column of the network's own at either end
            ends = [torch.full_like(x.narrow(2, 0, 1), n) for n in (0.5, -0.5)]
            return torch.cat([x, ends[1]] if o["last"] else [ends[0], x, ends[1]], 2)
        if op == "roll":
            return torch.roll(x, o["by"], 2)
        if op == "flip":
            return torch.flip(x, (2,))
        raise AssertionError(op)


def draw_net(pick: Pick, nd: int, size: Sequence[int], most: int = 7) -> tuple[Step, ...]:
    """Random steps that work at this size."""
    steps: list[Step] = []
    channels = 2
    x = torch.zeros((1, channels, *size), dtype=torch.float64)
    values = [x]
    count = pick(range(1, most + 1))
    tries = 0
    while len(steps) < count and tries < 4 * most:
        tries += 1
        source = len(values) - 1 if pick(range(4)) else pick(range(len(values)))
        step = _draw(pick, nd, values, source)
        if step is None:
            continue
        net = Net(nd, [*steps, step])
        try:
            with torch.no_grad():
                y = net.step(len(steps), values)
        except (RuntimeError, ValueError):
            continue
        if min(y.shape[2:]) < 1 or max(y.shape[2:]) > MAX_SIZE or y.shape[1] > 64:
            continue
        steps.append(step)
        values.append(y)
    return tuple(steps)


USUAL = (
    *("conv",) * 6,
    *("back", "max", "avg", "up") * 2,
    *("pad", "slice", "add", "cat") * 2,
    *("act", "norm", "channels", "shuffle", "unshuffle", "like", "multiple", "windows", "beside"),
)


def _draw(pick: Pick, nd: int, values: list[torch.Tensor], source: int) -> Step | None:
    op = pick(USUAL) if pick(range(40)) else pick(("roll", "flip", "circular"))
    x = values[source]
    c = x.shape[1]
    each = range(nd)
    if op in ("conv", "circular"):
        mode = pick(("zeros",) * 6 + ("reflect", "replicate"))
        if op == "circular":
            mode = "circular"
        out = pick((2, 4))
        return (
            "conv",
            source,
            {
                "cin": c,
                "cout": out,
                "k": tuple(pick((1, 2, 3, 3, 4, 5)) for _ in each),
                "s": tuple(pick((1, 1, 1, 2, 3)) for _ in each),
                "p": tuple(pick((0, 1, 1, 2, 3)) for _ in each),
                "d": tuple(pick((1, 1, 2, 3)) for _ in each),
                "g": 2 if c % 2 == 0 and pick(range(4)) == 0 else 1,
                "mode": mode,
            },
        )
    if op == "back":
        s = tuple(pick((1, 2, 2, 3, 4)) for _ in each)
        return (
            op,
            source,
            {
                "cin": c,
                "cout": pick((2, 3)),
                "k": tuple(pick((1, 2, 3, 4)) for _ in each),
                "s": s,
                "p": tuple(pick((0, 0, 1)) for _ in each),
                "op": tuple(pick((0, 0, 1)) if n > 1 else 0 for n in s),
                "d": tuple(pick((1, 1, 2)) for _ in each),
            },
        )
    if op in ("max", "avg"):
        k = tuple(pick((1, 2, 2, 3, 4)) for _ in each)
        options = {
            "k": k,
            "s": tuple(pick((1, 2, 2, 3)) for _ in each),
            "p": tuple(pick((0, n // 2)) for n in k),
            "ceil": pick((False, True)),
        }
        more = (
            {"d": tuple(pick((1, 1, 2)) for _ in each)}
            if op == "max"
            else {"all": pick((False, True))}
        )
        return op, source, {**options, **more}
    if op == "up":
        modes = ["nearest", "nearest-exact", "linear"] + (["bicubic"] if nd == 2 else [])
        return op, source, {"by": pick((2, 2, 2, 3, 4, 0.5, 1.5)), "mode": pick(modes)}
    if op == "like":
        modes = ["nearest", "nearest-exact", "linear"] + (["bicubic"] if nd == 2 else [])
        return op, source, {"other": pick(range(len(values))), "mode": pick(modes)}
    if op in ("shuffle", "unshuffle"):
        by = pick((2, 3))
        if nd != 2 or (op == "shuffle" and c % (by * by)):
            return None
        return op, source, {"by": by}
    if op == "pad":
        mode = pick(("constant", "constant", "reflect", "replicate"))
        low = -2 if mode == "constant" else 0
        return op, source, {"mode": mode, "pad": [pick(range(low, 4)) for _ in range(2 * nd)]}
    if op == "slice":
        cuts = [(pick((0, 0, 1, 2)), pick((0, 0, 1, 3)), pick((1, 1, 1, 2))) for _ in each]
        return op, source, {"cuts": cuts}
    if op == "multiple":
        return op, source, {"of": pick((2, 4, 5))}
    if op in ("add", "cat"):
        other = pick(range(len(values)))
        if op == "add" and values[other].shape[1] not in (1, c):
            return None
        how = pick(("centre", "first", "pad"))
        return op, source, {"other": other, "how": how}
    if op == "windows":
        w = pick((2, 3, 4))
        return None if any(n % w for n in x.shape[2:]) else (op, source, {"w": w})
    if op == "beside":
        return op, source, {"last": pick((False, True))}
    if op == "roll":
        return op, source, {"by": pick((1, -2))}
    if op in ("norm", "channels"):
        return op, source, {"c": c}
    return op, source, {}


def whole(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """One forward on all of the input."""
    with torch.no_grad():
        return net(x)


def tiled(net: nn.Module, x: torch.Tensor, plan: Any) -> torch.Tensor:
    """The output put together from tiles; what no tile writes stays NaN, and nothing is written twice."""
    out = torch.full(plan.out_shape, torch.nan, dtype=x.dtype)
    with torch.no_grad():
        for tile in plan:
            assert out[tile.write].isnan().all(), "two tiles write to one place"
            out[tile.write] = net(x[tile.read])[tile.crop]
    return out
