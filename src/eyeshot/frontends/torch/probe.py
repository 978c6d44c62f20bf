"""The real module on poisoned inputs: what :mod:`eyeshot.analysis.verify` compares a report with.

A copy of the module runs on the CPU in float64. The poison is NaN, which arithmetic passes on; where something
swallows NaN (a comparison, a sort, an integer) a finite change is tried as well. Per unit one number is kept, a
checksum of its bits: a unit is dirty if it is not that of the clean run.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
    _get_current_dispatch_mode_stack,
)

from eyeshot.errors import EyeshotError
from eyeshot.frontends.torch.build import Run, _module, run
from eyeshot.frontends.torch.inputs import Arguments, Slot, tensors_in
from eyeshot.frontends.torch.rules.attention import with_attention
from eyeshot.frontends.torch.trace import Tracer

__all__ = ["TorchRunner"]

#: A token that no vocabulary has: looked up, it gives NaN. Sums with positions leave it far below zero.
SENTINEL = -(1 << 30)
#: All activations of one pass may take so many bytes; samples per pass are limited accordingly.
MEMORY = 1 << 29
MAX_BATCH = 16
#: Operators that look tokens up, and which of their arguments these are.
TABLES = {"aten::embedding": 1, "aten::index_select": 2}
#: Operators that take no more than a shape, or write over what was there.
BLIND = re.compile(r"aten::(.*_like|new_.*|fill_?|zero_?|copy_|empty.*|.*max_pool.*|sym_.*)")
#: Changes of finite size: factors of a random number that is added.
FINITE = (8.0, -1e3, 0.05)


class _Spoilt(NamedTuple):
    """Positions of one slot, spoilt along one axis (None: all of it)."""

    slot: str
    axis: int | None
    begin: int
    end: int


class _Place(NamedTuple):
    """Where samples lie in a batched tensor: along ``dim``, outside (``major``) or inside of what was there."""

    dim: int
    major: bool


class TorchRunner:
    """Runs a module on poisoned inputs. ``watched``: (name, shape, unit dims) of each layer.

    ``elements``: how many numbers all activations of one sample have.
    """

    def __init__(
        self,
        module: Any,
        arguments: Arguments,
        training: bool | None,
        watched: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
        elements: int,
        seed: int = 0,
    ) -> None:
        self.notes: list[str] = []
        self.passes = 0
        self.batch = 1
        self._arguments = arguments
        self._training = training
        self._seed = seed
        self._watched = {name: (shape, dims) for name, shape, dims in watched}
        self._weights: dict[tuple[int, ...], Tensor] = {}
        self._names: dict[int, str] = {}
        # Outputs that are no row of their own, by their place among the tensors that the module returns.
        self._outputs: dict[int, str] = {}
        self._returned: dict[int, int] = {}
        self._watch: Callable[[str, Tensor], None] | None = None
        self._places: dict[str, _Place] = {}
        self._clean: dict[tuple[int, str], dict[str, Any]] = {}
        self._behind: set[str] = set()
        self._module = _copied(module, seed, self.notes)
        self._module.register_forward_hook(self._returns)
        self._settle()
        self._look()
        self._widen(elements)

    @property
    def dtype(self) -> str:
        """``float64``, or ``float32`` for a module that cannot run in it."""
        return str(self._float).removeprefix("torch.")

    def hidden(self, layer: str) -> bool:
        """Whether the layer runs after an operator that can swallow poison."""
        return layer in self._behind

    # --- what a run is like

    def _settle(self) -> None:
        """A first, clean run: in float64 if that works. Layers are known by their events from here on."""
        errors = []
        for dtype in (torch.float64, torch.float32):
            self._float = dtype
            # Parameters and buffers of other kinds (complex numbers, integers) stay as they are.
            self._module = self._module.double() if dtype == torch.float64 else self._module.float()
            self._base = self._inputs(dtype)
            try:
                done = self._run(1, [])
            except EyeshotError:
                raise
            except Exception as error:
                errors.append(" ".join(str(error).split()))
                continue
            self._names = {e: name for name, e in done.events.items() if name in self._watched}
            values = {mark.value: mark.name for mark in done.graph.layers}
            for k, value in self._returned.items():
                name = values.get(value, "")
                if name in self._watched and name not in done.events:
                    self._outputs[k] = name
            if dtype != torch.float64:
                self.notes.append(f"in float32, since float64 raised: {errors[0][:160]}")
            return
        raise EyeshotError(f"the module could not be run on the CPU: {errors[0][:400]}")

    def _inputs(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Clean inputs: the user's, else random numbers; tokens are 0."""
        generator = torch.Generator().manual_seed(self._seed)
        made: dict[str, Tensor] = {}
        for slot in self._arguments.slots:
            if slot.tensor is not None and not slot.tensor.is_meta:
                x = slot.tensor.detach().cpu().clone()
                made[slot.name] = x.to(dtype) if x.is_floating_point() else x
            elif slot.dtype.is_floating_point:
                made[slot.name] = torch.randn(slot.shape, generator=generator, dtype=dtype)
            elif slot.dtype.is_complex:
                wide = torch.complex128 if dtype == torch.float64 else torch.complex64
                made[slot.name] = torch.randn(slot.shape, generator=generator, dtype=wide)
            else:
                made[slot.name] = torch.zeros(slot.shape, dtype=slot.dtype)
        return made

    def _run(
        self,
        batch: int,
        poison: Sequence[_Spoilt | None],
        kind: str = "nan",
        watch: Callable[[str, Tensor], None] | None = None,
        look: bool = False,
    ) -> Run:
        """One forward pass with sample k spoilt as ``poison[k]`` says; ``watch`` sees every watched layer."""
        self.passes += 1
        self._watch = watch

        def fill(slot: Slot) -> Tensor:
            x = self._base[slot.name]
            x = x.clone() if batch == 1 else x.repeat(batch, *(1,) * (x.ndim - 1))
            for k, spoilt in enumerate(poison):
                if spoilt is not None and spoilt.slot == slot.name:
                    sample = x if batch == 1 else x.narrow(0, k, 1)
                    if spoilt.axis is not None:
                        sample = sample.narrow(spoilt.axis, spoilt.begin, spoilt.end - spoilt.begin)
                    self._spoil(sample, kind)
            return x

        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=[]))
            torch.manual_seed(self._seed)
            # The context manager for this flag touches others, and warns of them.
            stack.callback(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled())
            torch._C._set_mkldnn_enabled(False)
            stack.enter_context(torch.backends.nnpack.flags(enabled=False))
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(self._float)
            stack.enter_context(_Attention())
            self._kernels = stack.enter_context(_Kernels(look))
            return run(
                self._module, self._arguments, self._training, real=True, fill=fill, watch=self._row
            )

    def _row(self, event: int, tensor: Tensor) -> None:
        name = self._names.get(event)
        if name is not None and self._watch is not None:
            self._watch(name, tensor)

    def _returns(self, module: torch.nn.Module, args: Any, out: Any) -> None:
        """A hook on the module itself: outputs that no operator's row stands for."""
        tensors = tensors_in(out)
        if self._watch is None:
            for mode in _get_current_dispatch_mode_stack():
                if isinstance(mode, Tracer):
                    held = [(k, mode.value(tensor)) for k, tensor in enumerate(tensors)]
                    self._returned = {k: value for k, value in held if value is not None}
            return
        for k, name in self._outputs.items():
            if k < len(tensors):
                self._watch(name, tensors[k])

    def _spoil(self, x: Tensor, kind: str) -> None:
        """Poison a view of an input in place."""
        numbers = x.is_floating_point() or x.is_complex()
        if kind == "nan":
            if numbers:
                x.fill_(math.nan)
            elif x.dtype in (torch.int64, torch.int32):
                x.fill_(SENTINEL)
            else:
                self._spoil(x, "finite0")
            return
        step = int(kind.removeprefix("finite"))
        generator = torch.Generator().manual_seed(self._seed + 1 + step)
        if numbers:
            x.add_(FINITE[step] * torch.randn(x.shape, generator=generator, dtype=x.dtype))
        elif x.dtype == torch.bool:
            x.logical_not_()
        else:
            most = self._vocabulary()
            other = torch.randint(1, max(most, 2), x.shape, generator=generator).to(x.dtype)
            x.copy_((x + other) % most)

    def _vocabulary(self) -> int:
        """How many tokens there are: what the smallest table of embeddings holds."""
        sizes = [
            m.num_embeddings for m in self._module.modules() if isinstance(m, torch.nn.Embedding)
        ]
        return min(sizes, default=2)

    # --- what it shows

    def _sums(
        self, batch: int, poison: Sequence[_Spoilt | None], kind: str = "nan", every: bool = False
    ) -> dict[str, Any]:
        """Checksums [samples, *unit dims] of every watched layer; for each possible place if ``every``."""
        found: dict[str, Any] = {}

        def watch(name: str, tensor: Tensor) -> None:
            with _disable_current_modes(), torch._C.DisableTorchFunction():
                shape, dims = self._watched[name]
                if every:
                    places = list(_places(tuple(tensor.shape), shape, batch))
                    found[name] = {p: self._sum(tensor, batch, p, shape, dims) for p in places}
                elif batch == 1:
                    if tuple(tensor.shape) == shape:
                        found[name] = self._sum(tensor, 1, None, shape, dims)
                elif _split(tuple(tensor.shape), shape, batch, self._places[name]):
                    found[name] = self._sum(tensor, batch, self._places[name], shape, dims)

        self._run(batch, poison, kind, watch)
        return found

    def _sum(
        self,
        tensor: Tensor,
        batch: int,
        place: _Place | None,
        shape: tuple[int, ...],
        unit_dims: tuple[int, ...],
    ) -> Any:
        """Per sample and unit the sum of the elements' bits times fixed odd numbers, modulo 2**64.

        One element that differs always changes it.
        """
        bits = _bits(tensor.detach())
        extra = bits.ndim - tensor.ndim
        if place is None:
            bits = bits.unsqueeze(0)
        else:
            n = shape[place.dim]
            bits = bits.unflatten(place.dim, (batch, n) if place.major else (n, batch))
            bits = bits.movedim(place.dim if place.major else place.dim + 1, 0)
        rest = [d for d in range(len(shape)) if d not in unit_dims]
        sizes = tuple(shape[d] if d in rest else 1 for d in range(len(shape))) + (2,) * extra
        weights = self._weights.get(sizes)
        if weights is None:
            generator = torch.Generator().manual_seed(1)
            weights = torch.randint(-(1 << 62), 1 << 62, sizes, generator=generator) * 2 + 1
            self._weights[sizes] = weights
        over = [d + 1 for d in rest] + [len(shape) + 1 + k for k in range(extra)]
        mixed = bits * weights
        return (mixed.sum(over) if over else mixed).numpy().copy()

    def _look(self) -> None:
        """One pass with all inputs spoilt: which operators swallow NaN, and what runs after them."""
        poison = [_Spoilt(s.name, None, 0, 0) for s in self._arguments.slots if s.axes]
        behind: set[str] = set()

        def watch(name: str, tensor: Tensor) -> None:
            if self._kernels.swallowed:
                behind.add(name)

        self._kinds = ["nan"]
        try:
            for spoilt in poison:
                self._run(1, [spoilt], "nan", watch, look=True)
        except EyeshotError:
            raise
        except Exception as error:
            self._kinds = []
            behind = set(self._watched)
            text = " ".join(str(error).split())[:160]
            self.notes.append(f"poisoned with finite numbers only, since NaN raised: {text}")
        self._behind = behind
        if behind or not self._kinds:
            self._kinds.append("finite0")

    def _widen(self, elements: int) -> None:
        """As many samples a pass as fit into memory, if the module keeps samples apart."""
        slots = self._arguments.slots
        apart = all(s.shape and s.shape[0] == 1 and 0 not in s.axes for s in slots)
        width = 2 if self._float == torch.float64 else 1
        batch = min(MAX_BATCH, MEMORY // max(1, 4 * width * elements))
        if not apart or batch < 2:
            return
        try:
            places = self._found_places(min(batch, 3))
        except EyeshotError:
            raise
        except Exception:
            self.notes.append("one probe a pass, since the module takes a batch of one only")
            return
        if places is None:
            self.notes.append("one probe a pass, since the module mixes the samples of a batch")
            return
        self._places = places
        self.batch = batch

    def _found_places(self, batch: int) -> dict[str, _Place] | None:
        """Where samples lie in each layer: only the poisoned one turns dirty. None if others do as well."""
        clean = self._sums(batch, [], every=True)
        left = {name: set(sums) for name, sums in clean.items()}
        for slot in self._arguments.slots:
            poison = [None, _Spoilt(slot.name, None, 0, 0)]
            for name, sums in self._sums(batch, poison, self._kinds[0], every=True).items():
                for place, found in sums.items():
                    others = found != clean[name][place]
                    others[1] = False
                    if others.any():
                        left[name].discard(place)
        if set(left) != {*self._names.values(), *self._outputs.values()} or not all(left.values()):
            return None
        return {
            name: min(places, key=lambda p: (not p.major, p.dim)) for name, places in left.items()
        }

    # --- probes

    def dirty(self, probes: Sequence[Any], *, harder: bool = False) -> Iterator[Mapping[str, Any]]:
        """For each probe (input, axis, begin, end) the dirty units of every layer, by its name."""
        batch = self.batch
        kinds = list(self._kinds)
        if harder:
            kinds = [*self._kinds[:1], *(f"finite{k}" for k in range(len(FINITE)))]
            kinds = list(dict.fromkeys(kinds))
        for start in range(0, len(probes), batch):
            group = [_Spoilt(*probe) for probe in probes[start : start + batch]]
            clean = self._reference(batch)
            seen: list[dict[str, Any]] = [{} for _ in group]
            for kind in kinds:
                for name, sums in self._poisoned(batch, group, kind).items():
                    if name not in clean:
                        continue
                    changed = sums != clean[name]
                    for k, found in enumerate(seen):
                        found[name] = found[name] | changed[k] if name in found else changed[k]
            yield from seen

    def _reference(self, batch: int) -> dict[str, Any]:
        """The checksums of a clean run of that many samples."""
        key = (batch, self.dtype)
        if key not in self._clean:
            self._clean[key] = self._sums(batch, [])
        return self._clean[key]

    def _poisoned(self, batch: int, group: Sequence[_Spoilt], kind: str) -> dict[str, Any]:
        try:
            return self._sums(batch, group, kind)
        except EyeshotError:
            raise
        except Exception as error:
            # A module that checks its numbers: such a pass shows nothing.
            text = " ".join(str(error).split())[:160]
            note = f"some poisoned passes raised, and show nothing: {text}"
            if note not in self.notes:
                self.notes.append(note)
            return {}


# --- batches


def _places(real: tuple[int, ...], shape: tuple[int, ...], batch: int) -> Iterator[_Place]:
    """How a batched tensor may hold ``batch`` times a tensor of ``shape``."""
    for dim in range(len(shape)):
        for major in (True, False):
            place = _Place(dim, major)
            if _split(real, shape, batch, place):
                yield place
                if shape[dim] == 1:
                    break


def _split(real: tuple[int, ...], shape: tuple[int, ...], batch: int, place: _Place) -> bool:
    expected = list(shape)
    expected[place.dim] *= batch
    return list(real) == expected


def _bits(x: Tensor) -> Tensor:
    """The same numbers as integers, bit by bit; a last dim of two for complex ones."""
    if x.is_complex():
        x = torch.view_as_real(x.resolve_conj())
    if x.is_floating_point():
        size = x.element_size()
        whole = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}[size]
        x = x.resolve_neg().view(whole)
    elif x.is_quantized:
        x = x.int_repr()
    return x.to(torch.int64)


