"""Masses by autograd: the gradient of a module whose every weight is the uniform average.

While :class:`Uniform` is in force, PyTorch's own functions run with other numbers: a convolution averages over
its window and channels, padding counted; a maximum becomes an average; whatever bends a number leaves it as it
is; what takes several tensors takes the mean of those that depend on the input. All is linear then, so that
the gradient of a unit is what each element of the input counts. It knows nothing of eyeshot. A function that
is not listed here raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Uniform", "masses"]

HANDLERS: dict[str, Callable[..., Any]] = {}

#: Functions that bend each number by itself.
SAME = frozenset(
    "relu relu_ relu6 prelu hardtanh gelu silu sigmoid tanh elu leaky_relu hardswish hardsigmoid mish softplus "
    "dropout dropout2d batch_norm exp sqrt neg pow abs clamp clone to double float type".split()
)
#: Functions that are linear as they are, and whose weights add up to 1 where they have any.
LINEAR = frozenset(
    "view reshape flatten unflatten transpose permute squeeze unsqueeze expand expand_as repeat cat concat "
    "concatenate stack chunk split split_with_sizes tensor_split unbind narrow select __getitem__ movedim "
    "pad pixel_shuffle pixel_unshuffle channel_shuffle unfold roll flip avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate grid_sample mean index_select "
    "repeat_interleave diagonal t swapaxes native_channel_shuffle gather embedding_bag requires_grad_ "
    "contiguous".split()
)


class Uniform(TorchFunctionMode):
    """Runs PyTorch with the uniform average in the place of all weights."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in HANDLERS:
            return HANDLERS[name](*args, **kwargs)
        if name in SAME:
            return args[0]
        out = func(*args, **kwargs)
        if name not in LINEAR and name != "__get__":
            found = out if isinstance(out, (list, tuple)) else [out]
            if any(isinstance(t, Tensor) and t.requires_grad for t in found) or out is None:
                raise NotImplementedError(f"the uniform average of {name}")
        return out


