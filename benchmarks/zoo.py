"""``python -m benchmarks.zoo``: analyse every model of torchvision and timm, and say how it went."""

from __future__ import annotations

import argparse
import copy
import gc
import math
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks import tasks
from benchmarks.__main__ import renew
from benchmarks.tasks import FOLDER, Limits, Record, Store, showing, stamp

__all__ = ["LIBRARIES", "main", "measure", "names"]

LIBRARIES = ("torchvision", "timm")
AIM = 1.3
ROUNDS = 3
RESULTS = FOLDER / "zoo.jsonl"


def names(library: str) -> list[str]:
    """Every model of a library, by its own list."""
    if library == "torchvision":
        import torchvision

        return sorted(torchvision.models.list_models())
    import timm

    return sorted(timm.list_models())


def made_with(task: str) -> dict[str, str]:
    """The versions that a record depends on."""
    return stamp("torch", task.partition(":")[0])


# --- one model, in a worker


def measure(task: str) -> Record:
    """Build, analyse and time one model, ``"library:name"``."""
    import torch

    torch.set_num_threads(1)
    _warm()
    failure: Exception | None = None
    for real in (False, True):
        try:
            module, default = load(task, real)
            built = "meta" if all(p.is_meta for p in module.parameters()) else "cpu"
            return {**_measured(module, default), "built": built}
        except Exception as error:
            # Weights that have data may help: where the model cannot do without, eyeshot runs it for real.
            failure = error
    assert failure is not None
    raise failure


def _warm() -> None:
    """Import what an analysis needs, once in a process, by analysing next to nothing."""
    import torch

    import eyeshot

    if not getattr(_warm, "done", False):
        list(eyeshot.analyze(torch.nn.Conv1d(1, 1, 3), (1, 1, 8)))
        _warm.done = True  # type: ignore[attr-defined]


def load(task: str, real: bool) -> tuple[Any, Any]:
    """The module, with numbers in its weights if ``real``, and the input that it is made for."""
    from eyeshot.frontends.references import load

    module, _, default = load(task, real)
    return module.eval(), default


def read_all(module: Any, default: Any) -> Any:
    """All that a table needs: the trace, the engine, and every field of every layer."""
    import eyeshot

    report = eyeshot.analyze(module, default)
    for layer in report:
        _ = layer.fields
    return report


def _measured(module: Any, default: Any) -> Record:
    first, report = _timed(lambda: read_all(module, default))
    forward, where = _forward(module, default)
    spent, bare = [], []
    rounds = ROUNDS if first < 10 else 1
    for _ in range(rounds):
        spent.append(_timed(lambda: read_all(module, default))[0])
        if forward is not None:
            bare.append(_timed(forward)[0])
    blame = Counter((d.code, d.op) for d in report.diagnostics)
    layers = list(report)
    return {
        "status": report.status,
        "inputs": [source["shape"] for source in report.inputs],
        "first": first,
        "analyze": min(spent),
        "forward": min(bare) if bare else None,
        "forward_on": where,
        "nodes": len(report._graph.prims),
        "layers": len(layers),
        "bound_layers": sum(layer.status == "bound" for layer in layers),
        "blame": [[code, op, count] for (code, op), count in blame.most_common()],
        "message": next((d.message for d in report.diagnostics), ""),
        "map": _last_map(report),
    }


