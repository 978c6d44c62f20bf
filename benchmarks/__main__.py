"""``python -m benchmarks``: measure, print the ratios, and on request renew the page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Ratio, note, table
from benchmarks.parts import PARTS

__all__ = ["main"]


def section(name: str, rows: Sequence[Ratio]) -> str:
    """A part as Markdown."""
    part = PARTS[name]
    aimed = [row for row in rows if row.aim is not None]
    met = sum(row.verdict == "met" for row in aimed)
    verdict = f"\n{met} of {len(aimed)} aims met.\n" if aimed else ""
    return f"## {part.title}\n\n{part.text}\n\n{table(rows)}{verdict}"


def renew(page: Path, sections: dict[str, str]) -> None:
    """Replace what lies between the markers of these parts."""
    text = page.read_text(encoding="utf-8")
    for name, content in sections.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"{page}: expected the markers {begin.strip()} and {end}")
        text = f"{before}{begin}{content}{end}{after}"
    page.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts; 0 when they could be measured, whatever the ratios are."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Ratios measured in one run: times, memory and start-up of the spec analysis. "
        "Absolute numbers go to stderr.",
        epilog="; ".join(f"{name}: {part.title.lower()}" for name, part in PARTS.items()),
    )
    parser.add_argument(
        "parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; default: all"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few rounds and small cases: a smoke test"
    )
    parser.add_argument(
        "--write", metavar="FILE", type=Path, help="renew the tables of a page (docs/benchmarks.md)"
    )
    options = parser.parse_args(arguments)
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"there is no part {name!r}; there are {', '.join(PARTS)}")
    if options.write and options.quick:
        parser.error("--write takes a full run, without --quick")
    if options.write and not options.write.is_file():
        parser.error(f"--write {options.write}: there is no such page")
    sections: dict[str, str] = {}
    for name in PARTS:
        if options.parts and name not in options.parts:
            continue
        note(f"--- {name}")
        sections[name] = section(name, PARTS[name].measure(options.quick))
        print(sections[name], flush=True)
    if options.write:
        renew(options.write, sections)
    return 0


if __name__ == "__main__":
    sys.exit(main())
