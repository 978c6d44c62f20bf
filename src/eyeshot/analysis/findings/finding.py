"""What a check finds, and the table of rules that look for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from eyeshot.analysis.findings.network import Network

__all__ = ["RULES", "SEVERITIES", "TOPICS", "Finding", "Rule", "Severity", "Topic", "rule"]

Severity = Literal["error", "warning", "note"]
Topic = Literal["context", "coverage", "alignment", "padding", "tiling", "leaks", "bounds"]
#: From the most serious to the least.
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
TOPICS: tuple[Topic, ...] = get_args(Topic)


class Finding(NamedTuple):
    """One thing that a network does, and the numbers that prove it.

    ``layers``: their names, the one to blame first. ``message``: what is the case, with its numbers. ``cost``:
    what it costs. ``remedy``: what to change. ``evidence``: the numbers, as JSON values. ``exact``: proved;
    False where a layer concerned is only bounded, so that the finding is possible, not certain. ``severity``
    and ``code`` are the rule's where it leaves them to it.
    """

    layers: tuple[str, ...]
    message: str
    cost: str
    remedy: str
    evidence: dict[str, Any]
    exact: bool = True
    severity: Severity | None = None
    code: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {
            "code": self.code,
            "severity": self.severity,
            "status": "exact" if self.exact else "possible",
            "layers": list(self.layers),
            "message": self.message,
            "cost": self.cost,
            "remedy": self.remedy,
            "evidence": self.evidence,
        }


Look = Callable[["Network"], Iterator[Finding]]


class Rule(NamedTuple):
    """A stable ``code``, its topic, the severity that its findings have by default, one sentence, and the look.

    ``wants`` names the option without which the rule is silent (``object``, ``anchors``, ``causal``), if any.
    """

    code: str
    topic: Topic
    severity: Severity
    summary: str
    look: Look
    wants: str | None = None


#: By code, in the order of their registration.
RULES: dict[str, Rule] = {}


def rule(
    code: str, topic: Topic, severity: Severity, summary: str, wants: str | None = None
) -> Callable[[Look], Look]:
    """Register a rule; a code is taken once, and has its page ``docs/findings/CODE.md``."""

    def register(look: Look) -> Look:
        if code in RULES:
            raise ValueError(f"rule {code!r} is registered twice")
        RULES[code] = Rule(code, topic, severity, summary, look, wants)
        return look

    return register
