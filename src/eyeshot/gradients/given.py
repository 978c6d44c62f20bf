"""What a measurement is given: the module, ready to run on data, and the input that samples go into."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from eyeshot.analysis.report import Report
from eyeshot.data import Wanted
from eyeshot.data.samples import shape_text
from eyeshot.errors import EyeshotError
from eyeshot.frontends.torch.devices import device as usable
from eyeshot.frontends.torch.inputs import Arguments, Slot, candidates
from eyeshot.frontends.torch.weights import loaded

__all__ = ["chosen", "frozen", "is_batched", "prepared", "wanted_of"]


def chosen(
    module: torch.nn.Module,
    report: Report,
    input: Any,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    axes: Any,
) -> tuple[Arguments, Slot]:
    """What the report was made with, and the slot that samples go into."""
    wanted = [(s.name, s.shape, s.axes) for s in report._sources]
    found = None
    for option in candidates(module, input, args, kwargs, axes):
        for arguments in (option, option.integers()):
            if found is None and [(s.name, s.shape, s.axes) for s in arguments.slots] == wanted:
                found = arguments
    if found is None:
        shown = ", ".join(f"{name} {shape_text(shape)}" for name, shape, _ in wanted)
        raise EyeshotError(f"input: the report was made with {shown}, which this is not")
    slots = found.slots
    open_ = [s for s in slots if s.axes and s.dtype.is_floating_point]
    open_ = [s for s in open_ if s.tensor is None] or open_
    if not open_:
        kinds = ", ".join(f"{s.name} {str(s.dtype).removeprefix('torch.')}" for s in slots)
        raise EyeshotError(
            f"gradients need an input of floating-point numbers with axes, and there is {kinds}"
        )
    others = [s for s in slots if s is not open_[0]]
    if len(open_) > 1 or any(s.tensor is None for s in others):
        names = ", ".join(s.name for s in slots)
        raise EyeshotError(
            f"gradients are measured for one input, and there are {names}: give all others as tensors in args "
            "or kwargs"
        )
    return found, open_[0]


def wanted_of(slot: Slot) -> Wanted:
    """The shape of one sample."""
    if is_batched(slot):
        if slot.shape[0] != 1:
            raise EyeshotError(
                f"input: {slot.name} is {shape_text(slot.shape)}, a batch of {slot.shape[0]}; analyse one "
                "sample"
            )
        return Wanted(slot.name, slot.shape[1:], tuple(axis - 1 for axis in slot.axes))
    return Wanted(slot.name, slot.shape, slot.axes)


def is_batched(slot: Slot) -> bool:
    """Whether the first dim holds samples."""
    if 0 in slot.axes or not slot.shape:
        return False
    return slot.shape[0] == 1 or len(slot.shape) > len(slot.axes) + 1


def prepared(
    module: torch.nn.Module, weights: Any, device: Any, notes: list[str]
) -> torch.nn.Module:
    """The module, or a copy of it with other weights, on another device or in float32."""
    made = module
    if weights is not None:
        made = loaded(made, weights)
    tensors = [*made.parameters(), *made.buffers()]
    if any(t.is_meta for t in tensors):
        raise EyeshotError("the module is on the meta device: its weights are needed as data")
    target = _device(device, tensors)
    half = any(t.dtype in (torch.float16, torch.bfloat16) for t in tensors)
    moves = any(t.device != target for t in tensors)
    if (half or moves) and made is module:
        try:
            made = copy.deepcopy(module)
        except Exception as error:
            text = " ".join(str(error).split())[:160]
            raise EyeshotError(f"the module can't be copied: {text}") from None
    if moves:
        made = made.to(target)
    if half:
        made = made.float()
        notes.append("the module's half-precision weights run in float32")
    return made


def _device(wanted: Any, tensors: Sequence[Tensor]) -> torch.device:
    if wanted is None:
        return tensors[0].device if tensors else torch.device("cpu")
    return usable(wanted)


@contextmanager
def frozen(module: torch.nn.Module) -> Iterator[None]:
    """No parameter asks for a gradient meanwhile."""
    asking = [p for p in module.parameters() if p.requires_grad]
    for p in asking:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in asking:
            p.requires_grad_(True)
