"""What an ONNX model reads, shown by poisoning its inputs: it knows nothing of eyeshot.

Line by line of each axis, the whole hyperplane of an input is spoilt, and whoever changes read it. Models run
in the onnx package's reference evaluator, or in whatever function is given. Not every operator lets NaN
through, nor shows every finite change: what is found is the union over rounds, each with another kind of change
or other data.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["Key", "Poison", "Run", "evaluator"]

Feeds = Mapping[str, Any]
Run = Callable[[Feeds], Sequence[Any]]
#: An input's name (``seq[1]`` for an item of a sequence), and an axis of it.
Key = tuple[str, int]


def evaluator(model: Any) -> Run:
    """The model in the reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    made = ReferenceEvaluator(model)

    def run(feeds: Feeds) -> Sequence[Any]:
        with np.errstate(all="ignore"):
            return made.run(None, dict(feeds))

    return run


class Poison:
    """``found``: per input and axis, per output, a bool array [n, *output]: does position p change it?

    An output that is no tensor has None. ``finite``: inputs for which what only NaN and
    infinity show is kept apart, in ``loose``: where the network masks by adding -inf, which hides a number and
    lets NaN through.
    """

    def __init__(self, run: Run, feeds: Feeds, seed: int = 0, finite: Container[str] = ()) -> None:
        self._run = run
        self._feeds = dict(feeds)
        self._rng = np.random.default_rng(seed)
        self.outputs = [_tensor(out) for out in run(self._feeds)]
        self._arrays: dict[str, np.ndarray] = {}
        for name, fed in self._feeds.items():
            if isinstance(fed, (list, tuple)):
                self._arrays.update({f"{name}[{k}]": np.asarray(x) for k, x in enumerate(fed)})
            elif fed is not None:
                self._arrays[name] = np.asarray(fed)
        self.found: dict[Key, list[np.ndarray | None]] = {
            (name, axis): [
                None if out is None else np.zeros((n, *out.shape), dtype=bool)
                for out in self.outputs
            ]
            for name, array in self._arrays.items()
            if array.size
            for axis, n in enumerate(array.shape)
        }
        self.loose: dict[Key, list[np.ndarray | None]] = {
            key: [None if seen is None else seen.copy() for seen in found]
            for key, found in self.found.items()
            if key[0] in finite
        }
        self._clean = self.outputs
        self._round = 0

    def round(self) -> None:
        """One kind of change at every position of every axis; after all kinds, the same on other data."""
        kinds = 8
        draw, kind = divmod(self._round, kinds)
        self._round += 1
        if not kind and draw:
            self._draw(draw)
        for (name, axis), found in self.found.items():
            if kind in (0, 4, 5):
                found = self.loose.get((name, axis), found)
            for p in range(self._arrays[name].shape[axis]):
                spoilt = self._spoilt(name, axis, p, kind)
                if spoilt is None:
                    break
                try:
                    after = [_tensor(out) for out in self._run(self._fed(name, spoilt))]
                except Exception:  # an index out of range, for one: this change is not allowed
                    continue
                for seen, a, b in zip(found, self._clean, after, strict=True):
                    if seen is None or a is None or b is None:
                        continue
                    if b.shape == a.shape == seen.shape[1:]:
                        seen[p] |= _differ(a, b)

    def _fed(self, name: str, array: np.ndarray) -> dict[str, Any]:
        """The inputs with one in place of its own."""
        out: dict[str, Any] = {}
        for key, fed in self._feeds.items():
            if isinstance(fed, (list, tuple)):
                items = [f"{key}[{k}]" for k in range(len(fed))]
                out[key] = [array if item == name else self._arrays[item] for item in items]
            elif fed is None:
                out[key] = None
            else:
                out[key] = array if key == name else self._arrays[key]
        return out

    def _draw(self, draw: int) -> None:
        """Other data of the same kinds and ranges; every second time only ones and zeros among the bools."""
        before = dict(self._arrays)
        for name, array in before.items():
            self._arrays[name] = self._another(array, draw)
        some = next(iter(self._arrays), None)
        if some is None:
            return
        try:
            self._clean = [_tensor(out) for out in self._run(self._fed(some, self._arrays[some]))]
        except Exception:
            self._arrays = before

    def _another(self, array: np.ndarray, draw: int) -> np.ndarray:
        rng = self._rng
        if array.dtype == bool:
            if draw < 3:
                return np.full(array.shape, draw == 1)
            return rng.random(array.shape) < 0.5
        if "float" in array.dtype.name:
            noise = rng.standard_normal(array.shape)
            if draw % 3 == 2:  # ties, for what looks for a maximum
                noise = np.sign(noise.round())
            return (noise if not (array >= 0).all() else np.abs(noise)).astype(array.dtype)
        if np.issubdtype(array.dtype, np.integer) and array.size:
            least, most = min(0, int(array.min())), int(array.max())
            if draw % 2:  # few values, so that some are equal
                most = min(most, least + 2)
            return rng.integers(least, most + 1, array.shape).astype(array.dtype)
        return rng.permutation(array.reshape(-1)).reshape(array.shape)

    def _spoilt(self, name: str, axis: int, p: int, kind: int) -> np.ndarray | None:
        """The array with position ``p`` along ``axis`` changed in one of eight ways; None if there is none."""
        array = self._arrays[name]
        at = (slice(None),) * axis + (p,)
        old = np.asarray(array[at], array.dtype)  # a text alone is no array
        out = array.copy()
        if kind == 6:  # what an input beside it has
            for other, beside in self._arrays.items():
                if other == name or beside.dtype != array.dtype:
                    continue
                try:
                    out[at] = np.broadcast_to(beside, array.shape)[at]
                except ValueError:
                    out[at] = np.asarray(self._rng.choice(beside.reshape(-1), old.shape))[()]
                return out
            return None
        if kind == 7:  # values that occur elsewhere in it
            out[at] = np.asarray(self._rng.choice(array.reshape(-1), old.shape))[()]
            return out
        new = _changed(old, kind, self._rng)
        if new is None:
            return None
        out[at] = new
        return out


