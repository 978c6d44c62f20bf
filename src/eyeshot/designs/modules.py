"""Simple PyTorch modules as specs: ``nn.Sequential`` of windows and what goes with them.

A layer keeps the name that it has in the module. What a spec can't say is refused by name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from eyeshot.errors import EyeshotError

__all__ = ["spec_of"]

#: Pointwise modules with an operator of their own; any other name below is `pointwise`.
POINTWISE = {
    "Identity": "identity",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "SELU": "selu",
    "CELU": "celu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Mish": "mish",
    "Sigmoid": "sigmoid",
    "Hardsigmoid": "hard_sigmoid",
    "Hardswish": "hard_swish",
    "Hardtanh": "hard_tanh",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "LogSigmoid": "log_sigmoid",
    "Threshold": "threshold",
    "RReLU": "pointwise",
    "Hardshrink": "pointwise",
    "Softshrink": "pointwise",
    "Tanhshrink": "pointwise",
    "AlphaDropout": "dropout",
    "FeatureAlphaDropout": "dropout",
}
POOLS = {"MaxPool": "max_pool", "AvgPool": "avg_pool", "LPPool": "lp_pool"}
ADAPTIVE = {"AdaptiveAvgPool": "adaptive_avg_pool", "AdaptiveMaxPool": "adaptive_max_pool"}
MODES = {
    "nearest": "nearest",
    "nearest-exact": "nearest-exact",
    "linear": "linear",
    "bilinear": "linear",
    "trilinear": "linear",
    "bicubic": "cubic",
    "area": "area",
}
PADS = {
    "ConstantPad": "constant",
    "ZeroPad": "constant",
    "ReflectionPad": "reflect",
    "ReplicationPad": "replicate",
    "CircularPad": "circular",
}
FOOT = (
    "design takes specs, and nn.Sequential of convolutions, pooling, norms, activations, upsampling, dropout, "
    "flattening and linear layers"
)


def spec_of(source: Any, input: Any) -> tuple[dict[str, Any], str]:
    """The spec of a module, or of what a reference gives, and its title.

    The number of channels is the module's own; the sizes of the axes come from ``input``. Raises EyeshotError
    that names the part which a spec can't say.
    """
    title, default = type(source).__name__, None
    if isinstance(source, str):
        from eyeshot.frontends.references import load

        source, title, default = load(source)
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(source, torch.nn.Module):
        raise EyeshotError(f"can't design a value of type {type(source).__qualname__}: {FOOT}")
    leaves = list(_leaves(source, "", title))
    layers = {name: _layer(name, module, title) for name, module in leaves}
    axes, channels = _axes(leaves), _channels(leaves)
    if axes is None or channels is None:
        raise EyeshotError(f"{title}: it has no convolution, and nothing to design")
    spec: dict[str, Any] = {"name": title, "axes": axes}
    if input is not None:
        spec["input"] = [channels, *_sizes(input, axes)]
    elif default is not None:
        spec["input"] = [int(n) for n in default[1:]]
    return {**spec, "layers": layers}, title


def _leaves(module: Any, name: str, title: str) -> Iterator[tuple[str, Any]]:
    """The modules of nested sequences, in the order in which they run."""
    import torch

    if type(module) is torch.nn.Sequential or (
        isinstance(module, torch.nn.Sequential)
        and type(module).forward is torch.nn.Sequential.forward
    ):
        if module._forward_hooks or module._forward_pre_hooks:
            _refuse(name or "it", module, title)
        # By its own table: named_children() leaves out what is there twice.
        for key, child in module._modules.items():
            yield from _leaves(child, f"{name}.{key}" if name else key, title)
    else:
        yield name or type(module).__name__.lower(), module


def _refuse(name: str, module: Any, title: str, why: str = "") -> NoReturn:
    kind = type(module).__name__
    raise EyeshotError(f"{title}: {name} ({kind}) can't be written as a spec{why}; {FOOT}")


def _layer(name: str, module: Any, title: str) -> Any:
    import torch

    kind = type(module).__name__
    # A class of one's own may do anything, whatever its name.
    known = type(module).__module__.startswith("torch.nn.modules.")
    if not known or module._forward_hooks or module._forward_pre_hooks:
        _refuse(name, module, title)
    if kind in POINTWISE:
        return POINTWISE[kind]
    stem, axes = (kind[:-2], int(kind[-2])) if kind[-2:] in ("1d", "2d", "3d") else (kind, 0)
    build = BUILDERS.get(stem)
    if build is None:
        _refuse(name, module, title)
    try:
        made = build(module, axes)
    except _Unsayable as error:
        _refuse(name, module, title, f": {error}")
    assert isinstance(module, torch.nn.Module)
    return made


class _Unsayable(Exception):
    """A parameter that has no counterpart in a spec."""


def _conv(module: Any, axes: int) -> dict[str, Any]:
    made = {"op": "conv", "kernel": _short(module.kernel_size), "channels": module.out_channels}
    padding = module.padding
    made["padding"] = padding if isinstance(padding, str) else _short(padding)
    made["stride"], made["dilation"] = _short(module.stride), _short(module.dilation)
    made |= {"groups": module.groups, "padding_mode": module.padding_mode}
    return _lean(made)


def _transposed(module: Any, axes: int) -> dict[str, Any]:
    names = {"stride": "stride", "padding": "padding", "output_padding": "output_padding"}
    made = {"op": "conv_transpose", "kernel": _short(module.kernel_size)}
    made["channels"] = module.out_channels
    made |= {field: _short(getattr(module, own)) for field, own in names.items()}
    return _lean({**made, "dilation": _short(module.dilation), "groups": module.groups})


def _pool(module: Any, axes: int) -> dict[str, Any]:
    stem = type(module).__name__[:-2]
    if getattr(module, "return_indices", False):
        raise _Unsayable("return_indices")
    made: dict[str, Any] = {"op": POOLS[stem], "kernel": _all(module.kernel_size)}
    stride = _all(module.stride)
    if stride is not None and stride != made["kernel"]:
        made["stride"] = stride
    made["padding"] = _all(getattr(module, "padding", 0))
    made["dilation"] = _all(getattr(module, "dilation", 1))
    made["ceil_mode"] = module.ceil_mode
    return _lean(made, keep=("stride",))


def _adaptive(module: Any, axes: int) -> dict[str, Any] | str:
    size = _all(module.output_size)
    if getattr(module, "return_indices", False):
        raise _Unsayable("return_indices")
    if size is None or (isinstance(size, list) and None in size):
        raise _Unsayable("an output size that is the input's")
    op = ADAPTIVE[type(module).__name__[:-2]]
    return op.replace("adaptive", "global") if size == 1 else {"op": op, "size": size}


def _upsample(module: Any, axes: int) -> dict[str, Any]:
    made: dict[str, Any] = {"op": "upsample"}
    if module.size is not None:
        made["size"] = _all(module.size)
    else:
        scale = module.scale_factor
        each = [_whole(n) for n in (scale if isinstance(scale, tuple) else (scale,))]
        made["scale"] = each[0] if len(set(each)) == 1 else each
    made["mode"] = MODES[module.mode]
    return {**made, "align_corners": True} if module.align_corners else made


def _pad(module: Any, axes: int) -> dict[str, Any]:
    given = module.padding
    if isinstance(given, int):
        given = (given,) * (2 * axes)
    # PyTorch lists the last axis first.
    pairs = [list(given[k : k + 2]) for k in range(0, len(given), 2)][::-1]
    return _lean({"op": "pad", "padding": pairs, "mode": PADS[type(module).__name__[:-2]]})


def _flatten(module: Any, axes: int) -> Any:
    start, end = module.start_dim, module.end_dim
    return "flatten" if (start, end) == (1, -1) else {"op": "flatten", "start": start, "end": end}


def _layer_norm(module: Any, axes: int) -> dict[str, Any]:
    op = "layer_norm" if type(module).__name__ == "LayerNorm" else "rms_norm"
    return {"op": op, "dims": list(range(-len(module.normalized_shape), 0))}


def _softmax(module: Any, axes: int) -> dict[str, Any]:
    if module.dim is None:
        raise _Unsayable("a dim that is not given")
    op = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Softmin": "softmax"}
    return {"op": op[type(module).__name__], "dim": module.dim}


Builder = Callable[[Any, int], Any]
BUILDERS: Mapping[str, Builder] = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(ADAPTIVE, _adaptive),
    "Upsample": _upsample,
    "UpsamplingNearest": _upsample,
    "UpsamplingBilinear": _upsample,
    **dict.fromkeys(PADS, _pad),
    "Dropout": lambda module, axes: "dropout",
    "BatchNorm": lambda module, axes: "batch_norm",
    "SyncBatchNorm": lambda module, axes: "batch_norm",
    "InstanceNorm": lambda module, axes: "instance_norm",
    "GroupNorm": lambda module, axes: {"op": "group_norm", "groups": module.num_groups},
    "LayerNorm": _layer_norm,
    "RMSNorm": _layer_norm,
    "LocalResponseNorm": lambda module, axes: {"op": "local_response_norm", "size": module.size},
    "Flatten": _flatten,
    "Linear": lambda module, axes: {"op": "linear", "features": module.out_features},
    "PixelShuffle": lambda module, axes: {"op": "pixel_shuffle", "factor": module.upscale_factor},
    "PixelUnshuffle": lambda module, axes: {
        "op": "pixel_unshuffle",
        "factor": module.downscale_factor,
    },
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Softmin": _softmax,
}


def _short(values: tuple[int, ...]) -> Any:
    return values[0] if len(set(values)) == 1 else list(values)


def _all(value: Any) -> Any:
    """A number for all axes, or one per axis, as modules of pooling keep it."""
    return _short(tuple(value)) if isinstance(value, tuple | list) else value


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def _lean(made: dict[str, Any], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """Without what is the default anyway."""
    usual = {
        "stride": 1,
        "padding": 0,
        "dilation": 1,
        "groups": 1,
        "output_padding": 0,
        "padding_mode": "zeros",
        "ceil_mode": False,
        "mode": "constant",
    }
    return {k: v for k, v in made.items() if k in keep or k not in usual or v != usual[k]}


def _axes(leaves: list[tuple[str, Any]]) -> int | None:
    """How many axes the maps have: by the first layer whose class says so."""
    for _, module in leaves:
        kind = type(module).__name__
        if kind[-2:] in ("1d", "2d", "3d"):
            return int(kind[-2])
    return None


def _channels(leaves: list[tuple[str, Any]]) -> int | None:
    """The channels of the input: those of the first convolution, before which nothing changes them."""
    for _, module in leaves:
        if hasattr(module, "in_channels"):
            return int(module.in_channels)
    return None


def _sizes(input: Any, axes: int) -> list[int]:
    """The sizes of the axes in an input as people give it."""
    import re

    if isinstance(input, str):
        parts = re.split(r"[x×,]", input)
        if not all(part.strip().isdigit() for part in parts):
            raise EyeshotError(f"input: expected a shape like 3x224x224, got {input!r}")
        numbers = [int(part) for part in parts]
    elif isinstance(input, int):
        numbers = [input]
    else:
        try:
            numbers = [int(n) for n in getattr(input, "shape", input)]
        except (TypeError, ValueError):
            raise EyeshotError(f"input: expected a shape like 3x224x224, got {input!r}") from None
    if len(numbers) == 1:
        return numbers * axes
    if len(numbers) < axes:
        raise EyeshotError(
            f"input: {'x'.join(map(str, numbers))} does not fit a module of {axes} axes"
        )
    return numbers[-axes:]
