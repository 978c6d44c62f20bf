"""An ONNX model run on poisoned inputs: what :mod:`eyeshot.analysis.verify` compares a report with.

A copy of the model runs in onnxruntime on the CPU, node by node: nothing is fused, and all layers are outputs.
It runs in float64 where there are kernels for that, else in float32, and what onnxruntime can't run at all runs
in the onnx package's reference evaluator. The poison is NaN, which arithmetic passes on. Maxima lose it: the
copy puts it back where the same operator, run on ones in the place of NaN, finds one. Behind whatever else
swallows it (a comparison, a sort, integers) finite changes are tried as well; behind what smears it (causal
attention, which makes the scores that it leaves out) they are tried alone. Per unit one number is kept, a
checksum of its bits: a unit is dirty if it is not that of the clean run.

No path in the file is followed: weights that lie outside of it are random numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx.build import Run
from eyeshot.frontends.onnx.copies import Copy
from eyeshot.frontends.onnx.inputs import Slot
from eyeshot.frontends.onnx.poison import FLOATING, reads, smears, swallows

__all__ = ["OnnxRunner"]

Array = NDArray[Any]
#: The outputs asked for, of inputs: in onnxruntime or in the reference evaluator.
Execute = Callable[[Sequence[str], Mapping[str, Array]], Sequence[Any]]

#: The tensors that are looked at may take so many bytes in a pass.
MEMORY = 1 << 31
#: Changes of finite size: factors of a random number that is added.
FINITE = (8.0, -1e3, 0.05)


class _Spoilt(NamedTuple):
    """Positions of one slot, spoilt along one axis (None: all of it)."""

    slot: str
    axis: int | None
    begin: int
    end: int


class OnnxRunner:
    """Runs a model on poisoned inputs. ``watched``: (name, shape, unit dims) of each layer."""

    def __init__(
        self,
        run: Run,
        watched: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
        seed: int = 0,
    ) -> None:
        self.notes: list[str] = []
        self.passes = 0
        self.batch = 1
        self.dtype = ""
        self._slots = run.slots
        self._seed = seed
        self._weights: dict[tuple[int, ...], Array] = {}
        self._clean: dict[str, Array] = {}
        self._unclean: set[str] = set()
        self._run = run
        self._kinds = ["nan"]
        self._behind: set[str] = set()
        self._smeared: set[str] = set()
        self._floats: dict[str, int] = {}
        self._watched = self._affordable(watched)
        self._copy = Copy(run, seed, self.notes)
        self._settle()
        self._look()

    def hidden(self, layer: str) -> bool:
        """Whether the layer runs after an operator that can swallow poison."""
        return layer in self._behind

    def _affordable(
        self, watched: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]]
    ) -> dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]]:
        """The layers whose tensors can be had, as many as fit into memory: (tensor, shape, unit dims)."""
        out = {}
        inner = room = 0
        for name, shape, dims in reversed(watched):
            tensor = self._run.tensors.get(name)
            if tensor is None:
                inner += 1
                continue
            room += 8 * math.prod(shape)
            if room <= MEMORY:
                out[name] = (tensor, shape, dims)
        left = len(watched) - len(out) - inner
        if inner:
            self.notes.append(f"not compared, inside of functions or subgraphs: {inner} layers")
        if left:
            self.notes.append(f"not compared, to save memory: the first {left} layers")
        return out

    # --- what a run is like

    def _settle(self) -> None:
        """A first, clean run: in float64 if there are kernels, else float32, else the reference evaluator."""
        tensors = list(dict.fromkeys(self._run.tensors.values()))
        if sum(8 * math.prod(s) for s in self._shapes().values()) > MEMORY:
            tensors = [tensor for tensor, _, _ in self._watched.values()]
        self._tensors = tensors
        why: dict[str, str] = {}
        for engine, session in (("onnxruntime", _session), ("the reference evaluator", _evaluator)):
            for target in (TensorProto.DOUBLE, TensorProto.FLOAT):
                kind = helper.tensor_dtype_to_np_dtype(target).name
                try:
                    if engine == "onnxruntime" and target == TensorProto.DOUBLE:
                        _session(self._copy.model(target, tensors, bare=True))
                    model = self._copy.model(target, tensors)
                    self._execute: Execute = session(model)
                    self._floats = _inputs_of(model)
                    self._base = {s.name: self._numbers(s) for s in self._slots}
                    self._clean = self._sums([], clean=True)
                except EyeshotError:
                    raise
                except Exception as error:
                    why.setdefault(f"{engine} in {kind}", _line(error))
                    continue
                self.dtype = kind
                if engine != "onnxruntime":
                    self.notes.append(
                        f"run by {engine}, since onnxruntime can't: {why['onnxruntime in float32']}"
                    )
                elif target != TensorProto.DOUBLE:
                    self.notes.append(_reason(why[f"{engine} in float64"]))
                self.notes += self._copy.remarks()
                return
        raise EyeshotError(f"the model could not be run: {why['onnxruntime in float32'][:400]}")

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all tensors that depend on the inputs."""
        graph = self._run.graph
        return {mark.name: graph.shapes[mark.value] for mark in graph.layers}

    def _numbers(self, slot: Slot) -> Array:
        """A clean input: the user's, else random numbers; tokens are 0."""
        kind = helper.tensor_dtype_to_np_dtype(self._floats[slot.name])
        if kind.kind not in "fbiuc":
            held = TensorProto.DataType.Name(self._floats[slot.name]).lower()
            raise EyeshotError(f"input {slot.name}: there is no poison for {held} numbers")
        if slot.numbers is not None and slot.numbers.shape == slot.shape:
            return slot.numbers.astype(kind)
        rng = np.random.default_rng(self._seed)
        if kind.kind in "fc":
            return rng.standard_normal(slot.shape).astype(kind)
        if kind.itemsize == 1 and kind.kind != "b":
            return rng.integers(0, 100, slot.shape).astype(kind)
        return np.zeros(slot.shape, dtype=kind)

    def _sums(
        self, poison: Sequence[_Spoilt], kind: str = "nan", clean: bool = False
    ) -> dict[str, Array]:
        """Checksums [*unit dims] of every watched layer. ``clean``: note which hold NaN all the same."""
        names = list(dict.fromkeys(tensor for tensor, _, _ in self._watched.values()))
        found = dict(zip(names, self._pass(names, poison, kind), strict=True))
        sums = {}
        for name, (tensor, shape, dims) in self._watched.items():
            array = found[tensor]
            if isinstance(array, np.ndarray) and array.shape == shape:
                sums[name] = self._sum(array, dims)
                if clean and array.dtype.kind in "fc" and np.isnan(array).any():
                    self._unclean.add(name)
        return sums

    def _pass(self, names: Sequence[str], poison: Sequence[_Spoilt], kind: str) -> Sequence[Any]:
        """One run of the model: tensors by name."""
        self.passes += 1
        given = dict(self._base)
        for name, axis, begin, end in poison:
            x = given[name] = given[name].copy()
            at = (slice(None),) * (axis or 0) + (slice(begin, end),)
            self._spoil(name, x if axis is None else x[at], kind)
        return self._execute(names, given)

    def _spoil(self, name: str, x: Array, kind: str) -> None:
        """Poison a view of an input in place."""
        if kind == "nan":
            if x.dtype.kind in "fc":
                x[...] = math.nan
            elif name in self._copy.tokens:
                x[...] = -1
            else:
                self._spoil(name, x, "finite0")
            return
        step = int(kind.removeprefix("finite"))
        rng = np.random.default_rng(self._seed + 1 + step)
        if x.dtype.kind in "fc":
            x += (FINITE[step] * rng.standard_normal(x.shape)).astype(x.dtype)
        elif x.dtype.kind == "b":
            np.logical_not(x, out=x)
        elif x.dtype.itemsize == 1:
            x += rng.integers(1, 100, x.shape).astype(x.dtype)
        else:
            most = max(self._copy.tokens.get(name, 2), 2)
            x[...] = (x + rng.integers(1, most, x.shape)) % most

    def _sum(self, array: Array, unit_dims: tuple[int, ...]) -> Array:
        """Per unit the sum of the elements' bits times fixed odd numbers, modulo a power of two.

        One element that differs always changes it.
        """
        bits = _bits(array)
        extra = bits.ndim - array.ndim
        rest = [d for d in range(array.ndim) if d not in unit_dims]
        sizes = tuple(array.shape[d] if d in rest else 1 for d in range(array.ndim)) + (2,) * extra
        key = (bits.itemsize, *sizes)
        weights = self._weights.get(key)
        if weights is None:
            rng = np.random.default_rng(1)
            most = np.iinfo(bits.dtype).max
            weights = rng.integers(0, most, sizes, dtype=bits.dtype, endpoint=True) | 1
            self._weights[key] = weights
        over = (*rest, *range(array.ndim, bits.ndim))
        mixed: Array = bits * weights
        return mixed.sum(over, dtype=bits.dtype) if over else mixed

    # --- what swallows poison

    def _look(self) -> None:
        """A pass with all inputs spoilt: which operators swallow NaN, and what runs after them."""
        nodes = self._run.model.graph.node
        behind = set(self._copy.escaped)
        smeared: set[str] = set()
        units = {tensor: dims for tensor, _, dims in self._watched.values()}
        try:
            shares = self._shares()
        except Exception as error:
            self._kinds = ["finite0"]
            self._behind = set(self._watched)
            self.notes.append(
                f"poisoned with finite numbers only, since NaN raised: {_line(error)}"
            )
            return
        for node in nodes:
            inputs = reads(node)
            if not behind.isdisjoint(inputs) or swallows(node, inputs, shares):
                behind.update(filter(None, node.output))
            if not smeared.isdisjoint(inputs) or smears(node, units):
                smeared.update(filter(None, node.output))
        self._behind = {name for name, (tensor, _, _) in self._watched.items() if tensor in behind}
        self._smeared = {
            name for name, (tensor, _, _) in self._watched.items() if tensor in smeared
        }
        self._behind |= self._smeared
        if self._smeared:
            self.notes.append(
                f"poisoned with finite numbers only: {len(self._smeared)} layers behind what smears NaN"
            )
        if self._unclean:
            self._behind |= self._unclean
            self.notes.append(
                f"{len(self._unclean)} layers hold NaN in a clean run, so that in them poison may not show"
            )
        if self._behind:
            self._kinds.append("finite0")

    def _shares(self) -> dict[str, float]:
        """Which share of each tensor is NaN if all inputs are; -1 where it can't be."""
        spoilt = [_Spoilt(s.name, None, 0, 0) for s in self._slots]
        shares: dict[str, float] = {}
        for s in self._slots:
            real = self._floats[s.name] in FLOATING or s.name in self._copy.tokens
            shares[s.name] = 1.0 if real else -1.0
        for name, x in zip(self._tensors, self._pass(self._tensors, spoilt, "nan"), strict=True):
            if name in shares:
                continue
            if not isinstance(x, np.ndarray) or x.dtype.kind not in "fc":
                # Tokens on their way to the table are as spoilt as they were.
                shares[name] = 1.0 if name in self._copy.moved else -1.0
            else:
                shares[name] = float(np.isnan(x).mean()) if x.size else -1.0
        return shares

    # --- probes

    def dirty(
        self, probes: Sequence[Any], *, harder: bool = False
    ) -> Iterator[Mapping[str, NDArray[np.bool_]]]:
        """For each probe (input, axis, begin, end) the dirty units of every layer, by its name."""
        kinds = list(self._kinds)
        if harder:
            kinds = list(dict.fromkeys([*kinds[:1], *(f"finite{k}" for k in range(len(FINITE)))]))
        for probe in probes:
            seen: dict[str, NDArray[np.bool_]] = {}
            for kind in kinds:
                for name, sums in self._poisoned(_Spoilt(*probe), kind).items():
                    if name in self._clean and (kind != "nan" or name not in self._smeared):
                        changed = sums != self._clean[name]
                        seen[name] = seen[name] | changed if name in seen else changed
            yield seen

    def _poisoned(self, spoilt: _Spoilt, kind: str) -> dict[str, Array]:
        try:
            return self._sums([spoilt], kind)
        except Exception as error:
            # A model that checks its numbers, such as indices: such a pass shows nothing.
            note = f"some poisoned passes raised, and show nothing: {_line(error)}"
            if note not in self.notes:
                self.notes.append(note)
            return {}