def _changed(old: np.ndarray, kind: int, rng: np.random.Generator) -> Any:
    dtype = old.dtype
    if dtype.kind == "b":
        return ~old if not kind else None
    if dtype.kind in "OUST":
        return np.full(old.shape, "other", dtype) if not kind else None
    if dtype.name.startswith(("bfloat", "float8", "float4")):  # those of ml_dtypes
        wide = _changed(old.astype(np.float32), kind, rng)
        with np.errstate(all="ignore"):
            return None if wide is None else np.asarray(wide).astype(dtype)
    if np.issubdtype(dtype, np.inexact):
        far = (1000 * (rng.random(old.shape) + 0.1)).astype(dtype)
        return (lambda: np.nan, lambda: old + far, lambda: old - far, lambda: old * 0.5 + far / 5000,
                lambda: np.inf, lambda: -np.inf)[kind]()  # fmt: skip
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        # The evaluator wraps a place around by subtracting: one far away takes years.
        low, high = (-1000, 1000) if info.min < -(1 << 20) else (info.min, info.max)
        with np.errstate(all="ignore"):
            return (lambda: np.where(old == info.max, old - 1, old + 1), lambda: np.zeros_like(old),
                    lambda: np.where(old == info.min, old + 1, old - 1), lambda: old ^ 64,
                    lambda: rng.integers(low, high, old.shape, dtype),
                    lambda: np.where(old > 0, 0, 100).astype(dtype))[kind]()  # fmt: skip
    if dtype.kind == "V":  # the small types of ml_dtypes
        return np.full_like(old, kind % 4)
    return None


def _tensor(out: Any) -> np.ndarray | None:
    if out is None or isinstance(out, (list, tuple, dict)):
        return None
    return np.asarray(out)


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind in "OUST":
        return np.asarray(a != b)
    if a.dtype.kind not in "biufc":  # the small types of ml_dtypes
        a, b = a.astype(np.float32), b.astype(np.float32)
    return np.asarray((a != b) & ~((a != a) & (b != b)))
