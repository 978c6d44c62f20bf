"""Random PyTorch programs, drawn line by line, and what they read by poisoning.

A program is a list of Python lines over tensors ``v0, v1, ...``; the inputs come first. Each line is run
when it is drawn, so that the next ones know the shapes; a line that PyTorch refuses is left out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

import eyeshot
from eyeshot.errors import EyeshotError
from tests.oracles import poison

__all__ = ["Program", "programs", "wrong"]

MAX_ELEMENTS = 1500
#: Steps by name: each draws the text of one line, given the variables that there are.
STEPS: dict[str, Callable[[Draw], str | None]] = {}


def weight(*shape: int) -> Tensor:
    """A constant of this shape: positive, so that nothing cancels, and not symmetric."""
    generator = torch.Generator().manual_seed(sum(shape) + 7 * len(shape))
    return torch.rand(shape, dtype=torch.float64, generator=generator) + 0.5


class Program(nn.Module):
    """The lines as a module: every variable comes out, through a submodule of its name."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], lines: Sequence[str] = ()) -> None:
        super().__init__()
        self.shapes = list(shapes)
        self.lines: list[str] = []
        self.weights: dict[tuple[int, ...], Tensor] = {}
        self.code: Any = None
        self.names = [f"v{k}" for k in range(len(shapes))]
        generator = torch.Generator().manual_seed(3)
        self.values = {
            name: torch.randn(shape, dtype=torch.float64, generator=generator)
            for name, shape in zip(self.names, shapes, strict=True)
        }
        self.inputs = [x.clone() for x in self.values.values()]
        for line in lines:
            assert self.extend(line), line

    def weight(self, *shape: int) -> Tensor:
        """A weight, made once."""
        if shape not in self.weights:
            self.weights[shape] = weight(*shape)
        return self.weights[shape]

    @property
    def scope(self) -> dict[str, Any]:
        """What the lines may use."""
        return {"torch": torch, "F": F, "W": self.weight}

    def extend(self, line: str) -> bool:
        """Run one more line; False, and nothing has changed, if PyTorch refuses it."""
        after = {name: value.clone() for name, value in self.values.items()}
        # Views must stay views: run the whole program anew.
        values = dict(zip(self.names, [x.clone() for x in self.inputs], strict=False))
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch says some things once only
                exec("\n".join([*self.lines, line]), self.scope, values)
        except (RuntimeError, IndexError, ValueError, TypeError):
            return False
        made = [name for name in values if name not in after]
        for name in made:
            value = values[name]
            if (
                not isinstance(value, Tensor)
                or not 0 < value.numel() <= MAX_ELEMENTS
                or value.dtype != torch.float64
                or value.ndim > 6
            ):
                return False
        if any(not torch.isfinite(v).all() for v in values.values()):
            return False
        self.lines.append(line)
        self.values = values
        self.names += made
        return True

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """All variables as they are at the end."""
        values = dict(zip(self.names, inputs, strict=False))
        exec(self.code, self.scope, values)
        return {name: self.get_submodule(name)(value) for name, value in values.items()}

    def finish(self) -> Program:
        """Ready to run."""
        self.code = compile("\n".join(self.lines), "<program>", "exec")
        for name in self.names:
            self.add_module(name, nn.Identity())
        self.values = {}
        return self

    def __repr__(self) -> str:
        """Code to paste."""
        given = ", ".join(self.names[: len(self.shapes)])
        made = ", ".join(f"torch.randn({s}, dtype=torch.float64)" for s in self.shapes)
        body = "\n".join(f"    {line}" for line in self.lines)
        return (
            "\nimport eyeshot, torch, torch.nn.functional as F\n"
            "W = lambda *shape: torch.rand(shape, dtype=torch.float64) + 0.5\n"
            f"def f({given}):\n{body}\n    return {self.names[-1]}\n"
            f"report = eyeshot.analyze(f, args=({made},))\n"
        )


