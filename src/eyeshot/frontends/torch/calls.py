"""What is known of an operator, and one call of it as a rule sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from eyeshot.core import families
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Input
from eyeshot.frontends.torch import rules
from eyeshot.frontends.torch.names import operator_name

if TYPE_CHECKING:
    from eyeshot.frontends.torch.trace import Tracer

__all__ = ["Call", "NeedsData", "NoRule", "Op", "flat", "tensors_among"]

#: What operators return besides tensors is a number for Python, or else a matter of shapes alone.
NUMBERS = frozenset(["bool", "float", "int", "number", "complex", "Scalar"])
OF_SHAPES = frozenset(
    "sym_size sym_stride sym_numel sym_storage_offset size stride numel dim is_same_size "
    "has_same_storage_numel".split()
)
#: Operators that move or copy: no row of their own.
SILENT = frozenset(
    "_to_copy clone copy contiguous lift_fresh lift_fresh_copy alias detach _unsafe_view "
    "expand_copy _conj_physical resolve_conj resolve_neg fill zero slice_scatter select_scatter".split()
)


class NeedsData(Exception):
    """The module asks for numbers that a trace without data does not have."""


class NoRule(Exception):
    """Raised by a rule that does not cover a case: the operator is then bounded."""


class Op:
    """What is known of an operator overload."""

    __slots__ = (
        "composite",
        "fresh",
        "inplace",
        "kernel",
        "moves",
        "name",
        "outs",
        "rule",
        "silent",
        "sized",
        "title",
        "to_python",
        "view",
        "writes",
    )

    def __init__(self, func: Any) -> None:
        schema = func._schema
        self.name: str = schema.name
        base = self.name
        written = [
            k for k, a in enumerate(schema.arguments) if a.alias_info and a.alias_info.is_write
        ]
        self.writes = [k for k in written if not schema.arguments[k].kwarg_only]
        self.outs = [schema.arguments[k].name for k in written if schema.arguments[k].kwarg_only]
        aliases = [r.alias_info for r in schema.returns if r.alias_info is not None]
        self.inplace = bool(self.writes) and any(a.is_write for a in aliases)
        self.view = any(not a.is_write for a in aliases)
        known = rules.load()
        if self.inplace and base not in known:
            base = base.removesuffix("_")
        found = known.get(base)
        if found is None and torch.Tag.pointwise in func.tags:
            found = known["aten::pointwise"]
        if found is None and base.startswith("aten::_foreach_"):
            found = known["aten::_foreach"]
        #: Another view of the same memory under the same name (``transpose_``).
        self.moves = torch.Tag.inplace_view in func.tags
        #: How many elements come out depends on numbers.
        self.sized = torch.Tag.dynamic_output_shape in func.tags
        plain = base.rpartition("::")[2]
        self.to_python = (
            plain not in OF_SHAPES
            and bool(schema.returns)
            and all(str(r.type) in NUMBERS for r in schema.returns)
        )
        self.composite = found is None and torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), "CompositeImplicitAutograd"
        )
        self.rule = found
        #: Makes something new, which reads nothing of what it is like.
        self.fresh = found is known["aten::zeros_like"]
        self.kernel = rules.KERNELS.get(base)
        self.title = operator_name(self.name)
        self.silent = self.view or self.moves or plain in SILENT


class Call:
    """One operator call, as its rule sees it."""

    __slots__ = ("args", "func", "g", "kwargs", "op", "out", "title", "tracer")

    def __init__(self, tracer: Tracer, op: Op | None, func: Any, args: Any, kwargs: Any) -> None:
        self.tracer = tracer
        self.g: Graph = tracer.graph
        self.op = op
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.out: Any = None
        #: The operator as people know it; a rule may know better.
        self.title = op.title if op else ""

    def v(self, tensor: Any) -> int | None:
        """The graph's value that a tensor holds; None for a constant."""
        return self.tracer.value(tensor)

    def operand(self, tensor: Tensor) -> int:
        """As :meth:`v`, with a placeholder for a constant."""
        if not tensor.numel():
            raise NoRule("a tensor without elements")
        value = self.v(tensor)
        return self.g.add(Input(tuple(tensor.shape))) if value is None else value

    def known(self, tensor: Any) -> Any:
        """The numbers of a constant as a numpy array; None if they are not known."""
        return self.tracer.numbers(tensor)

    def reads(self) -> list[tuple[Tensor, int]]:
        """The tensors among the arguments that depend on an input, with their values."""
        found = []
        for tensor in tensors_among(self.args, self.kwargs):
            value = self.v(tensor)
            if value is not None:
                found.append((tensor, value))
        return found

    def shaped(self, value: int, shape: Sequence[int]) -> int:
        """``value`` broadcast to ``shape``."""
        shape = tuple(shape)
        if 0 in shape:
            raise NoRule("a tensor without elements")
        return value if self.g.shapes[value] == shape else families.expand(self.g, value, shape)

    def join(self, values: Sequence[int], shape: Sequence[int] | None = None) -> int:
        """A pointwise operator of these."""
        value = families.join(self.g, *values)
        return value if shape is None else self.shaped(value, shape)

    def bound(self, value: int, code: str, why: str) -> int:
        """Marks ``value`` as an upper bound."""
        self.tracer.bound(value, code, self.title, why)
        return value


def flat(out: Any) -> list[Any]:
    """One output or several, as a list."""
    return list(out) if isinstance(out, (list, tuple)) else [out]


def tensors_among(args: Any, kwargs: Any) -> list[Tensor]:
    """All tensors among arguments, those in lists included."""
    found = []
    for a in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(a, Tensor):
            found.append(a)
        elif isinstance(a, (list, tuple)):
            found += [b for b in a if isinstance(b, Tensor)]
    return found
