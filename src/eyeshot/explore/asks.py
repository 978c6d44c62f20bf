"""The shape of every request: typed, bounded, and nothing besides.

There is no kind of source that holds a path, a module's name or an address: what cannot be written down here
cannot be asked for.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "Ask",
    "Example",
    "Given",
    "Malformed",
    "Model",
    "OutlineAsk",
    "Source",
    "Spec",
    "UnitAsk",
    "Upload",
    "read",
]

Text = Annotated[str, Meta(max_length=300)]
Format = Literal["yaml", "json", "toml"]


class _Source(Struct, tag_field="kind", forbid_unknown_fields=True, frozen=True):
    pass


class Spec(_Source, tag="spec", frozen=True):
    text: str
    format: Format = "yaml"


class Example(_Source, tag="example", frozen=True):
    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,60}\Z")]


class Upload(_Source, tag="upload", frozen=True):
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Model(_Source, tag="model", frozen=True):
    zoo: Literal["torchvision", "timm"]
    #: No scheme, no arguments, no folder.
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]{0,99}\Z")]


class Given(_Source, tag="given", frozen=True):
    pass


Source = Spec | Example | Upload | Model | Given
Named = Annotated[dict[Text, Text], Meta(max_length=64)]


class Ask(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A network at an input: what every question is about."""

    source: Source
    input: Text | Named | None = None
    axes: Text | Named | None = None
    rate: Annotated[float, Meta(gt=0, le=1e12)] | None = None


class UnitAsk(Ask, forbid_unknown_fields=True, frozen=True, kw_only=True):
    layer: Annotated[str, Meta(max_length=10_000)]
    unit: Annotated[list[Annotated[int, Meta(ge=0, le=1 << 40)]], Meta(max_length=16)]


class OutlineAsk(Struct, forbid_unknown_fields=True, frozen=True):
    text: str
    format: Format = "yaml"


class Malformed(ValueError):
    """The body is not what was expected; one line."""


def read(body: bytes, kind: type[Any]) -> Any:
    """The request in a JSON body. Raises :class:`Malformed`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Malformed(" ".join(str(error).split())[:300]) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Malformed("the body is not JSON") from None
