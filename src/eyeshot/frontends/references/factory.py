"""A module of the user's own: ``package.module:factory``. The one reference that runs the user's code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eyeshot.errors import EyeshotError
from eyeshot.frontends.references.building import first_line, need
from eyeshot.frontends.references.parse import SCHEMES, Reference, near

__all__ = ["from_factory"]


def from_factory(reference: Reference) -> tuple[Any, str, Any]:
    """Import, look up, and call with the arguments unless it is a module already.

    The current directory is importable meanwhile, as with ``python -m``.
    """
    text = reference.text
    torch = need("torch", text)
    with _importable(os.getcwd()):
        found = _imported(reference)
        for k, part in enumerate(parts := reference.name.split(".")):
            try:
                found = getattr(found, part)
            except AttributeError:
                owner = ".".join([reference.scheme, *parts[:k]])
                raise EyeshotError(
                    f"{text}: {owner} has no {part!r}{near(part, dir(found))}"
                ) from None
        if isinstance(found, torch.nn.Module):
            if reference.arguments:
                raise EyeshotError(
                    f"{text}: {reference.name} is a module already and takes no arguments"
                )
            return found, reference.title, None
        if not callable(found):
            raise EyeshotError(
                f"{text}: expected a module, a class or a function, got {type(found).__name__}"
            )
        try:
            module = found(**reference.arguments)
        except (Exception, SystemExit) as error:
            raise EyeshotError(
                f"{text}: calling {reference.name} raised {first_line(error)}"
            ) from error
    if not isinstance(module, torch.nn.Module):
        raise EyeshotError(f"{text}: {reference.name} returned {_a(module)}, not a PyTorch module")
    return module, reference.title, None


def _imported(reference: Reference) -> Any:
    text, name = reference.text, reference.scheme
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name != missing and not name.startswith(f"{missing}."):
            raise EyeshotError(f"{text}: {name} needs {missing}: pip install {missing}") from None
        if name.endswith(".py"):
            hint = f"; did you mean {name.removesuffix('.py')}:{reference.name}?"
        else:
            hint = near(name, [*SCHEMES, "example", *_neighbours()])
        raise EyeshotError(f"{text}: there is no Python module {missing!r}{hint}") from None
    except (Exception, SystemExit) as error:
        raise EyeshotError(f"{text}: importing {name} raised {first_line(error)}") from error


def _neighbours() -> list[str]:
    """The modules in the current directory."""
    return [name.removesuffix(".py") for name in os.listdir() if name.endswith(".py")]


def _a(thing: Any) -> str:
    return "None" if thing is None else f"a {type(thing).__name__}"


@contextmanager
def _importable(folder: str) -> Iterator[None]:
    before = list(sys.path)
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path and folder not in before:
            sys.path.remove(folder)
