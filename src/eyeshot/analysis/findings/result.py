"""The result of a check: the findings, most serious first, and what was not looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from eyeshot.analysis.findings.finding import RULES, SEVERITIES, TOPICS, Finding, Rule, Severity
from eyeshot.analysis.findings.network import Network, Options
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.analysis.findings.inputrange import InputRange
    from eyeshot.analysis.report import Report

__all__ = ["SCHEMA", "Check", "Skipped", "chosen", "examine"]

SCHEMA = "eyeshot.check/1"


class Skipped(NamedTuple):
    """A rule that could not look, and why."""

    code: str
    reason: str


class Check:
    """What is wrong with a network: findings, most serious first.

    ``report``: what they rest on. ``looked``: the codes of the rules that looked; ``skipped``: those that could
    not, and why. ``input_range``: per axis of the inputs the sizes at which every layer works, see
    :class:`InputRange`. Iterating gives the findings.
    """

    def __init__(
        self,
        report: Report,
        findings: Sequence[Finding],
        skipped: Sequence[Skipped] = (),
        input_range: Sequence[InputRange] = (),
        looked: Sequence[str] = (),
    ) -> None:
        order = {severity: k for k, severity in enumerate(SEVERITIES)}
        places = {code: k for k, code in enumerate(RULES)}
        ranked = sorted(
            findings, key=lambda f: (order[f.severity or "note"], not f.exact, places[f.code])
        )
        self.__dict__.update(
            report=report,
            findings=tuple(ranked),
            skipped=tuple(skipped),
            input_range=tuple(input_range),
            looked=tuple(looked),
        )

    report: Report
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    input_range: tuple[InputRange, ...]
    looked: tuple[str, ...]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a check is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a check is frozen")

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, code: str) -> tuple[Finding, ...]:
        """The findings of one code."""
        if code not in RULES:
            close = get_close_matches(code, RULES, 1, 0.6)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise EyeshotError(f"there is no finding {code!r}{hint}")
        return tuple(f for f in self.findings if f.code == code)

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings that are as serious as ``severity``, or more."""
        levels = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return tuple(f for f in self.findings if f.severity in levels)

    @property
    def counts(self) -> dict[Severity, int]:
        """How many findings there are of each severity."""
        return {
            severity: sum(f.severity == severity for f in self.findings) for severity in SEVERITIES
        }

    def to_dict(self) -> dict[str, Any]:
        """The check as JSON values; the schema ships as ``eyeshot/schema/check-1.json``."""
        return {
            "schema": SCHEMA,
            "title": self.report.title,
            "status": self.report.status,
            "inputs": list(self.report.inputs),
            "input_range": [each.to_dict() for each in self.input_range],
            "counts": self.counts,
            "findings": [f.to_dict() for f in self.findings],
            "looked": list(self.looked),
            "skipped": [each._asdict() for each in self.skipped],
        }

    def to_json(self, indent: int | None = None) -> str:
        """JSON text of :meth:`to_dict`."""
        import json

        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def to_markdown(self) -> str:
        """The findings for a pull request: a table, and the details of each to open."""
        from eyeshot.views.findings_markdown import to_markdown

        return to_markdown(self)

    def to_sarif(self, source: str | None = None) -> dict[str, Any]:
        """A SARIF 2.1.0 log as JSON values, for code scanning.

        ``source``: what was checked, as on the command line; findings are then placed in its file, where it
        has one (a spec, a model, the module of ``package.module:factory``).
        """
        from eyeshot.views.findings_sarif import to_sarif

        return to_sarif(self, source)

    def __str__(self) -> str:
        from eyeshot.views.findings import to_text

        return to_text(self)

    def _repr_html_(self) -> str:
        from eyeshot.views.findings import to_html

        return to_html(self)

    def __repr__(self) -> str:
        return (
            f"<eyeshot.Check of {self.report.title}: {len(self)} finding{'s' * (len(self) != 1)}>"
        )


def chosen(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> list[Rule]:
    """The rules that ``select`` names (all where it names none), less those that ``ignore`` names.

    A name is a code, a topic, or a glob of codes: ``holes``, ``padding``, ``unread-*``.
    """
    wanted = _matching(select, "select")
    unwanted = _matching(ignore, "ignore")
    return [
        rule
        for code, rule in RULES.items()
        if (not wanted or code in wanted) and code not in unwanted
    ]


def _matching(names: Iterable[str], option: str) -> set[str]:
    found: set[str] = set()
    for name in names:
        codes = {
            code
            for code, rule in RULES.items()
            if name in (rule.topic, "all") or fnmatchcase(code, name)
        }
        if not codes:
            close = get_close_matches(name, [*RULES, *TOPICS], 3, 0.6)
            hint = (
                f"did you mean {' or '.join(close)}?"
                if close
                else f"topics are {', '.join(TOPICS)}"
            )
            raise EyeshotError(f"{option}: there is no finding or topic {name!r}; {hint}")
        found |= codes
    return found


def examine(
    report: Report,
    options: Options,
    rules: Iterable[Rule],
    batched: Callable[[], Report | None] = lambda: None,
) -> Check:
    """Look at a report by these rules."""
    from eyeshot.analysis.findings.inputrange import input_range

    net = Network(report, options, batched)
    findings: list[Finding] = []
    skipped: list[Skipped] = []
    looked: list[str] = []
    for rule in rules:
        if rule.wants is not None and not getattr(options, rule.wants):
            continue
        try:
            found = list(rule.look(net))
            looked.append(rule.code)
        except EyeshotError as error:
            # A network that is too large for this look; the others may still be possible.
            skipped.append(Skipped(rule.code, str(error)))
            continue
        findings += [
            f._replace(code=rule.code, severity=f.severity or rule.severity) for f in found
        ]
    return Check(report, findings, skipped, input_range(net), looked)
