"""All cases of the backend suite, on all cores: ``python -m tests.frontends.onnx.sweep [REGEX]`` lists them."""

from __future__ import annotations

import functools
import multiprocessing
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from eyeshot.errors import EyeshotError
from tests.frontends.onnx import backend
from tests.frontends.onnx.agree import assert_agrees
from tests.frontends.onnx.ort import session
from tests.oracles import onnx_poison

__all__ = ["Outcome", "is_listed", "listed", "outcomes"]


class Outcome(NamedTuple):
    """``result``: exact, bound (with the reason), empty (nothing is read) or wrong (with the error)."""

    name: str
    result: str
    text: str
    seconds: float


@functools.cache
def listed(file: str) -> dict[str, list[str]]:
    """Globs of cases by the reason for which they are in the list of this name."""
    text = Path(__file__).with_name(f"{file}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text) or {}


def is_listed(name: str, globs: dict[str, list[str]]) -> bool:
    """Whether a case is in a list."""
    return any(fnmatchcase(name, glob) for some in globs.values() for glob in some)


#: Where the evaluator masks by adding -inf, which hides a number and lets NaN through, keys and values are
#: poisoned by numbers alone.
MASKED = re.compile(r"attention.*(causal|window|padded_kv)(?!.*_expanded)")
KEYS = frozenset(["K", "V", "past_key", "past_value", "attn_mask"])


#: Seconds that a case may take.
LIMIT = 60


def outcome(name: str) -> Outcome:
    """One case, compared with poisoning in the reference evaluator."""
    begun = time.monotonic()
    signal.alarm(LIMIT)
    try:
        result, text = _compared(name)
    except _TooLong:
        result, text = "wrong", f"more than {LIMIT} s"
    except Exception as error:
        result, text = "wrong", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return Outcome(name, result, text, time.monotonic() - begun)


def _compared(name: str) -> tuple[str, str]:
    with warnings.catch_warnings(action="ignore"):  # of the evaluator's arithmetic
        case = backend.load(name)
        feeds = {k: v for k, v in case.feeds.items() if isinstance(v, list) or np.size(v)}
        try:
            run = session(case.model) if is_listed(name, listed("onnxruntime")) else None
            report = assert_agrees(
                case.model,
                case.feeds,
                status=None,
                run=run,
                finite=KEYS if MASKED.search(name) else (),
            )
        except EyeshotError as error:
            if not re.search("no inputs|no output of the model depends|no field axes", str(error)):
                raise
            # So nothing may change whatever is fed.
            if any(isinstance(v, list) or np.ndim(v) for v in feeds.values()):
                poison = onnx_poison.Poison(onnx_poison.evaluator(case.model), feeds)
                for _ in range(8):
                    poison.round()
                for key, found in poison.found.items():
                    assert not any(f is not None and f.any() for f in found), (key, str(error))
            return "empty", str(error)
    if report.status == "bound":
        return "bound", report.diagnostics[0].message
    return "exact", ""


class _TooLong(BaseException):
    """Not an Exception, which a poisoned run may raise."""


def _begin() -> None:
    def stop(*_: Any) -> None:
        raise _TooLong

    signal.signal(signal.SIGALRM, stop)


def outcomes(pattern: str = "") -> Iterator[Outcome]:
    """All cases that are not left out; with a pattern, those whose names match, left out or not."""
    left = listed("left_out")
    names = [
        n for n in backend.cases() if (re.search(pattern, n) if pattern else not is_listed(n, left))
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, _begin) as pool:
        yield from pool.map(outcome, names, chunksize=4)


def main() -> None:
    found = []
    for one in outcomes(*sys.argv[1:2]):
        found.append(one)
        if one.result == "wrong" or one.seconds > 20:
            print(f"{one.result} {one.name} {one.seconds:.0f} s", flush=True)
    texts: dict[tuple[str, str], list[Any]] = {}
    for one in found:
        texts.setdefault((one.result, " ".join(one.text.split())[:160]), []).append(one)
    for (result, text), ones in sorted(texts.items()):
        print(f"{len(ones):4} {result:5} {text}  {', '.join(o.name for o in ones[:4])}")
    slowest = sorted(found, key=lambda o: -o.seconds)[:20]
    print("slowest:", ", ".join(f"{o.name} {o.seconds:.0f} s" for o in slowest))
    print(f"{len(found)} cases, {sum(o.seconds for o in found):.0f} s in all")


if __name__ == "__main__":
    main()
