"""The bare model of a transformers configuration: a JSON file, and nothing that would have to be downloaded."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eyeshot.errors import EyeshotError
from eyeshot.frontends.references.building import built, first_line, need, offline
from eyeshot.frontends.references.parse import Reference, near

__all__ = ["from_config"]

MAX_BYTES = 4 << 20
#: What would fetch weights, kernels or code, or change weights that are not there.
IGNORED = frozenset(
    "auto_map attn_implementation _attn_implementation experts_implementation use_kernels "
    "use_pretrained_backbone quantization_config trust_remote_code".split()
)
TOKENS = 128
SAMPLES = 16000


def from_config(reference: Reference, real: bool) -> tuple[Any, str, Any]:
    need("transformers", reference.text)
    import huggingface_hub.constants  # noqa: F401  (so that it can be told to stay offline)
    from transformers import AutoModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    file, content = _read(reference)
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        known = near(str(kind), CONFIG_MAPPING.keys()) if kind is not None else ""
        what = (
            f"transformers has no model type {kind!r}"
            if kind is not None
            else "model_type is missing"
        )
        raise EyeshotError(f"{file}: {what}{known}")
    try:
        with offline(), _silent():
            config = CONFIG_MAPPING[kind].from_dict(content)
            if type(config) not in MODEL_MAPPING:
                raise EyeshotError(
                    f"{file}: transformers has no bare model for the model type {kind!r}"
                )
            module = built(lambda: AutoModel.from_config(config, trust_remote_code=False), real)
    except EyeshotError:
        raise
    except ImportError as error:
        raise EyeshotError(f"{file}: {' '.join(str(error).split())}") from None
    except Exception as error:
        if type(error).__name__ == "OfflineModeIsEnabled":
            raise EyeshotError(
                f"{file}: it refers to a file on the hub, and nothing is fetched; spell it out "
                "(backbone_config in place of backbone)"
            ) from None
        raise EyeshotError(f"{file}: {first_line(error)}") from None
    return module, type(module).__name__, _input(module, config)


def _read(reference: Reference) -> tuple[Path, dict[str, Any]]:
    """The configuration as a dict, with the reference's arguments over it."""
    file = Path(reference.name)
    try:
        if file.is_dir():
            file = file / "config.json"
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise EyeshotError(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise EyeshotError(f"{file}: larger than {MAX_BYTES >> 20} MiB: not a configuration")
    try:
        content = json.loads(data)
    except RecursionError:
        raise EyeshotError(f"{file}: nested too deeply") from None
    except ValueError as error:
        raise EyeshotError(f"{file}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise EyeshotError(
            f"{file}: expected a transformers configuration, got a {type(content).__name__}"
        )
    return file, _harmless({**content, **reference.arguments})


def _harmless(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: _harmless(v) for k, v in content.items() if k not in IGNORED}
    if isinstance(content, list):
        return [_harmless(v) for v in content]
    return content


@contextmanager
def _silent() -> Iterator[None]:
    """Advice on loading weights is beside the point here."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


# --- what the model is called with


def _input(module: Any, config: Any) -> Any:
    """The arguments of a typical call; None where the configuration does not tell."""
    import torch

    from eyeshot.frontends.torch.inputs import Arguments, Slot

    main = module.main_input_name
    slots: list[Slot | None] = []
    ids = torch.int64
    if main == "input_ids" or _has_two_towers(module):
        text = config.get_text_config()
        longest = getattr(text, "max_position_embeddings", None) or TOKENS
        slots.append(Slot("input_ids", (1, min(TOKENS, longest // 2)), ids, (1,)))
    if main == "pixel_values" or _has_two_towers(module):
        slots.append(_pixels(config, module.dtype))
    if main == "input_values":
        slots.append(_sound(config, module.dtype))
    if main == "input_features" and config.model_type == "whisper":
        shape = (1, config.num_mel_bins, 2 * config.max_source_positions)
        slots.append(Slot(main, shape, module.dtype, (2,)))
    if getattr(config, "is_encoder_decoder", False):
        slots.append(Slot("decoder_input_ids", (1, TOKENS // 8), ids, (1,)))
    if not slots or any(slot is None for slot in slots):
        return None
    known = inspect.signature(module.forward).parameters
    given: dict[str, Any] = {s.name: s for s in slots if s is not None and s.name in known}
    if "input_ids" in given and "attention_mask" in known:
        # No padding: without a mask some models look for padding among the tokens.
        given["attention_mask"] = torch.ones(given["input_ids"].shape, dtype=ids)
    return Arguments((), given)


def _has_two_towers(module: Any) -> bool:
    """Whether it reads a text and an image side by side (CLIP), not one stream of tokens."""
    return hasattr(module, "get_text_features") and hasattr(module, "get_image_features")


def _pixels(config: Any, dtype: Any) -> Any:
    """An image, or a clip [batch, frames, channels, height, width]."""
    from eyeshot.frontends.torch.inputs import Slot

    vision = getattr(config, "vision_config", config)
    side = getattr(vision, "image_size", None) or getattr(vision, "input_size", None)
    if isinstance(side, dict):
        side = (side.get("height"), side.get("width"))
    if side is None:
        # Convolutional models have no size of their own; those of attention tell it.
        side = 224
    sides = (side, side) if isinstance(side, int) else tuple(side)[-2:]
    if len(sides) != 2 or not all(isinstance(n, int) for n in sides):
        return None
    channels = getattr(vision, "num_channels", 3)
    frames = getattr(vision, "num_frames", None)
    if isinstance(frames, int):
        return Slot("pixel_values", (1, frames, channels, *sides), dtype, (1, 3, 4))
    return Slot("pixel_values", (1, channels, *sides), dtype, (2, 3))


def _sound(config: Any, dtype: Any) -> Any:
    """A waveform, or a spectrogram."""
    from eyeshot.frontends.torch.inputs import Slot

    bins = getattr(config, "num_mel_bins", None)
    length = getattr(config, "max_length", None)
    if isinstance(bins, int) and isinstance(length, int):
        return Slot("input_values", (1, length, bins), dtype, (1, 2))
    channels = getattr(config, "audio_channels", None)
    if isinstance(channels, int):
        return Slot("input_values", (1, channels, SAMPLES), dtype, (2,))
    return Slot("input_values", (1, SAMPLES), dtype, (1,))