def handler(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            assert name not in HANDLERS
            HANDLERS[name] = function
        return function

    return register


def among(*tensors: Any) -> list[Tensor]:
    """Those that depend on the input."""
    return [t for t in tensors if isinstance(t, Tensor) and t.requires_grad]


def average(*tensors: Any) -> Tensor:
    """The mean of those that depend on the input, as large as all of them together."""
    shape = torch.broadcast_shapes(*(t.shape for t in tensors if isinstance(t, Tensor)))
    found = [t.expand(shape) for t in among(*tensors)]
    if not found:
        return torch.zeros(shape, dtype=torch.float64)
    return sum(found[1:], found[0]) / len(found)


@handler("add", "__add__", "__radd__", "__iadd__", "sub", "__sub__", "__rsub__", "mul", "__mul__", "__rmul__",
         "__imul__", "div", "__truediv__", "maximum", "minimum", "true_divide", "add_", "mul_")  # fmt: skip
def pointwise(x: Any, y: Any, *, alpha: Any = 1) -> Tensor:
    """Of ``x += y`` the result counts: what else shares its memory is not followed."""
    return average(x, y)


# --- windows


@handler("conv1d", "conv2d", "conv3d")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    even = torch.full(weight.shape, 1 / weight[0].numel(), dtype=torch.float64)
    run = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
    return run(x, even, None, stride, padding, dilation, groups)


@handler("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Taps whose distance is a multiple of the stride fall on the same outputs, and share."""
    axes = weight.ndim - 2
    even = torch.full(weight.shape, groups / weight.shape[0], dtype=torch.float64)
    for k in range(axes):
        step, apart = (v if isinstance(v, int) else v[k % len(v)] for v in (stride, dilation))
        phases = [apart * t % step for t in range(weight.shape[2 + k])]
        share = torch.tensor([1 / phases.count(phase) for phase in phases], dtype=torch.float64)
        even = even * share.reshape(-1, *(1,) * (axes - 1 - k))
    run = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    return run(x, even, None, stride, padding, output_padding, groups, dilation)


@handler("max_pool1d", "max_pool2d", "max_pool3d")
def max_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The average with padding counted; what ceil mode reads beyond it does not count."""
    axes = x.ndim - 2
    size, step, margin, apart = (
        [v] * axes if isinstance(v, int) else list(v) * (axes // len(v))
        for v in (kernel_size, stride or kernel_size, padding, dilation)
    )
    out = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1](
        x.detach(), size, step, margin, apart, ceil_mode
    ).shape[2:]
    sides: list[int] = []
    beyond: list[int] = []
    for k in range(axes):
        room = (out[k] - 1) * step[k] + apart[k] * (size[k] - 1) + 1
        sides = [margin[k], margin[k], *sides]
        beyond = [0, max(0, room - x.shape[2 + k] - 2 * margin[k]), *beyond]
    wide = F.pad(x, sides)
    run = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    ones = torch.ones(x.shape[1], 1, *size, dtype=torch.float64)

    def summed(t: Tensor) -> Tensor:
        found = run(F.pad(t, beyond), ones, None, step, 0, apart, x.shape[1])
        return found[(..., *(slice(n) for n in out))]

    return summed(wide) / summed(torch.ones_like(wide))


@handler("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(x: Tensor, output_size: Any, return_indices: bool = False) -> Tensor:
    runs = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
    return runs[x.ndim - 3](x, output_size)


@handler("fold")
def fold(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The mean of the columns that lie over an element."""
    return F.fold(x, *args, **kwargs) / F.fold(torch.ones_like(x), *args, **kwargs)


# --- along dims


@handler("linear")
def linear(x: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    return x.mean(-1, keepdim=True).expand(*x.shape[:-1], weight.shape[0])


@handler("matmul", "__matmul__", "bmm")
def matmul(x: Tensor, y: Tensor) -> Tensor:
    shape = torch.matmul(x.detach(), y.detach()).shape
    parts = [t.mean(d, keepdim=True) for t, d in ((x, -1), (y, -2)) if t.requires_grad]
    return average(*(part.expand(shape) for part in parts))


@handler("sum", "amax", "amin", "logsumexp", "norm", "prod", "std", "var")
def reduction(x: Tensor, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Tensor:
    return x.mean() if dim is None else x.mean(dim, keepdim)


@handler("max", "min")
def extreme(x: Tensor, dim: int, keepdim: bool = False) -> Any:
    found = x.mean(dim, keepdim)
    return torch.return_types.max((found, found))


@handler("cumsum", "cumprod")
def cumulative(x: Tensor, dim: int) -> Tensor:
    count = torch.arange(1, x.shape[dim] + 1, dtype=torch.float64)
    return x.cumsum(dim) / count.reshape(-1, *(1,) * (x.ndim - 1 - dim % x.ndim))


@handler("softmax", "log_softmax")
def softmax(x: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
    return (x + x.mean(dim, keepdim=True)) / 2


@handler("layer_norm")
def layer_norm(x: Tensor, shape: Sequence[int], *args: Any, **kwargs: Any) -> Tensor:
    return (x + x.mean(tuple(range(-len(shape), 0)), keepdim=True)) / 2


@handler("group_norm")
def group_norm(x: Tensor, groups: int, *args: Any, **kwargs: Any) -> Tensor:
    each = x.unflatten(1, (groups, -1))
    mean = each.mean(tuple(range(2, each.ndim)), keepdim=True)
    return ((each + mean) / 2).flatten(1, 2)


@handler("instance_norm")
def instance_norm(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return (x + x.mean(tuple(range(2, x.ndim)), keepdim=True)) / 2


@handler("local_response_norm")
def local_response_norm(x: Tensor, size: int, *args: Any, **kwargs: Any) -> Tensor:
    """Divided by an average over neighbouring channels, which PyTorch pads with zeros."""
    spread = F.pad(x.flatten(2).mT, (size // 2, (size - 1) // 2))
    near = F.avg_pool1d(spread, size, 1).mT.reshape(x.shape)
    return (x + near) / 2


@handler("glu")
def glu(x: Tensor, dim: int = -1) -> Tensor:
    first, second = x.chunk(2, dim)
    return (first + second) / 2


@handler("scaled_dot_product_attention")
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **rest: Any,
) -> Tensor:
    """A query's own features, the features of its keys, and one feature of its values."""

    def keys(t: Tensor) -> Tensor:
        return cumulative(t, -2) if is_causal else t.mean(-2, keepdim=True)

    shape = (*q.shape[:-1], v.shape[-1])
    scores = []
    if q.requires_grad:
        scores.append(q.mean(-1, keepdim=True).expand(shape))
    if k.requires_grad:
        scores.append(keys(k.mean(-1, keepdim=True)).expand(shape))
    # One product of queries and keys, and one of that and the values.
    found = [average(*scores)] if scores else []
    if v.requires_grad:
        found.append(keys(v).expand(shape))
    return average(*found)


@handler("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrence(
    x: Tensor,
    hx: Any,
    params: Sequence[Tensor],
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    both: bool,
    batch_first: bool,
) -> Any:
    """Each step reads all features of the steps up to its own; the states are not looked at."""
    time = 1 if batch_first else 0
    state = hx[0] if isinstance(hx, (list, tuple)) else hx
    for _ in range(layers):
        even = x.mean(-1, keepdim=True)
        ways = [cumulative(even, time)]
        if both:
            ways.append(cumulative(even.flip(time), time).flip(time))
        x = torch.cat([way.expand(*way.shape[:-1], state.shape[-1]) for way in ways], -1)
    return (x, *(hx if isinstance(hx, (list, tuple)) else [hx]))


# --- gradients


def _first(out: Any) -> Tensor:
    while not isinstance(out, Tensor):
        out = next(iter(out.values())) if isinstance(out, Mapping) else out[0]
    return out


def masses(
    function: Callable[..., Any],
    shapes: Sequence[Sequence[int]],
    layer: str | None,
    unit_dims: Sequence[int],
    units: Sequence[Sequence[int]] | np.ndarray,
    axes: Sequence[Sequence[int]] | None = None,
    of: str | None = None,
) -> list[list[np.ndarray]]:
    """Per unit and input the gradient of the unit, an array over the input's axes.

    ``layer``: a submodule's name, None for what comes out first. ``units``: indices over ``unit_dims``, or one
    array of weights over all units. The other dims are averaged, those of the input added up. With ``of``, the
    gradient with respect to that submodule's output comes before those of the inputs, and is cut off there.
    """
    inputs = [torch.zeros(*s, dtype=torch.float64, requires_grad=True) for s in shapes]
    leaves = list(inputs)
    seen: dict[str, Tensor] = {}
    hooks = []
    if isinstance(function, nn.Module):
        function.requires_grad_(False)
        if of is not None:

            def replaced(module: Any, args: Any, out: Any) -> Tensor:
                leaves.insert(0, out.detach().requires_grad_())
                return leaves[0]

            hooks.append(function.get_submodule(of).register_forward_hook(replaced))
        if layer is not None:

            def kept(module: Any, args: Any, out: Any) -> None:
                seen["layer"] = _first(out)

            hooks.append(function.get_submodule(layer).register_forward_hook(kept))
    with Uniform():
        out = function(*inputs)
    for hook in hooks:
        hook.remove()
    target = _first(out) if layer is None else seen["layer"]
    others = tuple(d for d in range(target.ndim) if d not in unit_dims)
    united = target.mean(others) if others else target
    starts = []
    if isinstance(units, np.ndarray):
        starts.append((united * torch.from_numpy(units)).sum())
    else:
        starts = [united[tuple(at)] for at in units]
    found = []
    for start in starts:
        if not start.requires_grad:
            grads: Sequence[Tensor | None] = [None] * len(leaves)
        else:
            grads = torch.autograd.grad(start, leaves, retain_graph=True, allow_unused=True)
        row = []
        for k, (grad, leaf) in enumerate(zip(grads, leaves, strict=True)):
            k -= len(leaves) - len(inputs)
            along = range(2, leaf.ndim) if axes is None or k < 0 else axes[k]
            rest = tuple(d for d in range(leaf.ndim) if d not in along)
            full = torch.zeros_like(leaf) if grad is None else grad
            row.append((full.sum(rest) if rest else full).detach().numpy())
        found.append(row)
    assert all(math.isfinite(a.sum()) for row in found for a in row)
    return found
