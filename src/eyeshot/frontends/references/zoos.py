"""torchvision's and timm's models, by name."""

from __future__ import annotations

import inspect
from typing import Any

from eyeshot.errors import EyeshotError
from eyeshot.frontends.references.building import built, first_line, need
from eyeshot.frontends.references.parse import Reference, near

__all__ = ["from_timm", "from_torchvision"]

#: Arguments that stand for weights, in any of the zoos.
WEIGHTS = (
    "checkpoint",
    "checkpoint_path",
    "pretrained",
    "pretrained_backbone",
    "weights",
    "weights_backbone",
)
FRAMES = 16


def from_torchvision(reference: Reference, real: bool) -> tuple[Any, str, Any]:
    torchvision = need("torchvision", reference.text)
    name = reference.name
    try:
        builder = torchvision.models.get_model_builder(name)
    except ValueError:
        known = torchvision.models.list_models()
        raise EyeshotError(
            f"{reference.text}: torchvision has no model {name!r}{near(name, known)}"
        ) from None
    arguments = _without_weights(reference)
    # Builders without a backbone take no such argument.
    for key in ("weights", "weights_backbone"):
        if key in inspect.signature(builder).parameters:
            arguments[key] = None
    if "init_weights" in inspect.signature(builder, follow_wrapped=True).parameters:
        arguments.setdefault("init_weights", False)
    try:
        module = built(lambda: builder(**arguments), real)
    except Exception as error:
        raise EyeshotError(f"{reference.text}: {first_line(error)}") from None
    return module, reference.title, _torchvision_input(torchvision, name, module)


def _torchvision_input(torchvision: Any, name: str, module: Any) -> Any:
    """The size that the model is meant for: its own, else that of its published weights' preprocessing."""
    transform = getattr(module, "transform", None)  # of detectors
    if transform is not None and hasattr(transform, "fixed_size"):
        sides = transform.fixed_size or (transform.min_size[-1],) * 2
        return (1, 3, *sides)
    side = getattr(module, "image_size", None)
    if isinstance(side, int):
        return (1, 3, side, side)
    published = next(iter(torchvision.models.get_model_weights(name)), None)
    if published is None:
        return None
    preset = published.transforms()
    kind = type(preset).__name__
    if kind == "OpticalFlow":
        return [(1, 3, 256, 256)] * 2
    sides = tuple(
        getattr(preset, "crop_size", None) or getattr(preset, "resize_size", None) or (224,)
    )
    sides = sides * (2 // len(sides))
    return (1, 3, FRAMES, *sides) if kind == "VideoClassification" else (1, 3, *sides)


def from_timm(reference: Reference, real: bool) -> tuple[Any, str, Any]:
    timm = need("timm", reference.text)
    name = reference.name
    if not timm.is_model(name):
        known = timm.list_models()
        raise EyeshotError(f"{reference.text}: timm has no model {name!r}{near(name, known)}")
    arguments = _without_weights(reference)
    try:
        module = built(lambda: timm.create_model(name, pretrained=False, **arguments), real)
    except Exception as error:
        raise EyeshotError(f"{reference.text}: {first_line(error)}") from None
    published = getattr(module, "pretrained_cfg", None) or timm.get_pretrained_cfg(name)
    size = published.get("input_size") if isinstance(published, dict) else published.input_size
    channels, *sides = size or (3, 224, 224)
    side = arguments.get("img_size")
    if isinstance(side, int):
        sides = [side] * 2
    elif isinstance(side, (list, tuple)):
        sides = list(side)
    return module, reference.title, (1, arguments.get("in_chans", channels), *sides)


def _without_weights(reference: Reference) -> dict[str, Any]:
    """The arguments, none of which may ask for weights."""
    arguments = dict(reference.arguments)
    for key in WEIGHTS:
        if arguments.pop(key, None):
            raise EyeshotError(
                f"{reference.text}: {key} is refused: no weights are fetched, and fields do not depend on them"
            )
    return arguments
