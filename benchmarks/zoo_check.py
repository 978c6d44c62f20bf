"""``python -m benchmarks.zoo_check``: what ``eyeshot.check`` finds in the models of torchvision and timm."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks import zoo
from benchmarks.__main__ import renew
from benchmarks.tasks import FOLDER, Record

__all__ = ["chosen_models", "main", "measure"]

RESULTS = FOLDER / "zoo_check.jsonl"
#: Seconds for a check, beside the analysis that it rests on.
AIM = 1.0


def chosen_models() -> list[str]:
    """All models of torchvision, and of timm the first variant of each family, by its own lists."""
    import timm

    families = [timm.list_models(module=family)[:1] for family in timm.list_modules()]
    firsts = sorted({name for first in families for name in first})
    return [
        *(f"torchvision:{name}" for name in zoo.names("torchvision")),
        *(f"timm:{name}" for name in firsts),
    ]


def measure(task: str) -> Record:
    """The findings of one model, ``"library:name"``, and how long they took."""
    import torch

    import eyeshot

    torch.set_num_threads(1)
    failure: Exception | None = None
    for real in (False, True):
        try:
            module, default = zoo.load(task, real)
            report = eyeshot.analyze(module, default)
        except Exception as error:
            failure = error
            continue
        begin = time.thread_time()
        found = eyeshot.check(report)
        alone = time.thread_time() - begin
        begin = time.thread_time()
        found = eyeshot.check(module, default)  # with two samples in one batch, too
        whole = time.thread_time() - begin
        return {
            "status": report.status,
            "alone": alone,
            "whole": whole,
            "layers": len(report),
            "findings": [f.to_dict() for f in found],
            "skipped": [list(each) for each in found.skipped],
            "input_range": [each.to_dict() for each in found.input_range],
        }
    assert failure is not None
    raise failure


def totals(records: Sequence[Record]) -> str:
    """How many findings, of what kind, and how long it takes."""
    done = [r for r in records if r["status"] != "failed"]
    serious = [sum(f["severity"] != "note" for f in r["findings"]) for r in done]
    notes = [sum(f["severity"] == "note" for f in r["findings"]) for r in done]
    alone = sorted(r["alone"] for r in done)
    within = sum(seconds <= AIM for seconds in alone)
    lines = [
        f"{len(done)} models checked, {len(records) - len(done)} failed. The median model has "
        f"{statistics.median(serious):g} errors or warnings, and {_notes(statistics.median(notes))}; "
        f"{sum(n == 0 for n in serious)} have notes at most.",
        "",
        f"The check itself, beside the analysis, takes a median of {statistics.median(alone) * 1e3:.0f} ms, "
        f"{alone[int(0.9 * (len(alone) - 1))] * 1e3:.0f} ms for 90 %, at most {alone[-1]:.1f} s; "
        f"at most {AIM:g} s for {within} of {len(alone)}.",
        "",
        "| finding | severity | models | such as |",
        "|---|---|---:|---|",
    ]
    held: dict[tuple[str, str], list[str]] = {}
    for record in done:
        for key in {(f["code"], f["severity"]) for f in record["findings"]}:
            held.setdefault(key, []).append(record["task"])
    for (code, severity), some in sorted(held.items(), key=lambda item: -len(item[1])):
        shown = ", ".join(f"`{task}`" for task in some[:3])
        lines.append(f"| `{code}` | {severity} | {len(some)} | {shown}{', …' * (len(some) > 3)} |")
    skipped = Counter(code for r in done for code, _ in r["skipped"])
    if skipped:
        text = ", ".join(f"`{code}` ({n})" for code, n in skipped.most_common())
        lines += ["", f"Could not be looked at: {text}."]
    return "\n".join(lines) + "\n"


def _notes(count: float) -> str:
    return f"{count:g} note{'s' * (count != 1)}"


def table(records: Sequence[Record]) -> str:
    """One row a model: its errors and warnings, by layer."""
    lines = ["| model | layers | ms | errors and warnings | notes |", "|---|---:|---:|---|---|"]
    for record in records:
        name = record["task"]
        if record["status"] == "failed":
            lines.append(f"| {name} | | | failed: {record['error'][:80]} | |")
            continue
        found = record["findings"]
        shown = "; ".join(
            f"`{f['code']}` at {f['layers'][0] if f['layers'] else '–'}"
            for f in found
            if f["severity"] != "note"
        )
        notes = ", ".join(f"`{f['code']}`" for f in found if f["severity"] == "note")
        lines.append(
            f"| {name} | {record['layers']} | {record['alone'] * 1e3:.0f} | {shown or '–'} | {notes or '–'} |"
        )
    return "\n".join(lines) + "\n"


def messages(records: Sequence[Record]) -> Iterator[str]:
    """Every finding in words, to be read."""
    for record in records:
        yield f"== {record['task']}"
        if record["status"] == "failed":
            yield f"   failed: {record['error']}"
            continue
        for f in record["findings"]:
            yield f"   {f['severity']:7} {f['code']}: {', '.join(f['layers'][:3])}: {f['message']}"
            yield f"           {f['cost']} | {f['remedy']}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 whatever the models have, 2 for wrong options."""
    made = zoo.parser(
        "benchmarks.zoo_check",
        "Check all models of torchvision, and the first variant of each of timm's families.",
        RESULTS,
    )
    made.add_argument("--read", action="store_true", help="print every finding in words")
    options = made.parse_args(arguments)
    limits = zoo.checked(made, options)
    every = zoo.chosen(chosen_models(), options)
    if not every:
        made.error("no model has such a name")
    records = zoo.carry_out(every, "benchmarks.zoo_check:measure", options, limits, zoo.made_with)
    if options.read:
        print("\n".join(messages(records)))
        return 0
    sections = {"findings": f"With {zoo.versions_of(records)}.\n\n{totals(records)}"}
    print(sections["findings"])
    if options.write:
        if len(records) < len(every):
            made.error(f"--write: {len(every) - len(records)} models have no result yet")
        sections["models"] = table(records)
        renew(options.write, sections)
    return 0


if __name__ == "__main__":
    sys.exit(main())
