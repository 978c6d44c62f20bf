"""The module and the interpreter as they were, whatever a forward pass does to them."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["untouched"]


@contextmanager
def untouched(module: torch.nn.Module, training: bool | None) -> Iterator[None]:
    """Run the body with every submodule in this mode, then put flags, hooks, buffers and the rest back.

    Attributes, and the lists, dicts and sets that they hold, are noted one by one and put back in place;
    random number generators too. ``training`` None leaves each submodule in the mode it is in.
    """
    was: Any
    noted = [
        (m, getattr(m, "training", None), dict(m.__dict__), _contents(m)) for m in module.modules()
    ]
    torch_state = torch.random.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    python_state = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = None if numpy is None else numpy.random.get_state()
    try:
        if training is not None:
            for m, was, _, _ in noted:
                if was not in (training, None):
                    m.training = training
        yield
    finally:
        for m, was, attributes, contents in noted:
            if getattr(m, "training", None) != was:
                m.training = was
            m.__dict__.clear()
            m.__dict__.update(attributes)
            for held, content in contents:
                held.clear()
                held.extend(content) if isinstance(held, list) else held.update(content)
        torch.random.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        random.setstate(python_state)
        if numpy is not None and numpy_state is not None:
            numpy.random.set_state(numpy_state)


#: Subclasses may mean something else by clear and update.
_PLAIN = (dict, list, set, OrderedDict)
#: Containers in containers are followed as far as this many.
MAX_CONTAINERS = 1 << 16


def _contents(module: torch.nn.Module) -> list[tuple[Any, Any]]:
    """The plain containers that a module's attributes hold, each with a copy of what it holds."""
    found: list[tuple[Any, Any]] = []
    seen: set[int] = set()
    pending = list(module.__dict__.values())
    while pending and len(found) < MAX_CONTAINERS:
        held = pending.pop()
        if type(held) not in (*_PLAIN, tuple) or id(held) in seen:
            continue
        seen.add(id(held))
        if type(held) is not tuple:
            found.append((held, held.copy()))
        if type(held) is not set:
            pending += held.values() if isinstance(held, dict) else held
    return found
