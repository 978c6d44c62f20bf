"""From a reference to a module."""

from __future__ import annotations

from typing import Any

from eyeshot.frontends.references.parse import parse

__all__ = ["load"]


def load(text: str, real: bool = False) -> tuple[Any, str, Any]:
    """The module that ``text`` refers to, its title, and the input that it is made for (None: not known).

    A zoo's module is in evaluation mode, its weights are random, or have no numbers at all unless ``real``. A
    factory is the user's own code, which is run as it stands. Raises EyeshotError, one line.
    """
    reference = parse(text)
    if reference.scheme in ("torchvision", "timm"):
        from eyeshot.frontends.references import zoos

        return getattr(zoos, f"from_{reference.scheme}")(reference, real)
    if reference.scheme == "hf":
        from eyeshot.frontends.references.configs import from_config

        return from_config(reference, real)
    from eyeshot.frontends.references.factory import from_factory

    return from_factory(reference)