def _timed(task: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this thread, and the result."""
    gc.collect()
    begin = time.thread_time()
    result = task()
    return time.thread_time() - begin, result


def _forward(module: Any, default: Any) -> tuple[Callable[[], Any] | None, str]:
    """The bare forward pass without any mode, on meta where the module can run there, else on the CPU."""
    import torch

    from eyeshot.frontends.torch.inputs import candidates

    for device in ("meta", "cpu"):
        if device == "cpu" and any(t.is_meta for t in module.parameters()):
            continue
        moved = _on_meta(module) if device == "meta" else module
        for arguments in candidates(module, default, None, None, None):

            def make(slot: Any, device: str = device) -> Any:
                return torch.rand(slot.shape, device=device).to(slot.dtype)

            args, kwargs = arguments.filled(make)

            def forward(moved: Any = moved, args: Any = args, kwargs: Any = kwargs) -> None:
                with torch.no_grad():
                    moved(*args, **kwargs)

            try:
                forward()
            except Exception:
                continue
            return forward, device
    return None, ""


def _on_meta(module: Any) -> Any:
    """A copy without data."""
    import torch

    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        empty = tensor.detach().to("meta")
        as_parameter = isinstance(tensor, torch.nn.Parameter)
        memo[id(tensor)] = torch.nn.Parameter(empty, False) if as_parameter else empty
    return copy.deepcopy(module, memo).to("meta")


def _last_map(report: Any) -> Record | None:
    """The last layer whose units still follow all axes of the first input: a map, or its tokens in one dim."""
    first = report.inputs[0]["name"]
    for layer in reversed(list(report)):
        fields = [field for field in layer.fields if field.input == first]
        dims = {field.dim for field in fields}
        if dims and None not in dims and len(layer.shape) > len(dims) + 1:
            return {
                "layer": layer.name,
                "tokens": len(dims) < len(fields),
                "n": [field.n for field in fields],
                "size": [None if math.isinf(field.size) else field.size for field in fields],
                "jump": [None if field.jump is None else float(field.jump) for field in fields],
                "global": any(field.is_global for field in fields),
                # Global alone: no local field beside the whole axis.
                "local": any(field.canvas is not None or not field.is_global for field in fields),
                "status": layer.status,
            }
    return None


# --- totals and tables


def _ratio(record: Record) -> float | None:
    if record["status"] == "failed" or not record["forward"] or record["forward_on"] != "meta":
        return None
    return float(record["analyze"] / record["forward"])


def totals(records: Sequence[Record]) -> str:
    """Counts, medians, and operators to blame, as Markdown."""
    lines = ["| models | traced | exact | bound | failed | built on the CPU | traced with data |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for library in (*LIBRARIES, "all"):
        some = [r for r in records if library in ("all", r["task"].partition(":")[0])]
        if not some:
            continue
        status = Counter(r["status"] for r in some)
        cells = [
            len(some) - status["failed"],
            status["exact"],
            status["bound"],
            status["failed"],
            sum(r.get("built") == "cpu" for r in some),
            sum(_real(r) for r in some),
        ]
        lines.append(f"| {library}: {len(some):,} | " + " | ".join(f"{n:,}" for n in cells) + " |")
    done = [r for r in records if r["status"] != "failed"]
    if done:
        lines += ["", *_times(done)]
    unknown = _operators(done, lambda code: code in ("unknown-op", "no-rule"))
    lines += ["", f"Operators without a rule: {unknown or 'none'}."]
    return "\n".join(lines) + "\n"


def _real(record: Record) -> bool:
    return any(code == "real-run" for code, _, _ in record.get("blame", []))


def _times(done: Sequence[Record]) -> list[str]:
    """Medians and quantiles of the times."""
    compared = [r for r in done if _ratio(r) is not None]
    rows = [
        ("analysis with all fields, ms", [r["analyze"] * 1e3 for r in done]),
        ("bare meta forward, ms", [r["forward"] * 1e3 for r in compared]),
        ("analysis to bare meta forward", [_ratio(r) or 0.0 for r in compared]),
        (
            "first analysis of the model to bare meta forward",
            [r["first"] / r["forward"] for r in compared],
        ),
        ("primitives in the graph", [r["nodes"] for r in done]),
        ("layers", [r["layers"] for r in done]),
    ]
    lines = ["| | least | median | 90 % | most |", "|---|---:|---:|---:|---:|"]
    for what, values in rows:
        if not values:
            continue
        values = sorted(values)
        picks = [
            values[0],
            statistics.median(values),
            values[int(0.9 * (len(values) - 1))],
            values[-1],
        ]
        show = _times_sign if "to bare" in what else _number
        lines.append(f"| {what} | " + " | ".join(map(show, picks)) + " |")
    if compared:
        middle = statistics.median(_ratio(r) or 0.0 for r in compared)
        verdict = "met" if middle <= AIM else "missed"
        lines += ["", f"Aim: a median ratio of at most {AIM}×; {middle:.3f}×, {verdict}."]
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _times_sign(value: float) -> str:
    return f"{value:.2f}×"


def _operators(records: Iterable[Record], wanted: Callable[[str], bool]) -> str:
    """``op (n models), …``, most frequent first."""
    models: Counter[str] = Counter()
    for record in records:
        models.update({op for code, op, _ in record["blame"] if wanted(code)})
    return ", ".join(f"`{op}` ({n} model{'s' * (n != 1)})" for op, n in models.most_common())


def bounds(records: Sequence[Record]) -> str:
    """Which operators make upper bounds, and in which models; what failed, and how."""
    lines = []
    held: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for code, op in {
            (code, op) for code, op, _ in record.get("blame", []) if code != "real-run"
        }:
            held.setdefault((code, op), []).append(record["task"])
    if held:
        lines += ["| code | operator | models | such as |", "|---|---|---:|---|"]
        for (code, op), some in sorted(held.items(), key=lambda item: (-len(item[1]), item[0])):
            shown = ", ".join(f"`{task}`" for task in sorted(some)[:4])
            lines.append(f"| {code} | {op} | {len(some):,} | {shown}{', …' * (len(some) > 4)} |")
    else:
        lines.append("No operator is bounded.")
    real = [r for r in records if _real(r)]
    if real:
        shown = ", ".join(f"`{r['task']}`" for r in real)
        lines += [
            "",
            f"Traced with random data on the CPU, since the model asks for numbers: {shown}.",
        ]
    failed = [r for r in records if r["status"] == "failed"]
    lines += ["", f"{len(failed)} failed." if failed else "No model failed."]
    if failed:
        lines += ["", "| model | error |", "|---|---|"]
        lines += [f"| {r['task']} | {_cell(r['error'])} |" for r in failed]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def table(records: Sequence[Record]) -> str:
    """One row a model."""
    lines = ["| model | input | field | n | status | layers | nodes | ms | ratio |"]
    lines.append("|---|---|---|---|---|---:|---:|---:|---:|")
    for record in records:
        name = record["task"].partition(":")[2]
        if record["status"] == "failed":
            lines.append(f"| {name} | | | | failed | | | | |")
            continue
        ratio = _ratio(record)
        found = record["map"]
        shown = " + ".join(_shape(shape) for shape in record["inputs"])
        cells = [
            name,
            shown,
            _field(found) if found else "–",
            _short(found["n"]) if found else "–",
            record["status"],
            str(record["layers"]),
            str(record["nodes"]),
            _number(record["analyze"] * 1e3),
            "–" if ratio is None else f"{ratio:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shape(shape: Sequence[int]) -> str:
    """Of an image only the sides, of which equal ones once."""
    return _short(shape[2:]) if len(shape) > 3 else "×".join(map(str, shape))


def _short(values: Sequence[Any]) -> str:
    shown = ["–" if v is None else f"{v:g}" if isinstance(v, float) else str(v) for v in values]
    return shown[0] if len(set(shown)) == 1 else "×".join(shown)


def _field(found: Record) -> str:
    """``427/32``, ``851/32 + G``, ``G`` where there is no local field."""
    mark = "≤ " if found["status"] == "bound" else ""
    size = "×".join("∞" if v is None else str(v) for v in found["size"])
    if len(set(found["size"])) == 1:
        size = "∞" if found["size"][0] is None else str(found["size"][0])
    text = f"{mark}{size}" if found["tokens"] else f"{mark}{size}/{_short(found['jump'])}"
    if not found["global"]:
        return text
    return f"{text} + G" if found["local"] else f"{mark}G"


# --- the command


def parser(prog: str, what: str, results: Path) -> argparse.ArgumentParser:
    """The options that this command and ``benchmarks.zoo_verify`` share."""
    cores = os.cpu_count() or 1
    made = argparse.ArgumentParser(prog=f"python -m {prog}", description=what)
    made.add_argument(
        "--match", action="append", metavar="GLOB", help="only models with such a name"
    )
    made.add_argument("--limit", type=int, metavar="N", help="only the first N")
    made.add_argument(
        "--jobs", type=int, default=cores, metavar="N", help="processes; default: one a core"
    )
    made.add_argument("--timeout", type=float, default=300, metavar="S", help="seconds for a model")
    made.add_argument("--memory", type=float, metavar="GIB", help="address space for a process")
    made.add_argument("--fresh", action="store_true", help="forget the results there are")
    made.add_argument(
        "--keep", action="store_true", help="keep what went well with another version of eyeshot"
    )
    made.add_argument(
        "--report", action="store_true", help="run nothing; totals of the results there are"
    )
    made.add_argument(
        "--results", type=Path, default=results, metavar="FILE", help=f"default: {results}"
    )
    made.add_argument(
        "--write", type=Path, metavar="PAGE", help="renew the tables of a page (docs/zoo.md)"
    )
    return made


def checked(made: argparse.ArgumentParser, options: argparse.Namespace) -> Limits:
    """Refuse options that go against each other; the limits that they set."""
    if options.write and (options.match or options.limit or getattr(options, "library", None)):
        made.error("--write takes a whole run, without --library, --match and --limit")
    if options.write and not options.write.is_file():
        made.error(f"--write {options.write}: there is no such page")
    if options.fresh and options.report:
        made.error("--fresh and --report together leave nothing to report")
    if options.jobs < 1:
        made.error("--jobs: at least 1")
    share = 0.8 * tasks.machine_memory() / options.jobs
    memory = options.memory * 2**30 if options.memory else share
    return Limits(options.jobs, options.timeout, int(memory))


def chosen(every: Sequence[str], options: argparse.Namespace) -> list[str]:
    """The tasks that the filters leave."""
    some = [
        task
        for task in every
        if not options.match
        or any(fnmatchcase(task.partition(":")[2], glob) for glob in options.match)
    ]
    return some[: options.limit]


def carry_out(
    every: Sequence[str],
    work: str,
    options: argparse.Namespace,
    limits: Limits,
    versions: Callable[[str], dict[str, str]],
) -> list[Record]:
    """Run what has no result yet, and give the records of all these tasks."""
    store = Store(options.results)
    if options.fresh:
        store.clear()
    before = tasks.code()
    by_library = {
        library: versions(f"{library}:") for library in {t.partition(":")[0] for t in every}
    }
    todo = (
        []
        if options.report
        else store.pending(every, lambda task: by_library[task.partition(":")[0]], options.keep)
    )
    if len(todo) < len(every) and not options.report:
        print(f"{len(every) - len(todo)} of {len(every)} are there already", file=sys.stderr)
    with showing("models", len(todo)) as show:
        for task, record in tasks.run(todo, work, limits):
            made = {"task": task, "stamp": by_library[task.partition(":")[0]], **record}
            if tasks.code() != before:
                made["stamp"] = {**made["stamp"], "eyeshot": "changed during the run"}
            store.add(made)
            show(f"{task} {record['status']}")
    return [store.records[task] for task in every if task in store.records]


def versions_of(records: Sequence[Record]) -> str:
    """The versions that the records were made with, without the digest of the code."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, value in record["stamp"].items():
            found.setdefault(name, set()).add(value.partition("+")[0])
    return ", ".join(
        f"{name} {' / '.join(sorted(values))}" for name, values in sorted(found.items())
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 whatever the models did, 2 for wrong options."""
    made = parser(
        "benchmarks.zoo",
        "Analyse every model of torchvision and timm at its default input size, without weights.",
        RESULTS,
    )
    made.add_argument("--library", choices=LIBRARIES, help="only this one")
    options = made.parse_args(arguments)
    limits = checked(made, options)
    libraries = [options.library] if options.library else LIBRARIES
    every = chosen([f"{lib}:{name}" for lib in libraries for name in names(lib)], options)
    if not every:
        made.error("no model has such a name")
    records = carry_out(every, "benchmarks.zoo:measure", options, limits, made_with)
    sections = {
        "totals": f"With {versions_of(records)}.\n\n{totals(records)}",
        "bounds": bounds(records),
    }
    print("\n".join(sections.values()))
    if options.write:
        if len(records) < len(every):
            made.error(f"--write: {len(every) - len(records)} models have no result yet")
        for library in libraries:
            some = [r for r in records if r["task"].startswith(f"{library}:")]
            sections[library] = table(some)
        renew(options.write, sections)
    return 0


if __name__ == "__main__":
    sys.exit(main())
