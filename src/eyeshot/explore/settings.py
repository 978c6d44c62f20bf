"""Limits of the live page, and what the command line named."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Given", "Lane", "Settings"]


@dataclass(frozen=True)
class Lane:
    """Worker processes with a queue of their own.

    ``warm``: how many wait for work from the start. ``most``: how many there are at most. ``queue``: jobs that
    wait at most; more are refused. ``memory``: bytes that one of them may take.
    """

    warm: int
    most: int
    queue: int
    memory: int


@dataclass(frozen=True)
class Settings:
    """Sizes in bytes, times in seconds.

    ``quick`` is the lane of specs and examples, ``heavy`` that of models and very long specs, so that none of
    these makes a small spec wait. ``long``: a spec's text is that from here on.
    """

    upload: int = 512 << 20
    uploads: int = 16
    uploads_size: int = 2 << 30
    spec: int = 2 << 20
    long: int = 64 << 10
    seconds: float = 60.0
    idle: float = 15.0
    body: float = 120.0
    grace: float = 0.25
    requests: int = 256
    answer: int = 128 << 20
    quick: Lane = field(default_factory=lambda: Lane(2, 4, 128, 2 << 30))
    heavy: Lane = field(default_factory=lambda: Lane(0, 2, 16, 6 << 30))

    @property
    def json(self) -> int:
        """The longest JSON body: a text's characters may each take two or more there."""
        return 2 * self.spec + (64 << 10)


@dataclass(frozen=True)
class Given:
    """SOURCE of the command line, with its options, as :func:`eyeshot.analyze` takes them."""

    source: str
    input: Any = None
    axes: Any = None
    training: bool = False
    rate: float | None = None
