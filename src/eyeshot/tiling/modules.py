"""PyTorch modules made ready to run: built, with their weights, on a device, in a dtype; and twins of them.

A twin shares the parameters' memory and nothing else: whatever becomes of it, the module stays as it is.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from eyeshot.errors import EyeshotError

__all__ = [
    "Inner",
    "built",
    "floating",
    "has_data",
    "input_dtype",
    "placed",
    "settled",
    "tensors_of",
    "tokens",
    "twin",
    "whole",
]


class Inner(EyeshotError):
    """The output that was asked for is a layer's that the network does not return."""


def built(source: str) -> tuple[Any, str, Any]:
    """The module of a reference. Its random weights are the same each time."""
    from eyeshot.api import resolve
    from eyeshot.frontends.references.building import _same_random_numbers

    with _same_random_numbers():
        return resolve(source, real=True)


def whole(module: Any) -> Any:
    """A module that has all its parameters; functions are wrapped."""
    from eyeshot.frontends.torch.build import _module

    return _module(module)


def twin(module: Any) -> Any:
    """A copy that shares the parameters' memory and has everything else of its own, buffers too."""
    import torch

    memo: dict[int, Any] = {}
    for tensor in _held(module):
        if isinstance(tensor, torch.nn.Parameter):
            shared = torch.nn.Parameter(tensor.detach(), requires_grad=False)
            memo[id(tensor)] = shared
        else:
            memo[id(tensor)] = tensor.detach().clone()
    try:
        with torch.no_grad():
            return copy.deepcopy(module, memo)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise EyeshotError(
            f"the module can't be copied, which running it apart from yours needs: {text}"
        ) from None


def _held(module: Any) -> list[Any]:
    from eyeshot.frontends.torch.build import _own_tensors

    return _own_tensors(module)


def tensors_of(module: Any) -> list[Any]:
    return [*module.parameters(), *module.buffers()]


def has_data(module: Any) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_meta:
            raise EyeshotError(
                f"the module is on the meta device ({name}): its weights are needed as data"
            )


def settled(module: Any) -> None:
    """Weights that are computed of others (weight norm and such) computed once; else they can't be pickled.

    PyTorch's own way to do so changes the class, which is the user's module's, too.
    """
    import torch
    from torch.nn.utils import parametrize

    for m in list(module.modules()):
        if not parametrize.is_parametrized(m) or not type(m).__name__.startswith("Parametrized"):
            continue
        with torch.no_grad():
            made = {name: getattr(m, name).detach().clone() for name in m.parametrizations}
        del m._modules["parametrizations"]
        m.__class__ = type(m).__bases__[0]
        m._load_state_dict_pre_hooks.clear()  # what brings old checkpoints to the names that are gone
        for name, value in made.items():
            m.register_parameter(name, torch.nn.Parameter(value, requires_grad=False))


def placed(module: Any, device: str | None, dtype: str | None) -> Any:
    """On the device and in the dtype; the module is a twin, so that only its own parameters change."""
    import torch

    if dtype is not None:
        target = getattr(torch, dtype)
        # Floating point only: what counts, masks and complex numbers stay as they are.
        module = module._apply(lambda t: t.to(target) if t.is_floating_point() else t)
    if device is None:
        return module
    from eyeshot.frontends.torch.devices import device as usable

    where = usable(device)
    try:
        return module.to(where)
    except RuntimeError as error:
        text = " ".join(str(error).split())[:200]
        raise EyeshotError(f"device: {device}: the weights can't be put there: {text}") from None


def floating(module: Any, wanted: str | None = None) -> Any:
    """The module's dtype of floating-point numbers: that of its first parameter of such.

    One that has none computes in whatever it is given: ``wanted``, or PyTorch's default.
    """
    import torch

    for tensor in tensors_of(module):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.get_default_dtype() if wanted is None else getattr(torch, wanted)


def input_dtype(module: Any, wanted: str | None = None) -> np.dtype[Any]:
    """What goes in: numbers of the module's dtype, see :func:`floating`; of tokens, integers."""
    from eyeshot.frontends.torch.inputs import _reads_tokens

    if _reads_tokens(module):
        return np.dtype(np.int64)
    name = str(floating(module, wanted)).removeprefix("torch.")
    return np.dtype("float32" if name == "bfloat16" else name)


def tokens(module: Any) -> int:
    """How many tokens there are: what the smallest table of embeddings holds."""
    import torch

    sizes = (m.num_embeddings for m in module.modules() if isinstance(m, torch.nn.Embedding))
    return min(sizes, default=2)
