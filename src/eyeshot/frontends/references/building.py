"""How a module is built quickly, quietly, and without a trace in the interpreter."""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from eyeshot.errors import EyeshotError

__all__ = ["built", "first_line", "need", "offline"]

#: What to install where a package is missing.
INSTALL = {"torch": "'eyeshot[torch]'"}
#: Random numbers are drawn for real up to this many, since a model may look at them while it is built.
FEW = 4096


def need(package: str, purpose: str) -> ModuleType:
    """Import a package that ``purpose`` needs, and torch; one line says how to install what is missing."""
    for name in ("torch", package):  # both are looked for before one takes its time
        try:
            missing = importlib.util.find_spec(name) is None
        except (ImportError, ValueError):
            missing = True
        if missing:
            raise EyeshotError(f"{purpose} needs {name}: pip install {INSTALL.get(name, name)}")
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise EyeshotError(
            f"{purpose}: importing {package} needs {error.name}, which is missing"
        ) from None
    except Exception as error:  # versions that do not fit each other fail in many ways
        raise EyeshotError(f"{purpose}: importing {package} failed: {first_line(error)}") from None


def first_line(error: BaseException) -> str:
    """``ValueError: message``, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def built(make: Callable[[], Any], real: bool) -> Any:
    """The module that ``make`` makes, in evaluation mode.

    Weights are left on the meta device unless ``real``: drawing them takes longer than the whole analysis.
    What a model computes when it is built (tables of positions, masks, rates) has its numbers either way. A
    model that cannot be built so is built in full.
    """
    with offline(), _same_random_numbers():
        module = None
        if not real:
            try:
                with _weightless():
                    module = make()
            except Exception:
                module = None  # it asked for the numbers of a weight, or fails in full as well
        if module is None:
            module = make()
        return module.eval()


def _weightless() -> Any:
    """A mode in which memory that only waits for random numbers is not taken."""
    import torch
    from torch.overrides import TorchFunctionMode

    drawn = {torch.empty: 0, torch.empty_strided: 0, torch.rand: FEW, torch.randn: FEW}

    class Weightless(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            few = drawn.get(func)
            if few is not None and kwargs.get("device") is None and kwargs.get("out") is None:
                dtype = kwargs.get("dtype") or torch.get_default_dtype()
                if dtype.is_floating_point or dtype.is_complex:
                    made = func(*args, **{**kwargs, "device": "meta"})
                    if made.numel() > few:
                        return made
            return func(*args, **kwargs)

    return Weightless()


@contextmanager
def offline() -> Iterator[None]:
    """Nothing is downloaded, and a builder's warnings for those who will train the model are not shown.

    The hub's client looks at its constant at every request; the environment is left alone.
    """
    constants = sys.modules.get("huggingface_hub.constants")
    before = getattr(constants, "HF_HUB_OFFLINE", None)
    with warnings.catch_warnings(action="ignore"):
        try:
            if constants is not None:
                constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
            yield
        finally:
            if constants is not None:
                constants.HF_HUB_OFFLINE = before  # type: ignore[attr-defined]


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Seeded, so that a model is the same each time; the caller's generators go on where they were."""
    import torch

    python = random.getstate()
    numpy = sys.modules.get("numpy")
    state = None if numpy is None else numpy.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        if numpy is not None:
            numpy.random.seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            if numpy is not None and state is not None:
                numpy.random.set_state(state)
