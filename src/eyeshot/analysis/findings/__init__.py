"""Findings: what a report shows to be wrong with a network. One module a topic, one function a rule."""

from __future__ import annotations

# Each module registers its rules; this is the order in which equally serious findings are listed.
from eyeshot.analysis.findings import (  # noqa: F401
    alignment,
    bounds,
    context,
    coverage,
    drift,
    gridding,
    leaks,
    padding,
    tiling,
    unread,
)
from eyeshot.analysis.findings.finding import RULES, SEVERITIES, TOPICS, Finding, Rule, rule
from eyeshot.analysis.findings.network import Network, Options
from eyeshot.analysis.findings.result import Check, Skipped, chosen, examine

__all__ = [
    "RULES",
    "SEVERITIES",
    "TOPICS",
    "Check",
    "Finding",
    "Network",
    "Options",
    "Rule",
    "Skipped",
    "chosen",
    "examine",
    "rule",
]
