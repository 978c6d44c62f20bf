"""Design: the cheapest change of a network that reaches a receptive field."""

from __future__ import annotations

from eyeshot.designs.result import Change, Design, Designs
from eyeshot.designs.search import design

__all__ = ["Change", "Design", "Designs", "design"]