def _bits(x: Array) -> Array:
    """The same numbers as unsigned integers, bit by bit; a last dim of two for complex ones."""
    if x.dtype.kind == "c":
        x = np.ascontiguousarray(x).view(x.real.dtype).reshape(*x.shape, 2)
    if x.dtype.kind not in "fiu" or x.dtype.itemsize < 4:
        return x.astype(np.float32).view(np.uint32)
    return np.ascontiguousarray(x).view(np.dtype(f"u{x.dtype.itemsize}")).reshape(x.shape)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _reason(error: str) -> str:
    """Why a model could not run in float64."""
    lacking = re.search(r"implementation for (\w+)\(", error)
    if lacking:
        return f"in float32: onnxruntime has no float64 kernel for {lacking[1]}"
    return f"in float32, since float64 raised: {error}"


# --- what runs it


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise EyeshotError(
            "to verify an ONNX model takes onnxruntime: pip install 'eyeshot[onnx]'"
        ) from None
    return onnxruntime


def _session(model: ModelProto) -> Execute:
    """The model in onnxruntime, each node by itself."""
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    content = _serialized(model)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    quiet = onnxruntime.RunOptions()
    quiet.log_severity_level = 4
    known = {i.name for i in session.get_inputs()}

    def execute(names: Sequence[str], given: Mapping[str, Array]) -> Sequence[Any]:
        feeds = {name: array for name, array in given.items() if name in known}
        return session.run(list(names), feeds, quiet)

    return execute


def _serialized(model: ModelProto) -> bytes:
    try:
        return model.SerializeToString()
    except Exception:
        raise EyeshotError("with all of its weights the model is too large to be run") from None


def _evaluator(model: ModelProto) -> Execute:
    """The model in the onnx package's own evaluator: slow, but it has all operators."""
    from onnx.reference import ReferenceEvaluator

    made = ReferenceEvaluator(model)

    def execute(names: Sequence[str], given: Mapping[str, Array]) -> Sequence[Any]:
        with np.errstate(all="ignore"):
            found = made.run(list(names), dict(given))
        assert isinstance(found, list)
        return found

    return execute


def _inputs_of(model: ModelProto) -> dict[str, int]:
    return {i.name: i.type.tensor_type.elem_type or TensorProto.FLOAT for i in model.graph.input}
