"""The exceptions that callers are meant to catch."""

from __future__ import annotations

__all__ = ["EyeshotError", "FieldError", "SpecError", "StrictError", "UnknownLayerError"]


class EyeshotError(ValueError):
    """The input is unusable; the message is one line that says what and where."""


class FieldError(EyeshotError):
    """A parameter that does not fit, raised by the family builders.

    ``field`` names the parameter (``"kernel"``); a frontend puts the layer's name before it.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}" if field else why)
        self.field = field
        self.why = why


class SpecError(EyeshotError):
    """A spec that can't be read; the message begins with the place (``net.yaml: layers.a.op``)."""


class StrictError(EyeshotError):
    """``strict=True`` and an operator could only be bounded."""


class UnknownLayerError(EyeshotError, KeyError):
    """No layer has that name; the message suggests near ones."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0])