# --- the copy


def _copied(module: Any, seed: int, notes: list[str]) -> torch.nn.Module:
    """A copy on the CPU; weights that a module on the meta device lacks are random."""
    module = _module(module)
    try:
        module = copy.deepcopy(module)
    except Exception as error:
        raise EyeshotError(f"the module can't be copied, which verify needs: {error}") from None
    bare = [t for t in (*module.parameters(), *module.buffers()) if t.is_meta]
    if bare:
        _given_weights(module, seed)
        notes.append("the module is on the meta device: verified with random weights")
    module = module.cpu()
    for p in module.parameters():
        p.requires_grad_(False)
    return module


def _given_weights(module: torch.nn.Module, seed: int) -> None:
    """Random numbers in the place of every meta tensor: none is zero, and variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[int, Tensor] = {}

    def drawn(place: str, tensor: Tensor) -> Tensor:
        if id(tensor) in made:  # shared
            return made[id(tensor)]
        if tensor.is_floating_point() or tensor.is_complex():
            fan = max(1, math.prod(tensor.shape[1:]))
            wide = torch.complex64 if tensor.is_complex() else torch.float32
            x = torch.randn(tensor.shape, generator=generator, dtype=wide) / math.sqrt(fan)
            if "var" in place.rpartition(".")[2]:
                x = x.abs() + 0.5
            x = x.to(tensor.dtype)
        elif place.endswith("num_batches_tracked"):
            x = torch.zeros(tensor.shape, dtype=tensor.dtype)
        else:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise EyeshotError(
                f"{place}: a buffer of {kind} on the meta device; its numbers are needed as data, so build "
                "the module with them to verify it"
            )
        if isinstance(tensor, torch.nn.Parameter):
            x = torch.nn.Parameter(x, requires_grad=False)
        made[id(tensor)] = x
        return x

    for path, part in module.named_modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None and tensor.is_meta:
                    held[name] = drawn(f"{path}.{name}".lstrip("."), tensor)


# --- kernels that keep poison where it belongs


class _Attention(TorchFunctionMode):
    """Attention by the definition: PyTorch's fused kernels lose NaN, and its plain one, which adds -inf to what
    causality hides, spreads it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        if func is F.multi_head_attention_forward:
            func = with_attention(func, _attention)
        return func(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention in which a key that causality hides is not read, and all others are, a mask or not."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    scores = query @ key.transpose(-2, -1)
    scores = scores * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            # Added, so that a NaN stays one.
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(
                ~attn_mask, -math.inf
            )
        scores = scores + attn_mask
    if not is_causal:
        blind = (scores == -math.inf).all(-1, keepdim=True)
        return F.dropout(scores.softmax(-1).masked_fill(blind, 0), dropout_p) @ value
    held = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    scores = scores.masked_fill(~held, -math.inf)
    out = F.dropout(scores.softmax(-1), dropout_p) @ value.nan_to_num()
    spoilt = held.to(query.dtype) @ value.isnan().to(query.dtype)
    return out.masked_fill(spoilt > 0, math.nan)


class _Kernels(TorchDispatchMode):
    """The kernels below the tracer: a lookup of a poisoned token gives NaN.

    While ``looking``, ``swallowed`` turns true at the first operator that is given NaN and does not pass it on.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it, PyTorch would import it

    def __init__(self, looking: bool) -> None:
        super().__init__()
        self.looking = looking
        self.swallowed = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if not self.looking or self.swallowed:
            return self._call(name, func, args, kwargs)
        given = [_spoilt(t) for t in _tensors(args) + _tensors(kwargs.values())]
        out = self._call(name, func, args, kwargs)
        if any(given):
            self.swallowed = _swallows(name, func, out, given)
        return out

    def _call(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        at = TABLES.get(name)
        return func(*args, **kwargs) if at is None else _looked_up(func, args, kwargs, at)


def _looked_up(func: Any, args: Any, kwargs: Any, at: int) -> Any:
    """A lookup in a table; ``at`` is the place of the tokens among the arguments."""
    tokens = args[at] if len(args) > at else None
    if not isinstance(tokens, Tensor) or tokens.dtype not in (torch.int64, torch.int32):
        return func(*args, **kwargs)
    bad = tokens < SENTINEL // 2
    if not bad.any():
        return func(*args, **kwargs)
    out = func(*args[:at], tokens.masked_fill(bad, 0), *args[at + 1 :], **kwargs)
    if func._schema.name == "aten::embedding":
        return out.masked_fill(bad.unsqueeze(-1), math.nan)
    dim = args[1] % max(out.ndim, 1)
    return out.masked_fill(bad.reshape(-1, *(1,) * (out.ndim - 1 - dim)), math.nan)


def _spoilt(x: Tensor) -> float:
    """Which share of a tensor is poison."""
    if not x.numel() or x.is_quantized:
        return 0.0
    if x.is_floating_point() or x.is_complex():
        return float(x.isnan().sum()) / x.numel()
    if x.dtype in (torch.int64, torch.int32):
        return float((x < SENTINEL // 2).sum()) / x.numel()
    return 0.0


def _swallows(name: str, func: Any, out: Any, given: Sequence[float]) -> bool:
    """Whether an operator that was given poison does not pass all of it on."""
    aliases = [r.alias_info for r in func._schema.returns if r.alias_info is not None]
    if BLIND.fullmatch(name) or any(not alias.is_write for alias in aliases):
        return False
    results = _tensors(out if isinstance(out, (list, tuple)) else [out])
    for x in results:
        if x.numel() and not (x.is_floating_point() or x.is_complex()):
            if _spoilt(x) < max(given):
                return True
        elif x.numel():
            share = _spoilt(x)
            if not share or (min(given) == 1 and share < 1):
                return True
    return False


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += [v for v in value if isinstance(v, Tensor)]
    return found
