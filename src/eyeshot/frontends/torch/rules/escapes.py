"""Ways out of the dispatcher's sight: numbers for Python, and memory that changes hands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from eyeshot.frontends.torch.rules import function

if TYPE_CHECKING:
    from eyeshot.frontends.torch.trace import Tracer

__all__ = []


@function(torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__, torch.Tensor.__dlpack__,
          torch.Tensor.storage, torch.Tensor.untyped_storage, torch.Tensor.map_, torch.Tensor.map2_,
          torch.tensor, torch.as_tensor)  # fmt: skip
def numbers(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """``x.numpy()`` and the like, which no operator is called for."""
    if func in (torch.as_tensor, torch.tensor) and isinstance(args[0], torch.Tensor):
        return func(*args, **kwargs)  # an operator copies it
    tracer.escapes(func.__name__.strip("_"), tracer.among(args))
    return func(*args, **kwargs)


@function(torch.Tensor.data.__set__)  # type: ignore[attr-defined]
def set_data(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """``x.data = y``: from now on ``x`` is another name of y's memory."""
    tracer.adopt(args[0], args[1])
    return None
