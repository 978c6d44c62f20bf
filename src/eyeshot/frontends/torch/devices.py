"""Devices by name, refused in one line where they can't be used."""

from __future__ import annotations

from typing import Any

import torch

from eyeshot.errors import EyeshotError

__all__ = ["device"]


def device(name: Any) -> torch.device:
    """The device of this name, or the device itself, on which numbers can be computed.

    Raises :class:`~eyeshot.errors.EyeshotError` where there is none, or PyTorch doesn't see it.
    """
    try:
        target = torch.device(name)
    except (RuntimeError, TypeError):
        raise EyeshotError(f"device: {name!r} is no device; try cpu or cuda") from None
    if target.type == "meta":
        raise EyeshotError("device: meta computes nothing; try cpu or cuda")
    if target.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (target.index or 0) >= count:
            raise EyeshotError(f"device: {name} is not available (PyTorch sees {count} of them)")
        return torch.device("cuda", target.index or 0)
    try:
        torch.empty(1, device=target)
    except Exception:
        raise EyeshotError(f"device: {name} is not available") from None
    return target
