"""The same specs run by PyTorch itself, in float64, and probed by poisoning inputs with NaN.

This oracle lets PyTorch say what its operators do. It shares no rule with ``brute_force``, and it
refuses (``NotImplementedError``) what PyTorch has no operator for, or what a NaN cannot show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Shape = tuple[int, ...]

POINTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "dropout": lambda x: F.dropout(x, training=False),
    "identity": torch.nn.Identity(),
    "pointwise": lambda x: x * 1.5 + 0.5,
}
JOINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
}
# A NaN is moved to the end by a sort, and hidden by a comparison.
UNSHOWN = frozenset(["maximum", "minimum", "where", "sort"])
PAD_MODES = {"zeros": "constant", "constant": "constant"}


class Model:
    """A spec as a callable: inputs by position, all layers' values out, by name."""

    def __init__(self, spec: Mapping, shape: Mapping | None = None) -> None:
        full = "layers" in spec
        given = {"input": spec["input"]} if full and "input" in spec else {}
        given.update(spec.get("inputs", {}) if full else {})
        given.update(shape or {})
        self.inputs: dict[str, Shape] = {name: _tensor_shape(v) for name, v in given.items()}
        self.layers: dict[str, tuple[dict, list[str]]] = {}
        entries = spec["layers"] if full else spec
        if not isinstance(entries, Mapping):
            entries = {entry["name"]: entry for entry in entries}
        last = next(iter(self.inputs))
        for name, entry in entries.items():
            if isinstance(entry, str):
                entry = {"op": entry}
            elif isinstance(entry, (list, tuple)):
                entry = dict(zip(("kernel", "stride", "padding"), entry, strict=True), op="conv")
            reads = entry.get("inputs", [last])
            self.layers[name] = (entry, [reads] if isinstance(reads, str) else list(reads))
            last = name
        self.random = torch.Generator().manual_seed(20)
        self.weights: dict[str, Any] = {}
        self.rounds = False  # whether floating point decides what some upsampling reads

    def __call__(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Run the model; layers may stand in any order."""
        values = dict(zip(self.inputs, inputs, strict=True))

        def value(name: str) -> Tensor:
            if name not in values:
                layer, reads = self.layers[name]
                values[name] = self.apply(name, layer, [value(source) for source in reads])
            return values[name]

        with torch.no_grad():
            return {name: value(name) for name in self.layers}

    def weight(self, name: str, *size: int) -> Tensor:
        """A layer's weights: drawn once, and never near zero."""
        if name not in self.weights:
            drawn = torch.rand(size, dtype=torch.float64, generator=self.random)
            self.weights[name] = (drawn + 0.5) / math.prod(size)
        return self.weights[name]

    def apply(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        """One layer, by PyTorch."""
        op = layer["op"]
        if op in POINTWISE:
            return POINTWISE[op](xs[0])
        if op in JOINS or (op in UNSHOWN and op != "sort"):
            return self._join(op, xs)
        if op == "batch_norm":
            channels = xs[0].shape[1]
            ones = torch.ones(channels, dtype=torch.float64)
            return F.batch_norm(xs[0], ones * 0.1, ones * 2)
        method = getattr(self, f"_{op}", None)
        if method is None:
            raise NotImplementedError(op)
        return method(name, layer, xs)

    def _join(self, op: str, xs: Sequence[Tensor]) -> Tensor:
        if op == "where":
            return torch.where(xs[0] > 0, xs[1], xs[2])
        function = JOINS.get(op) or getattr(torch, op)
        result = xs[0]
        for x in xs[1:]:
            result = function(result, x)
        return result

    # Windows -------------------------------------------------------------------------------------

    def _conv(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        x = xs[0]
        axes, channels = x.ndim - 2, x.shape[1]
        _check(1 <= axes <= 3, "conv of 1 to 3 axes")
        groups, filters = layer.get("groups", 1), layer.get("channels", channels)
        kernel, stride, dilation, edges = _window(layer, x, 1)
        mode = layer.get("padding_mode", "zeros")
        weight = self.weight(name, filters, channels // groups, *kernel)
        x = _pad(x, edges, PAD_MODES.get(mode, mode))
        conv = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
        return conv(x, weight, stride=stride, dilation=dilation, groups=groups)

    def _conv_transpose(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        x = xs[0]
        axes, channels = x.ndim - 2, x.shape[1]
        _check(1 <= axes <= 3, "conv_transpose of 1 to 3 axes")
        groups, filters = layer.get("groups", 1), layer.get("channels", channels)
        kernel = _each(layer["kernel"], axes)
        weight = self.weight(name, channels, filters // groups, *kernel)
        conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
        edges = _edges(layer.get("padding", 0), axes)
        even = all(begin == end for begin, end in edges)
        result = conv(
            x,
            weight,
            stride=_each(layer.get("stride", 1), axes),
            padding=[begin for begin, _ in edges] if even else 0,
            output_padding=_each(layer.get("output_padding", 0), axes),
            groups=groups,
            dilation=_each(layer.get("dilation", 1), axes),
        )
        return result if even else _pad(result, [(-begin, -end) for begin, end in edges])

    def _pool(self, layer: Mapping, x: Tensor) -> tuple[Tensor, dict]:
        _check(1 <= x.ndim - 2 <= 3, "a pool of 1 to 3 axes")
        kernel, stride, dilation, edges = _window(layer, x, layer["kernel"])
        options = {"kernel_size": kernel, "stride": stride, "dilation": dilation}
        options["ceil_mode"] = layer.get("ceil_mode", False)
        native = all(
            b == e <= k // 2 and k <= n  # avg_pool3d wants the kernel in the input itself
            for (b, e), k, n in zip(edges, kernel, x.shape[2:], strict=True)
        )
        if native:
            options["padding"] = [begin for begin, _ in edges]
        else:
            # The last window may not begin in the end padding, which only native padding can tell.
            _check(not options["ceil_mode"], "ceil_mode with uneven padding")
            x, options["padding"] = _pad(x, edges), 0
        return x, options

    def _max_pool(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        x, options = self._pool(layer, xs[0])
        return (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.ndim - 3](x, **options)

    def _avg_pool(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        x, options = self._pool(layer, xs[0])
        _check(set(options.pop("dilation")) == {1}, "avg_pool with dilation")
        return (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.ndim - 3](x, **options)

    def _lp_pool(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        x, options = self._pool(layer, xs[0])
        _check(set(options.pop("dilation")) == {1}, "lp_pool with dilation")
        _check(not np.any(options.pop("padding")), "lp_pool with padding")
        if x.ndim == 3:  # lp_pool1d takes numbers only
            options["kernel_size"], options["stride"] = (
                options["kernel_size"][0],
                options["stride"][0],
            )
        return (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)[x.ndim - 3](x, 2.0, **options)

    def _adaptive_avg_pool(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        axes = xs[0].ndim - 2
        _check(1 <= axes <= 3, "a pool of 1 to 3 axes")
        pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[axes - 1]
        return pool(xs[0], _each(layer["size"], axes))

    def _adaptive_max_pool(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        axes = xs[0].ndim - 2
        _check(1 <= axes <= 3, "a pool of 1 to 3 axes")
        pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[axes - 1]
        return pool(xs[0], _each(layer["size"], axes))

    def _global_avg_pool(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return self._adaptive_avg_pool(name, {"size": 1}, xs)

    def _global_max_pool(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return self._adaptive_max_pool(name, {"size": 1}, xs)

    def _upsample(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        x, mode = xs[0], layer.get("mode", "nearest")
        axes = x.ndim - 2
        _check(1 <= axes <= 3, "upsampling of 1 to 3 axes")
        names = {
            "linear": ("linear", "bilinear", "trilinear")[axes - 1],
            "cubic": "bicubic" if axes == 2 else None,
        }
        mode = names.get(mode, mode)
        _check(mode is not None, "cubic upsampling of other than 2 axes")
        corners = layer.get("align_corners", False) if "linear" in mode or "cubic" in mode else None
        self.rounds |= _lands(layer, x.shape[2:])
        if "size" in layer:
            size = _each(layer["size"], axes)
            return F.interpolate(x, size=size, mode=mode, align_corners=corners)
        scale = [float(value) for value in _each(layer["scale"], axes)]
        for n, factor in zip(x.shape[2:], scale, strict=True):
            # Where a scale only rounds to these sizes, some of PyTorch's kernels (2 axes, or
            # channels last) take the whole factor in its place, and others do not.
            rounded = {1: 1.0, 2: 2.0}.get(int(n * factor) / n, factor)
            _check(
                mode != "nearest" or axes == 1 or rounded == factor,
                "PyTorch does not agree with itself",
            )
        return F.interpolate(x, scale_factor=scale, mode=mode, align_corners=corners)

    # Moving elements -----------------------------------------------------------------------------

    def _pad(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        edges = _edges(layer["padding"], xs[0].ndim - 2)
        return _pad(xs[0], edges, layer.get("mode", "constant"))

    def _crop(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        edges = _edges(layer["margin"], xs[0].ndim - 2)
        return _pad(xs[0], [(-begin, -end) for begin, end in edges])

    def _slice(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        at: list = [slice(None)] * xs[0].ndim
        at[layer["dim"]] = slice(layer.get("start", 0), layer.get("stop"), layer.get("step", 1))
        return xs[0][tuple(at)]

    def _index(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].index_select(layer["dim"], torch.tensor(layer["index"]))

    def _select(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].select(layer["dim"], layer["index"])

    def _flip(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].flip(_dims(layer, xs[0]))

    def _roll(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        dims = _dims(layer, xs[0])
        return xs[0].roll(_each(layer["shift"], len(dims)), dims)

    def _pixel_shuffle(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return F.pixel_shuffle(xs[0], _block(layer, xs[0]))

    def _pixel_unshuffle(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return F.pixel_unshuffle(xs[0], _block(layer, xs[0]))

    def _channel_shuffle(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return torch.channel_shuffle(xs[0], layer["groups"])

    def _flatten(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].flatten(layer.get("start", 1), layer.get("end", -1))

    def _reshape(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].reshape(layer["shape"])

    def _permute(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].permute(layer["order"])

    def _squeeze(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].squeeze(layer["dim"])

    def _unsqueeze(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].unsqueeze(layer["dim"])

    def _concat(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(xs), layer.get("dim", 1))

    # Mixing --------------------------------------------------------------------------------------

    def _mean(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].mean(_dims(layer, xs[0]), layer.get("keepdim", False))

    def _sum(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].sum(_dims(layer, xs[0]), layer.get("keepdim", False))

    def _amax(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].amax(_dims(layer, xs[0]), layer.get("keepdim", False))

    def _amin(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].amin(_dims(layer, xs[0]), layer.get("keepdim", False))

    def _layer_norm(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return self._norm(F.layer_norm, layer, xs[0])

    def _rms_norm(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return self._norm(F.rms_norm, layer, xs[0])

    def _norm(self, function: Callable, layer: Mapping, x: Tensor) -> Tensor:
        # PyTorch normalises the last dims, so the others move to the front.
        dims = [dim % x.ndim for dim in layer.get("dims", range(1, x.ndim))]
        order = [dim for dim in range(x.ndim) if dim not in dims] + dims
        moved = x.permute(order)
        back = [order.index(dim) for dim in range(x.ndim)]
        return function(moved, moved.shape[x.ndim - len(dims) :]).permute(back)

    def _group_norm(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        _check(xs[0].numel() > xs[0].shape[0] * layer["groups"], "group_norm of one element")
        return F.group_norm(xs[0], layer["groups"])

    def _instance_norm(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        _check(math.prod(xs[0].shape[2:]) > 1, "instance_norm of one element")
        return F.instance_norm(xs[0])

    def _local_response_norm(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return F.local_response_norm(xs[0].contiguous(), layer["size"])

    def _softmax(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].softmax(layer.get("dim", 1))

    def _log_softmax(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].log_softmax(layer.get("dim", 1))

    def _linear(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        moved = xs[0].movedim(layer.get("dim", -1), -1)
        weight = self.weight(name, layer["features"], moved.shape[-1])
        return F.linear(moved, weight).movedim(-1, layer.get("dim", -1))

    def _rnn(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return self._recurrent(torch.nn.RNN, name, layer, xs[0])

    def _lstm(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return self._recurrent(torch.nn.LSTM, name, layer, xs[0])

    def _gru(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return self._recurrent(torch.nn.GRU, name, layer, xs[0])

    def _recurrent(self, kind: type, name: str, layer: Mapping, x: Tensor) -> Tensor:
        dim = layer.get("dim", -1) % x.ndim
        features = x.ndim - 1 if dim == 1 else 1
        channels = x.shape[features]
        if name not in self.weights:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(20)
                self.weights[name] = kind(
                    channels,
                    layer.get("channels", channels),
                    batch_first=True,
                    bidirectional=layer.get("bidirectional", False),
                    dtype=torch.float64,
                )
        # The axes that are not time belong to the batch.
        moved = x.movedim((dim, features), (-2, -1))
        result, _ = self.weights[name](moved.reshape(-1, *moved.shape[-2:]))
        return result.reshape(*moved.shape[:-1], result.shape[-1]).movedim(
            (-2, -1), (dim, features)
        )

    def _attention(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        x, kind = xs[0], layer.get("kind", "full")
        _check(len(xs) <= 2, "attention over several contexts")
        dims = _dims(layer, x)
        features = x.ndim - 1 if 1 in dims else 1
        queries, sizes = _tokens(x, dims, features)
        keys, _ = _tokens(xs[-1], dims, features)
        width = 3
        q = queries @ self.weight(f"{name} q", queries.shape[-1], width)
        k = keys @ self.weight(f"{name} k", keys.shape[-1], width)
        v = keys @ self.weight(f"{name} v", keys.shape[-1], width)
        if kind == "full":
            mixed = _attend(q, k, v)
        elif kind == "causal":
            mixed = _by_query(q, k, v, lambda i: range(i + 1))
        elif kind == "sliding":
            _check(len(dims) == 1, "a sliding window over one dim")
            reach = _each(layer["window"], 1)[0] // 2
            count = q.shape[-2]
            mixed = _by_query(
                q, k, v, lambda i: range(max(i - reach, 0), min(i + reach + 1, count))
            )
        else:
            windows, shifts = (
                _each(layer["window"], len(dims)),
                _each(layer.get("shift", 0), len(dims)),
            )
            mixed = _by_window(q, k, v, sizes, windows, shifts)
        out = mixed @ self.weight(f"{name} o", width, layer.get("channels", x.shape[features]))
        # Back from (*others, tokens, channels) to the layout of the input.
        others = [dim for dim in range(x.ndim) if dim != features and dim not in dims]
        spread = out.reshape(*[x.shape[dim] for dim in others], *sizes, out.shape[-1])
        order = [*others, *dims, features]
        return spread.permute([order.index(dim) for dim in range(x.ndim)])

    def _cumsum(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].cumsum(layer.get("dim", -1))

    def _cumprod(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].cumprod(layer.get("dim", -1))

    def _cummax(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].cummax(layer.get("dim", -1)).values

    def _cummin(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return xs[0].cummin(layer.get("dim", -1)).values

    def _sort(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        dims = _dims(layer, xs[0])
        _check(len(dims) == 1, "a sort of one dim")
        return xs[0].sort(dims[0]).values

    def _fft(self, name: str, layer: Mapping, xs: Sequence[Tensor]) -> Tensor:
        return torch.fft.fftn(xs[0], dim=_dims(layer, xs[0])).abs()


def build(spec: Mapping, shape: Mapping | None = None) -> Model:
    """The spec as a PyTorch callable; what PyTorch lacks raises NotImplementedError when run."""
    return Model(spec, shape)


def sizes(spec: Mapping, shape: Mapping | None = None) -> dict[str, Shape]:
    """The shape of every layer, as PyTorch computes it."""
    model = build(spec, shape)
    return {name: tuple(value.shape) for name, value in model(*_plain(model)).items()}


def poison(spec: Mapping, layer: str, shape: Mapping | None = None) -> np.ndarray:
    """Which elements of a layer a NaN in one input element reaches: ``[*layer, input elements]``.

    Input elements are numbered input after input. One run each: no operator may mix two probes.
    """
    return poison_all(spec, shape)[layer]


def poison_all(
    spec: Mapping, shape: Mapping | None = None, strict: bool = False
) -> dict[str, np.ndarray]:
    """``poison`` of every layer, from the same runs.

    With ``strict`` it refuses an upsampling whose reads hang on a rounding error of PyTorch's.
    """
    model = build(spec, shape)
    for entry, _ in model.layers.values():
        _check(entry["op"] not in UNSHOWN, f"a NaN cannot show {entry['op']}")
    clean = _plain(model)
    if not all(torch.isfinite(value).all() for value in model(*clean).values()):
        raise ValueError("the model is not finite without poison")
    _check(not (strict and model.rounds), "a rounding error decides")
    reached: dict[str, list[np.ndarray]] = {name: [] for name in model.layers}
    for which, x in enumerate(clean):
        for element in range(x.numel()):
            poisoned = [each.clone() for each in clean]
            poisoned[which].view(-1)[element] = math.nan
            for name, value in model(*poisoned).items():
                reached[name].append(value.isnan().numpy())
    return {name: np.stack(found, axis=-1) for name, found in reached.items()}


def _plain(model: Model) -> list[Tensor]:
    random = torch.Generator().manual_seed(4)
    return [
        torch.rand(shape, dtype=torch.float64, generator=random) + 0.5
        for shape in model.inputs.values()
    ]


def _check(condition: bool, what: str) -> None:
    if not condition:
        raise NotImplementedError(what)


def _tensor_shape(value: Any) -> Shape:
    if isinstance(value, str):
        return (1, *(int(part) for part in value.split("x")))
    return (1, 1, value) if isinstance(value, int) else (1, *value)


def _each(value: Any, count: int) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value] * count


def _edges(value: Any, count: int) -> list[tuple[int, int]]:
    return [(v, v) if isinstance(v, int) else (v[0], v[1]) for v in _each(value, count)]


def _dims(layer: Mapping, x: Tensor) -> list[int]:
    return [dim % x.ndim for dim in layer.get("dims", range(2, x.ndim))]


def _window(
    layer: Mapping, x: Tensor, stride: Any
) -> tuple[list[int], list[int], list[int], list[tuple[int, int]]]:
    """Kernel, stride, dilation and edges per axis; the words become numbers."""
    axes = x.ndim - 2
    kernel = _each(layer["kernel"], axes)
    strides = _each(layer.get("stride", stride), axes)
    dilation = _each(layer.get("dilation", 1), axes)
    padding = layer.get("padding", 0)
    if not isinstance(padding, str):
        return kernel, strides, dilation, _edges(padding, axes)
    edges = []
    for n, k, s, d in zip(x.shape[2:], kernel, strides, dilation, strict=True):
        reach = (k - 1) * d
        # TensorFlow's rule: what the last of ceil(n/s) windows lacks.
        lack = max(reach + 1 - (s if n % s == 0 else n % s), 0)
        small, large = lack // 2, lack - lack // 2
        word = {"valid": (0, 0), "same": (small, large), "same_lower": (large, small)}
        edges.append((reach, 0) if padding == "causal" else word[padding])
    return kernel, strides, dilation, edges


def _pad(x: Tensor, edges: Sequence[tuple[int, int]], mode: str = "constant") -> Tensor:
    if not np.any(edges):
        return x
    if mode != "constant":
        _check(x.ndim <= 5, "padding of 1 to 3 axes")
    flat = [value for begin, end in reversed(edges) for value in (begin, end)]
    return F.pad(x, flat, mode=mode)


def _lands(layer: Mapping, sizes: Sequence[int]) -> bool:
    """Whether some place of an upsampling is a whole number that floating point may miss."""
    mode, corners = layer.get("mode", "nearest"), layer.get("align_corners", False)
    half = Fraction(1, 2)
    for axis, n in enumerate(sizes):
        if "size" in layer:
            m = _each(layer["size"], len(sizes))[axis]
            step = Fraction(n, m)
            binary = _binary(step)
        else:
            factor = Fraction(str(_each(layer["scale"], len(sizes))[axis]))
            m, step = int(n * factor), 1 / factor
            binary = _binary(step) and _binary(factor)
        if corners and m > 1:
            step = Fraction(n - 1, m - 1)
            binary = _binary(step)
        before = 0 if mode == "nearest" or corners else half
        after = half if mode in ("linear", "cubic") and not corners else 0
        places = [(i + before) * step - after for i in range(m)]
        if mode != "area" and not binary and any(place.denominator == 1 for place in places):
            return True
    return False


def _binary(value: Fraction) -> bool:
    """Whether floating point holds a fraction exactly."""
    return value.denominator & (value.denominator - 1) == 0


def _block(layer: Mapping, x: Tensor) -> int:
    """The factor of a pixel shuffle: PyTorch has one for both axes."""
    _check(x.ndim == 4, "pixel shuffles of 2 axes")
    factor, other = _each(layer["factor"], 2)
    _check(factor == other, "pixel shuffles with a factor per axis")
    return factor


def _tokens(x: Tensor, dims: Sequence[int], features: int) -> tuple[Tensor, list[int]]:
    """As (*other dims, tokens, features), and the sizes of the dims that tokens come from."""
    others = [dim for dim in range(x.ndim) if dim != features and dim not in dims]
    moved = x.permute(*others, *dims, features)
    return moved.flatten(len(others), -2), [x.shape[dim] for dim in dims]


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    # Not F.scaled_dot_product_attention: its fused kernel loses the NaN of a query.
    return (q @ k.transpose(-1, -2)).softmax(-1) @ v


def _by_query(q: Tensor, k: Tensor, v: Tensor, seen: Callable[[int], range]) -> Tensor:
    # A mask would multiply the NaN of a hidden value by zero and so show it: leave values out.
    parts = []
    for i in range(q.shape[-2]):
        keys = list(seen(i))
        parts.append(_attend(q[..., i : i + 1, :], k[..., keys, :], v[..., keys, :]))
    return torch.cat(parts, dim=-2)


def _by_window(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sizes: Sequence[int],
    windows: Sequence[int],
    shifts: Sequence[int],
) -> Tensor:
    """Swin's way: roll by minus the shift, cut into windows, attend, and undo both."""
    lead, count = q.ndim - 2, len(sizes)
    blocks = [part for n, w in zip(sizes, windows, strict=True) for part in (n // w, w)]
    places = list(range(lead, lead + count))
    order = [lead + 2 * i for i in range(count)] + [lead + 2 * i + 1 for i in range(count)]
    order = [*range(lead), *order, lead + 2 * count]

    def cut(x: Tensor) -> Tensor:
        x = x.unflatten(-2, list(sizes)).roll([-shift for shift in shifts], places)
        x = x.reshape(*x.shape[:lead], *blocks, x.shape[-1]).permute(order)
        return x.reshape(*x.shape[:lead], -1, math.prod(windows), x.shape[-1])

    mixed = _attend(cut(q), cut(k), cut(v))
    parts = [n // w for n, w in zip(sizes, windows, strict=True)]
    mixed = mixed.reshape(*mixed.shape[:lead], *parts, *windows, mixed.shape[-1])
    mixed = mixed.permute([order.index(i) for i in range(mixed.ndim)])
    mixed = mixed.reshape(*mixed.shape[:lead], *sizes, mixed.shape[-1])
    mixed = mixed.roll(list(shifts), places)
    return mixed.flatten(lead, -2)