def reads(program: Program, which: int, axis: int) -> dict[str, np.ndarray]:
    """Per variable a bool array [n, *its shape]: whether position p of an input's axis reaches the element."""
    shapes: dict[str, torch.Size] = {}

    def flat(out: dict[str, Tensor]) -> Tensor:
        shapes.update({name: value.shape for name, value in out.items()})
        return torch.cat([value.reshape(-1) for value in out.values()])

    rows = poison.reads(program, program.inputs, which, axis, flat)
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    parts = np.split(rows, ends, axis=1)
    return {
        name: part.reshape(len(rows), *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def wrong(program: Program) -> list[str]:
    """What a report says that is not so, for each variable and axis; and operators that it does not know."""
    try:
        report = eyeshot.analyze(program, args=tuple(program.inputs))
    except EyeshotError as error:
        if "depends on the input" not in str(error):
            return [f"raised: {error}"]
        # Everything has been overwritten.
        every = [
            reads(program, k, axis)
            for k, x in enumerate(program.inputs)
            for axis in range(2, x.ndim)
        ]
        return [
            f"{name}: read, but not reported" for read in every for name in read if read[name].any()
        ]
    unknown = [d for d in report.diagnostics if d.code in ("unknown-op", "no-rule")]
    return [f"{d.code}: {d.message}" for d in unknown] + mismatches(program, report)


def mismatches(program: Program, report: eyeshot.Report) -> list[str]:
    """Where a report's hulls differ from poisoning."""
    found = []
    hulls = {name: report[name].boxes() for name in program.names if name in report}
    for k, source in enumerate(report.inputs):
        for axis in source["axes"]:
            for name, read in reads(program, k, axis).items():
                label = f"{name}, axis {axis} of {source['name']}"
                if name not in hulls:
                    if read.any():
                        found.append(f"{label}: read, but reported as a constant")
                    continue
                layer = report[name]
                if layer.shape != read.shape[1:]:
                    found.append(f"{name}: shape {layer.shape}, but {read.shape[1:]}")
                    continue
                at = [(f.input, f.axis) for f in layer.fields].index((source["name"], axis))
                real = poison.hulls(read, layer.unit_dims)
                mine = hulls[name][..., at, :]
                some = real[..., 0] < real[..., 1]
                begins, ends = mine[..., 0] == real[..., 0], mine[..., 1] == real[..., 1]
                if layer.fields[at].status == "bound":
                    begins, ends = mine[..., 0] <= real[..., 0], mine[..., 1] >= real[..., 1]
                right = np.where(
                    some, begins & ends, (mine[..., 0] == mine[..., 1]) | (layer.status == "bound")
                )
                if not right.all():
                    unit = tuple(int(i) for i in np.argwhere(~right)[0])
                    found.append(
                        f"{label} ({layer.status}), unit {unit} of dims {layer.unit_dims}: "
                        f"{mine[unit].tolist()}, but by poisoning {real[unit].tolist()}; "
                        f"{(~right).sum()} of {right.size} differ"
                    )
    return found


# Drawing -----------------------------------------------------------------------------------------


class Draw:
    """What a step has at hand: the variables, and ways to draw."""

    def __init__(self, draw: Callable[[Any], Any], program: Program) -> None:
        self.draw = draw
        self.program = program

    def int(self, low: int, high: int) -> int:
        """A number, small ones first."""
        return self.draw(st.integers(low, max(low, high)))

    def of(self, *options: Any) -> Any:
        """One of these."""
        return self.draw(st.sampled_from(options))

    def flag(self) -> bool:
        """True or False."""
        return self.draw(st.booleans())

    def var(
        self, low: int = 0, high: int = 6, like: tuple[int, ...] | None = None
    ) -> tuple[str, Any] | None:
        """A variable of a rank in this range, the latest first, with its shape."""
        names = [
            name
            for name, value in self.program.values.items()
            if low <= value.ndim <= high and (like is None or tuple(value.shape) == like)
        ]
        if not names:
            return None
        name = self.draw(st.sampled_from(names[::-1]))
        return name, tuple(self.program.values[name].shape)

    @property
    def new(self) -> str:
        """The name of the variable to be made."""
        return f"v{len(self.program.names)}"

    def each(self, axes: int, low: int, high: int) -> Any:
        """One number for all axes, or one for each."""
        if self.flag():
            return self.int(low, high)
        return tuple(self.int(low, high) for _ in range(axes))

    def slice(self, n: int) -> str:
        """A non-empty slice of a dim of n."""
        start = self.int(0, n - 1)
        stop = self.int(start + 1, n)
        step = self.int(1, 3)
        text = f"{start or ''}:{'' if stop == n else stop}"
        return text + (f":{step}" if step > 1 else "")


def step(function: Callable[[Draw], str | None]) -> Callable[[Draw], str | None]:
    """Register a step."""
    STEPS[function.__name__] = function
    return function


def unary(name: str, *texts: str, low: int = 0, high: int = 6) -> None:
    """A step of one variable, of a rank within ``low`` … ``high``, that writes one of these lines.

    ``{v}`` is the variable, ``{o}`` a new one, ``{d}`` and ``{e}`` are dims, ``{n}`` the size of the former,
    ``{i}`` a position in it, ``{s}`` a slice of it and ``{at}`` what comes before it in an index, ``{c}`` the
    number of channels, ``{a}`` of axes, ``{k}`` a small number.
    """

    def make(d: Draw) -> str | None:
        found = d.var(low, high)
        if found is None:
            return None
        v, shape = found
        text = d.of(*texts)
        dim = d.int(0, len(shape) - 1) if shape else 0
        other = d.int(0, len(shape) - 1) if shape else 0
        line = text.format(
            v=v,
            o=d.new,
            d=dim,
            e=other,
            n=shape[dim] if shape else 1,
            c=shape[1] if len(shape) > 1 else 1,
            a=len(shape) - 2,
            i=d.int(0, shape[dim] - 1) if shape else 0,
            k=d.int(1, 4),
            s=d.slice(shape[dim]) if shape else ":",
            at=":, " * dim,
        )
        return line

    STEPS[name] = make


unary(
    "pointwise",
    "{o} = {v}.relu()",
    "{o} = F.gelu({v})",
    "{o} = {v} * 2 + 1",
    "{o} = torch.tanh({v})",
)
unary(
    "in_place",
    "{v}.relu_()",
    "{v}.mul_(2)",
    "F.relu({v}, inplace=True)",
    "{v}.add_(1).sigmoid_()",
    "{v} += 1",
)
unary("slice", "{o} = {v}[{at}{s}]", "{o} = {v}[{at}{i}]", "{o} = {v}.narrow({d}, {i}, 1)", low=1)
unary(
    "flip",
    "{o} = {v}.flip({d})",
    "{o} = {v}.roll({k}, {d})",
    "{o} = {v}.roll(({k}, -1), ({d}, {e}))",
    low=1,
)
unary(
    "view",
    "{o} = {v}.transpose({d}, {e})",
    "{o} = {v}.unsqueeze({d})",
    "{o} = {v}.squeeze({d})",
    "{o} = {v}.movedim({d}, {e})",
    "{o} = {v}.flatten(max(0, {d} - 1), {d})",
    "{o} = {v}.flatten()",
    "{o} = {v}[:]",
    "{o} = {v}.detach()",
    "{o} = {v}.clone()",
    low=1,
)
unary("zero_slice", "{v}[{at}{s}] = 0", "{v}[{at}{i}] = 1", "{v}[{at}{s}].zero_()", low=1)
unary(
    "change_slice",
    "{v}[{at}{s}] *= 2",
    "{v}[{at}{s}].relu_()",
    "{v}.transpose({d}, {e})[{i}:{i} + 1].exp_()",
    "{v}.view(-1)[{i}] = 0",
    "{v}.view(-1)[::{k}].add_(1)",
    low=1,
)
unary(
    "reduce",
    "{o} = {v}.mean({d})",
    "{o} = {v}.sum({d}, keepdim=True)",
    "{o} = {v}.amax(({d},))",
    "{o} = {v}.mean()",
    "{o} = {v}.max({d}).values",
    "{o} = {v}.std({d}, keepdim=True, correction=0)",
    "{o} = {v}.logsumexp({d})",
    "{o} = {v}.norm(dim={d})",
    low=1,
)
unary(
    "along",
    "{o} = {v}.softmax({d})",
    "{o} = {v}.cumsum({d})",
    "{o} = F.normalize({v}, dim={d})",
    "{o} = {v}.log_softmax({d})",
    "{o} = torch.fft.rfft({v}, dim={d}).abs()",
    low=1,
)
unary(
    "chunk",
    "{o} = {v}.chunk({k}, {d})[0]",
    "{o} = {v}.split({k}, {d})[-1]",
    "{o} = {v}.unbind({d})[{i}]",
    "{o} = {v}.tensor_split({k}, {d})[-1]",
    "{v}.chunk({k}, {d})[0].mul_(2)",
    "{v}.unbind({d})[-1].zero_()",
    low=1,
)
unary(
    "repeat",
    "{o} = torch.cat([{v}, {v}.flip({d})], {d})",
    "{o} = {v}.repeat_interleave({k}, {d})",
    "{o} = torch.stack([{v}, {v}], {d})",
    "{o} = {v}.unsqueeze(0).expand({k}, *{v}.shape)",
    "{o} = {v}.repeat(*[1] * ({v}.ndim - 1), {k})",
    "{o} = {v}.new_zeros(()).expand({v}.shape) + {v}",
    low=1,
)
unary(
    "index",
    "{o} = {v}.index_select({d}, torch.tensor([{i}, 0, {i}]))",
    "{o} = {v}[{at}[0, {i}]]",
    "{o} = {v}[{at}torch.arange({n}) % 2 == 0]",
    "{o} = {v}.gather({d}, torch.zeros({v}.shape, dtype=torch.long) + {i})",
    "{o} = {v}.gather({d}, torch.zeros({v}.shape, dtype=torch.long) + torch.arange({n}).flip(0)[{i}])",
    low=1,
)
unary(
    "unfold",
    "{o} = {v}.unfold({d}, min({k}, {n}), 2)",
    "{o} = {v}.unfold({d}, min({k}, {n}), 1)",
    "{o} = {v}.diff(dim={d})",
    low=1,
)
unary(
    "diagonal",
    "{o} = {v}.diagonal(0, {d}, {e})",
    "{o} = {v}.tril()",
    "{o} = {v}.triu(1)",
    "{v}.diagonal(0, {d}, {e}).zero_()",
    low=2,
)
unary(
    "masked",
    "{o} = {v}.masked_fill(torch.arange({v}.shape[-1]) < {k}, 0.0)",
    "{o} = torch.where(torch.arange({v}.shape[-1]) % 2 == 0, {v}, {v}.flip(-1))",
    "{v}.masked_fill_(torch.arange({v}.shape[-1]) < {k}, 0.0)",
    "{v}[..., torch.arange({v}.shape[-1]) >= {k}] = 0",
    "{v}[..., [0, -1]] = 0",
    "{v}[..., [0]] += {v}[..., [-1]]",
    low=1,
)
unary(
    "channel",
    "{o} = {v}.reshape({v}.shape[0], {k}, -1, *{v}.shape[2:]).transpose(1, 2).flatten(1, 2)",
    "{o} = F.glu({v}, 1)",
    "{o} = F.channel_shuffle({v}, {k})",
    "{o} = {v} * W({c}, *[1] * {a})",
    "{o} = F.prelu({v}, W({c}))",
    low=3,
    high=5,
)
unary(
    "norm",
    "{o} = F.layer_norm({v}, {v}.shape[-1:])",
    "{o} = F.group_norm({v}, {k})",
    "{o} = F.instance_norm({v})",
    "{o} = F.batch_norm({v}, W({c}), W({c}))",
    "{o} = F.batch_norm({v}, None, None, training=True)",
    "{o} = F.layer_norm({v}.transpose(1, -1), ({c},), W({c})).transpose(1, -1)",
    "{o} = F.local_response_norm({v}, {k})",
    low=3,
    high=5,
)
unary(
    "gate",
    "{o} = {v} * torch.sigmoid({v}.mean(tuple(range(2, {v}.ndim)), keepdim=True))",
    "{o} = {v} * torch.einsum('nc,oc->no', {v}.flatten(2).mean(2), W({c}, {c}))[(...,) + (None,) * {a}]",
    "{o} = {v} * {v}.amax(1, keepdim=True)",
    low=3,
    high=5,
)
unary(
    "window",
    "{o} = {v}.unflatten({d}, (-1, {k}))",
    "{o} = {v}.unflatten(-1, (-1, {k})).transpose(-1, -2)",
    "{o} = {v}.unflatten(-1, (-1, {k})).softmax(-1).flatten(-2)",
    "{o} = {v}.unflatten(-1, ({k}, -1)).mean(-1)",
    "{o} = {v}.reshape({k}, -1)",
    "{o} = {v}.reshape(-1, {k})",
    low=1,
    high=5,
)
unary(
    "windows",
    "{o} = {v}.unflatten(3, (-1, {k})).unflatten(2, (-1, {k})).permute(0, 2, 4, 3, 5, 1).flatten(0, 2)",
    "{o} = F.pixel_shuffle({v}, {k})",
    "{o} = F.pixel_unshuffle({v}, {k})",
    "{o} = F.unfold({v}, {k}, padding=1, stride=2)",
    "{o} = F.fold(F.unfold({v}, 2, stride=1), {v}.shape[2:], 2)",
    "{o} = F.fold({v}.flatten(2).repeat(1, 4, 1), [2 * n for n in {v}.shape[2:]], 2, stride=2)",
    low=4,
    high=4,
)
unary(
    "tokens",
    "{o} = F.scaled_dot_product_attention(*[{v}.flatten(2).transpose(1, 2)] * 3)",
    "{o} = F.scaled_dot_product_attention({v}.flatten(2).mT, *[{v}.flip(-1).flatten(2).mT] * 2)",
    "{o} = {v}.flatten(2).transpose(1, 2) @ W({c}, 2)",
    "{o} = F.linear({v}.transpose(1, -1), W(2, {c})).transpose(1, -1)",
    "{o} = {v}.flatten(2) @ {v}.flatten(2).transpose(1, 2)",
    "{o} = torch.einsum('nc...d,de->nc...e', {v}, W({v}.shape[-1], 3))",
    low=3,
    high=5,
)


@step
def conv(d: Draw) -> str | None:
    found = d.var(3, 5)
    if found is None:
        return None
    v, shape = found
    axes = len(shape) - 2
    groups = d.of(*[g for g in (1, 2, 3) if shape[1] % g == 0])
    channels = groups * d.int(1, 3)
    kernel = [d.int(1, 4) for _ in range(axes)]
    w = ", ".join(map(str, (channels, shape[1] // groups, *kernel)))
    if d.int(0, 3) == 0:
        padding, stride = repr(d.of("same", "valid")), 1
    else:
        padding, stride = d.each(axes, 0, 2), d.each(axes, 1, 3)
    return (
        f"{d.new} = F.conv{axes}d({v}, W({w}), stride={stride}, padding={padding}, "
        f"dilation={d.each(axes, 1, 2)}, groups={groups})"
    )


@step
def conv_transpose(d: Draw) -> str | None:
    found = d.var(3, 5)
    if found is None:
        return None
    v, shape = found
    axes = len(shape) - 2
    groups = d.of(*[g for g in (1, 2) if shape[1] % g == 0])
    w = ", ".join(map(str, (shape[1], d.int(1, 2), *[d.int(1, 4) for _ in range(axes)])))
    stride = d.int(1, 3)
    return (
        f"{d.new} = F.conv_transpose{axes}d({v}, W({w}), stride={stride}, padding={d.each(axes, 0, 1)}, "
        f"output_padding={d.int(0, stride - 1)}, dilation={d.each(axes, 1, 2)}, groups={groups})"
    )


@step
def pool(d: Draw) -> str | None:
    found = d.var(3, 5)
    if found is None:
        return None
    v, shape = found
    axes = len(shape) - 2
    kind = d.of("max", "avg", "adaptive_avg", "adaptive_max", "lp")
    if kind.startswith("adaptive"):
        return f"{d.new} = F.{kind}_pool{axes}d({v}, {d.each(axes, 1, 5)})"
    kernel = d.int(1, 4)
    text = f"{kernel}, {d.int(1, 3)}"
    if kind != "lp":
        text += f", padding={d.int(0, kernel // 2)}"
    else:
        text = f"2.0, {text}"
    if kind == "max":
        text += f", dilation={d.int(1, 2)}"
    return f"{d.new} = F.{kind}_pool{axes}d({v}, {text}, ceil_mode={d.flag()})"


@step
def upsample(d: Draw) -> str | None:
    found = d.var(3, 5)
    if found is None:
        return None
    v, shape = found
    axes = len(shape) - 2
    # On grids where every weight is a number that floating point holds.
    mode = d.of(
        "nearest", "nearest-exact", ("linear", "bilinear", "trilinear")[axes - 1], "bicubic"
    )
    corners = ", align_corners=True" if mode.endswith(("linear", "cubic")) and d.flag() else ""
    return f"{d.new} = F.interpolate({v}, scale_factor={d.of(2, 4)}, mode={mode!r}{corners})"


@step
def pad(d: Draw) -> str | None:
    found = d.var(3, 5)
    if found is None:
        return None
    v, shape = found
    mode = d.of("constant", "reflect", "replicate", "circular")
    axes = len(shape) - 2
    low = -1 if mode == "constant" else 0
    sides = [d.int(low, 2) for _ in range(2 * (d.int(1, axes) if mode == "constant" else axes))]
    return f"{d.new} = F.pad({v}, {sides}, {mode!r})"


@step
def join(d: Draw) -> str | None:
    found = d.var(1)
    if found is None:
        return None
    v, shape = found
    other = d.var(1, like=shape)
    assert other is not None
    w = other[0]
    dim = d.int(0, len(shape) - 1)
    at = ":, " * dim
    piece = d.slice(shape[dim])
    return d.of(
        f"{d.new} = {v} + {w}",
        f"{d.new} = torch.cat([{v}, {w}], {dim})",
        f"{d.new} = torch.stack([{v}, {w}], {dim})",
        f"{d.new} = torch.maximum({v}, {w})",
        f"{v}.add_({w})",
        f"{v}.copy_({w})",
        f"{v}[{at}{piece}] = {w}[{at}{piece}]",
        f"{v}[{at}{piece}] += {w}[{at}{piece}]",
        f"{d.new} = torch.zeros_like({v}); {d.new}[{at}{piece}] = {w}[{at}{piece}]",
        f"{d.new} = {w}.new_zeros({w}.shape); {d.new}[{at}{piece}].copy_({w}[{at}{piece}])",
        f"torch.add({w}, 1, out={v})",
        f"{v}.transpose(0, {dim}).copy_({w}.transpose(0, {dim}))",
        f"{d.new} = torch.lerp({v}, {w}, 0.25)",
        f"{d.new} = torch.empty_like({v}); torch.mul({v}, {w}, out={d.new})",
        f"{v}.view(-1).copy_({w}.flatten().flip(0))",
        f"{v}.index_add_({dim}, torch.tensor([0]), {w}[{at}-1:])",
        f"{v}.index_copy_({dim}, torch.tensor([0]), {w}[{at}-1:])",
        f"{d.new} = torch.where(torch.arange({shape[-1]}) % 2 == 0, {v}, {w})",
    )


@step
def broadcast(d: Draw) -> str | None:
    """Two variables of any shapes that fit; PyTorch refuses the others."""
    one, two = d.var(1), d.var(0)
    if one is None or two is None:
        return None
    v, w = one[0], two[0]
    return d.of(
        f"{d.new} = {v} * {w}", f"{d.new} = {w} - {v}", f"{v}.mul_({w})", f"{d.new} = {v} @ {w}"
    )


@step
def meet(d: Draw) -> str | None:
    """Two variables of unequal sizes, cut to the smaller one: a skip connection with a crop."""
    one = d.var(3, 5)
    if one is None:
        return None
    v, shape = one
    two = d.var(len(shape), len(shape))
    assert two is not None
    w, other = two
    cut = ", ".join(f":{min(a, b)}" for a, b in zip(shape, other, strict=True))
    return d.of(
        f"{d.new} = {v}[{cut}] + {w}[{cut}]",
        f"{d.new} = torch.cat([{v}[{cut}], {w}[{cut}]], 1)",
        f"{v}[{cut}] = {w}[{cut}]",
        f"{v}[{cut}].mul_({w}[{cut}])",
    )


@st.composite
def programs(draw: Any, most: int = 7) -> Program:
    """A program of one or two inputs of one to three axes."""
    shapes = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        axes = draw(st.sampled_from([1, 1, 2, 2, 3]))
        sizes = [draw(st.integers(2, (13, 9, 5)[axes - 1])) for _ in range(axes)]
        shapes.append((draw(st.sampled_from([1, 1, 1, 2])), draw(st.integers(1, 4)), *sizes))
    program = Program(shapes)
    d = Draw(draw, program)
    for _ in range(draw(st.integers(1, most))):
        line = STEPS[draw(st.sampled_from(list(STEPS)))](d)
        if line is not None:
            program.extend(line)
    return program.finish()
