"""What tells one PyTorch module from another: its classes and their code, plain attributes, and all numbers."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

__all__ = ["hash_tensor", "structure"]


def structure(module: Any, output: str | None, training: bool | None) -> bytes:
    """A hash over all but the parameters: classes, their code, plain attributes, buffers.

    It is taken before the module runs, since some keep what they have computed.
    """
    digest = hashlib.sha256(f"eyeshot torch {output!r} {training!r}\n".encode())
    for name, m in module.named_modules():
        kind = type(m)
        # Not the qualified name: cloudpickle drops "function.<locals>." on the way to another process.
        line = f"module {name} {kind.__module__}.{kind.__name__} {m.extra_repr()}"
        digest.update(f"{line}\n".encode())
        for key in sorted(m.__dict__):
            value = m.__dict__[key]
            if _is_code(value):
                _hash_code(digest, value)
            elif not key.startswith("_") and key != "training":
                _hash_value(digest, f"{name}.{key}", value)
        for cls in kind.__mro__:
            if not cls.__module__.startswith(("torch.", "builtins")):
                for key in sorted(vars(cls)):
                    if _is_code(vars(cls)[key]):
                        _hash_code(digest, vars(cls)[key])
    for name, buffer in module.named_buffers(remove_duplicate=False):
        hash_tensor(digest, f"buffer {name}", buffer)
    return digest.digest()


def _is_code(value: Any) -> bool:
    return hasattr(getattr(value, "__func__", value), "__code__")


def _hash_code(digest: Any, value: Any) -> None:
    digest.update(_code(getattr(value, "__func__", value).__code__).encode())


def _code(code: Any) -> str:
    """What a function does, without where it stands."""
    parts = [code.co_name, code.co_code.hex(), " ".join(code.co_names)]
    return "\n".join([*parts, *(_constant(value) for value in code.co_consts)])


def _constant(value: Any) -> str:
    if hasattr(value, "co_code"):
        return _code(value)
    if isinstance(value, frozenset):  # its order is another in each process
        return " ".join(sorted(map(repr, value)))
    return repr(value)


def _hash_value(digest: Any, name: str, value: Any, depth: int = 0) -> None:
    """Numbers, texts and arrays, and containers of them; other objects count by their class alone."""
    import torch

    if isinstance(value, torch.nn.Module):
        return
    if isinstance(value, torch.Tensor):
        hash_tensor(digest, f"tensor {name}", value)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        digest.update(f"array {name} {value.dtype} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    elif isinstance(value, list | tuple) and depth < 8:
        digest.update(f"{type(value).__name__} {name} {len(value)}\n".encode())
        for k, item in enumerate(value):
            _hash_value(digest, f"{name}[{k}]", item, depth + 1)
    elif isinstance(value, dict) and depth < 8:
        digest.update(f"dict {name} {len(value)}\n".encode())
        for key, item in value.items():
            _hash_value(digest, f"{name}[{key!r}]" if _plain(key) else name, item, depth + 1)
    elif _plain(value):
        digest.update(f"value {name} {value!r}\n".encode())
    else:
        digest.update(f"object {name} {type(value).__name__}\n".encode())


def _plain(value: Any) -> bool:
    import torch

    return value is None or isinstance(value, bool | int | float | complex | str | torch.dtype)


def hash_tensor(digest: Any, name: str, tensor: Any) -> None:
    """A tensor's dtype, shape and bytes, without a copy where it lies in one piece on the CPU."""
    import torch

    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    held = tensor.detach().resolve_conj().resolve_neg()
    if held.layout is not torch.strided:
        held = held.to_dense()
    if held.numel():
        held = held.cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(memoryview(held.numpy()))
