"""Architecture specs: dicts and YAML, JSON or TOML files (docs/specs.md is the language)."""

from eyeshot.frontends.spec.build import build
from eyeshot.frontends.spec.load import SUFFIXES, load, loads

__all__ = ["SUFFIXES", "build", "load", "loads"]
