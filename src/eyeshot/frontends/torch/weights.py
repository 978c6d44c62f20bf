"""Trained weights from a file, loaded into a copy of a module without unpickling anything but tensors."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eyeshot.errors import EyeshotError

__all__ = ["loaded", "state_of"]

#: Where checkpoints keep the state dict, and what trainers put before every name in it.
PLACES = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "params")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
#: Names in a message.
SHOWN = 3


def loaded(module: torch.nn.Module, path: str | PathLike[str]) -> torch.nn.Module:
    """A copy of ``module`` with the weights of a ``.safetensors``, ``.pt`` or ``.pth`` file.

    Raises EyeshotError if the file can't be read, or does not hold exactly the weights that the module has.
    """
    state = state_of(path)
    wanted = module.state_dict()
    state = _unprefixed(state, wanted)
    _compare(state, wanted, path)
    try:
        made = copy.deepcopy(module)
    except Exception as error:
        raise EyeshotError(
            f"the module can't be copied, which weights= needs: {_line(error)}"
        ) from None
    bare = any(tensor.is_meta for tensor in (*made.parameters(), *made.buffers()))
    if bare:
        state = {name: _typed(tensor, wanted[name]) for name, tensor in state.items()}
    try:
        made.load_state_dict(state, strict=True, assign=bare)
    except Exception as error:
        raise EyeshotError(f"weights: {path}: {_line(error)}") from None
    missing = [
        name for name, tensor in (*made.named_parameters(), *made.named_buffers()) if tensor.is_meta
    ]
    if missing:
        raise EyeshotError(
            f"weights: {path}: the module was built without data, and the file has none for {_some(missing)}"
        )
    return made


def state_of(path: str | PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a file by name."""
    file = Path(path)
    if not file.is_file():
        raise EyeshotError(f"weights: {file}: there is no such file")
    suffix = file.suffix.lower()
    if suffix == ".safetensors":
        return _safetensors(file)
    if suffix not in (".pt", ".pth", ".bin", ".ckpt", ".tar"):
        raise EyeshotError(f"weights: {file}: expected a .safetensors, .pt or .pth file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that it then refuses
            held = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise EyeshotError(
            f"weights: {file}: it holds more than tensors, or is damaged, and is not unpickled; save "
            "module.state_dict(), or a .safetensors file"
        ) from None
    except Exception as error:
        raise EyeshotError(f"weights: {file}: can't be read: {_line(error)}") from None
    found = _state(held)
    if not found:
        raise EyeshotError(f"weights: {file}: there is no state dict in it")
    return found


def _safetensors(file: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "safetensors":
            raise
        raise EyeshotError(
            f"weights: {file}: needs the safetensors package: pip install safetensors"
        ) from None
    try:
        return dict(load_file(file))
    except Exception as error:
        raise EyeshotError(f"weights: {file}: can't be read: {_line(error)}") from None


def _state(held: Any, depth: int = 0) -> dict[str, Tensor]:
    """The state dict in what a file holds."""
    if not isinstance(held, Mapping) or depth > 2:
        return {}
    for place in PLACES:
        found = _state(held.get(place), depth + 1)
        if found:
            return found
    return {str(name): value for name, value in held.items() if isinstance(value, Tensor)}


def _unprefixed(state: dict[str, Tensor], wanted: Mapping[str, Any]) -> dict[str, Tensor]:
    """Without what a trainer's wrapper has put before every name, if that is what it takes to fit."""
    for _ in range(len(PREFIXES)):
        if state.keys() & wanted.keys():
            return state
        for prefix in PREFIXES:
            if state and all(name.startswith(prefix) for name in state):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
                break
    return state


def _compare(state: dict[str, Tensor], wanted: Mapping[str, Any], path: object) -> None:
    """Names and shapes must be those of the module."""
    missing = [name for name in wanted if name not in state]
    extra = [name for name in state if name not in wanted]
    if missing or extra:
        parts = []
        if missing:
            parts.append(f"lacks {_some(missing)}")
        if extra:
            parts.append(f"has {_some(extra)}, which the module has not")
        raise EyeshotError(f"weights: {path}: it {' and '.join(parts)}")
    for name, tensor in state.items():
        mine = getattr(wanted[name], "shape", None)
        if mine is not None and tuple(mine) != tuple(tensor.shape):
            raise EyeshotError(
                f"weights: {path}: {name} is {_shape(tensor.shape)}, but the module's is {_shape(mine)}"
            )


def _typed(tensor: Tensor, like: Any) -> Tensor:
    return tensor.to(like.dtype) if isinstance(like, Tensor) else tensor


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
