"""Tensors of an ONNX graph, what is known of an operator, and one node of it as a rule sees it."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Iterator
from collections.abc import Sequence as Several
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto

from eyeshot.core import families
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import MAX_SIZE, Input, Shape, text
from eyeshot.errors import EyeshotError, FieldError
from eyeshot.frontends.onnx import rules

if TYPE_CHECKING:
    from eyeshot.frontends.onnx.scope import Scope
    from eyeshot.frontends.onnx.walk import Walker

__all__ = ["Call", "NoRule", "Op", "Pending", "Sequence", "Value", "attribute", "fixed"]

Array = NDArray[Any]

#: NumPy has arrays of so many dims.
MAX_RANK = 64


class NoRule(Exception):
    """Raised by a rule that does not cover a case: the operator is then bounded."""


class Pending(NamedTuple):
    """Numbers that are not worked out: output ``output`` of ``node``."""

    node: NodeProto
    opset: int
    inputs: tuple[Value | None, ...]
    output: int


class Value:
    """A tensor. ``at``: the graph's value; None for a constant, which reads nothing of the input.

    ``held``: the numbers of a constant, or what they can be had from. ``dtype`` counts as in TensorProto.
    """

    __slots__ = ("at", "dtype", "held", "shape")

    def __init__(
        self,
        at: int | None,
        shape: Shape,
        dtype: int,
        held: Array | TensorProto | Pending | None = None,
    ) -> None:
        self.at = at
        self.shape = shape
        self.dtype = dtype
        self.held = held

    @property
    def rank(self) -> int:
        """The number of dims."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"Value(at={self.at}, shape={self.shape}, dtype={self.dtype})"


class Sequence:
    """A sequence of tensors, or what may be missing: empty, or of one item (``optional``)."""

    __slots__ = ("items", "optional")

    def __init__(self, items: Several[Any], optional: bool = False) -> None:
        self.items: tuple[Any, ...] = tuple(items)
        self.optional = optional

    @property
    def at(self) -> int | None:
        """A graph's value among the items; None if all are constants."""
        return next((item.at for item in self.items if item.at is not None), None)

    def tensors(self) -> Iterator[Value]:
        """The tensors in it, those of sequences within it included."""
        for item in self.items:
            if isinstance(item, Sequence):
                yield from item.tensors()
            else:
                yield item

    def __repr__(self) -> str:
        return f"Sequence({list(self.items)})"


def fixed(array: Any, dtype: int | None = None) -> Value:
    """A constant of known numbers."""
    array = np.asarray(array)
    if dtype is None:
        dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return Value(None, array.shape, dtype, array)


#: Names of element types as schemas write them: ``tensor(float)``.
_TYPES = {
    "float": TensorProto.FLOAT,
    "double": TensorProto.DOUBLE,
    **{name.lower(): number for name, number in TensorProto.DataType.items() if name != "FLOAT"},
}


class Op:
    """What is known of an operator of one version of its domain.

    ``types``: per output the element type, or -k - 1 for that of input k. ``holds``: if it may hold graphs.
    ``least`` and ``most`` inputs it takes; ``kinds`` of its attributes, as AttributeProto counts them.
    ``plural``: if an input may be a sequence, or optional, as far as is known. ``needs``: the inputs that must
    be there for its rule, by place, and whether as a sequence; from ``rest`` on all must.
    """

    __slots__ = ("domain", "foldable", "formal", "holds", "kinds", "least", "most", "name", "needs", "opset",
                 "plural", "required", "rest", "rule", "schema", "types")  # fmt: skip

    def __init__(self, domain: str, name: str, opset: int) -> None:
        self.domain = domain
        self.name = name
        self.opset = opset
        known = rules.load()
        self.rule = known.get(f"{domain}::{name}" if domain else name)
        self.foldable = not domain and name in rules.FOLDABLE
        self.schema: Any = None
        self.holds = True
        self.plural = self.rule is None
        self.least, self.most = 0, sys.maxsize
        self.needs: list[tuple[int, bool]] = []
        self.rest: int | None = None
        if self.rule is not None:
            self.least, self.most, self.needs, self.rest = _taken(self.rule)
        self.kinds: dict[str, int] = {}
        #: The attributes that must be given.
        self.required: frozenset[str] = frozenset()
        self.types: list[int] = [-1]
        self.formal: list[str] = []
        try:
            self.schema = onnx.defs.get_schema(name, opset, domain)
        except onnx.defs.SchemaError:
            return
        # A rule serves all versions of an operator, and the schema is that of one.
        self.least = max(self.least, self.schema.min_input)
        self.most = min(self.most, self.schema.max_input)
        self.kinds = {name: a.type.value for name, a in self.schema.attributes.items()}
        self.required = frozenset(name for name, a in self.schema.attributes.items() if a.required)
        graphs = (onnx.defs.OpSchema.AttrType.GRAPH, onnx.defs.OpSchema.AttrType.GRAPHS)
        self.holds = any(a.type in graphs for a in self.schema.attributes.values())
        kinds = {kind for p in self.schema.inputs for kind in p.types}
        self.plural = any(kind.startswith(("seq(", "optional(")) for kind in kinds)
        places = {p.type_str: k for k, p in reversed(list(enumerate(self.schema.inputs)))}
        self.types = [_type(p.type_str, places) for p in self.schema.outputs] or [-1]
        # A variadic output has one name for all.
        variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
        self.formal = [p.name for p in self.schema.outputs if p.option != variadic]


class _Taken(NamedTuple):
    """The inputs that a rule takes, by its signature; see :class:`Op`."""

    least: int
    most: int
    needs: list[tuple[int, bool]]
    rest: int | None


def _taken(rule: rules.Rule) -> _Taken:
    least = 0
    needs: list[tuple[int, bool]] = []
    parameters = list(inspect.signature(rule).parameters.values())[1:]
    for k, p in enumerate(parameters):
        if p.kind is p.VAR_POSITIONAL:
            return _Taken(least, sys.maxsize, needs, k if p.annotation == "Value" else None)
        if p.default is p.empty:
            least = k + 1
            if p.annotation in ("Value", "Sequence"):
                needs.append((k, p.annotation == "Sequence"))
    return _Taken(least, len(parameters), needs, None)


def _type(text: str, places: dict[str, int]) -> int:
    if text in places:
        return -places[text] - 1
    if text.startswith("tensor("):
        return _TYPES.get(text[len("tensor(") : -1], TensorProto.FLOAT)
    return -1


def attribute(found: AttributeProto) -> Any:
    """What an attribute holds: a number, text, tuple of these, tensor or graph."""
    kind = found.type
    if kind == AttributeProto.INT:
        return found.i
    if kind == AttributeProto.INTS:
        return tuple(found.ints)
    if kind == AttributeProto.FLOAT:
        return found.f
    if kind == AttributeProto.STRING:
        return found.s.decode("utf-8", "replace")
    if kind == AttributeProto.FLOATS:
        return tuple(found.floats)
    if kind == AttributeProto.STRINGS:
        return tuple(s.decode("utf-8", "replace") for s in found.strings)
    return onnx.helper.get_attribute_value(found)


class Call:
    """One node, as its rule sees it. Rules take the call and the node's inputs: values, None where left out.

    ``g`` is where a rule adds its primitives. Where no input depends on the network's inputs only the shapes of
    what comes out are wanted: all inputs are then given as if they did, and what the rule adds is thrown away.
    """

    __slots__ = ("_attributes", "_operands", "captured", "depends", "dtype", "g", "inputs", "name",
                 "node", "op", "scope", "walker")  # fmt: skip

    def __init__(
        self,
        walker: Walker,
        op: Op,
        node: NodeProto,
        inputs: list[Any],
        scope: Scope,
        depends: bool,
        name: str,
        captured: Several[Any] = (),
    ) -> None:
        self.walker = walker
        self.op = op
        self.node = node
        self.inputs = inputs
        #: What the node's subgraphs take from outside.
        self.captured = captured
        self.scope = scope
        self.depends = depends
        self.name = name
        self.g: Graph = walker.graph if depends else walker.scratch
        #: Of the first output, where it is not what the schema says.
        self.dtype: int | None = None
        self._attributes: dict[str, AttributeProto] | None = None
        self._operands: dict[int, tuple[Value, int]] = {}

    @property
    def opset(self) -> int:
        """The version of the operator's domain that the model imports."""
        return self.op.opset

    # --- attributes

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute: a number, text, tuple of these, tensor or graph; ``default`` where it is not given."""
        found = self.attributes.get(name)
        if found is None:
            if default is None and name in self.op.required:
                raise self.fail(f"attribute {name} of {self.op.name} is missing")
            return default
        if found.type != self.op.kinds.get(name, found.type):
            given = AttributeProto.AttributeType.Name(found.type)
            wanted = AttributeProto.AttributeType.Name(self.op.kinds[name])
            raise self.fail(f"attribute {name} of {self.op.name} holds {given}, not {wanted}")
        return attribute(found)

    @property
    def attributes(self) -> dict[str, AttributeProto]:
        """The node's attributes by name, those of the function that it stands in put in their places."""
        if self._attributes is None:
            self._attributes = self.scope.attributes(self.node)
        return self._attributes

    # --- inputs

    def v(self, x: Value | None) -> int | None:
        """The graph's value of an input; None if it is left out, or a constant."""
        if x is None:
            return None
        return x.at if self.depends else self.operand(x)

    def operand(self, x: Value) -> int:
        """As :meth:`v`, with a placeholder for a constant."""
        if self.depends and x.at is not None:
            return x.at
        held = self._operands.get(id(x))
        if held is None:
            if 0 in x.shape:
                raise NoRule("a tensor without elements")
            # The tensor is kept too, so that its id stays its own.
            held = self._operands[id(x)] = (x, self.g.add(Input(x.shape)))
        return held[1]

    def reads(self) -> list[tuple[Value, int]]:
        """The tensors that the node takes, inside sequences and subgraphs too, that depend on an input."""
        tensors: list[Value] = []
        for x in (*self.inputs, *self.captured):
            if isinstance(x, Sequence):
                tensors += x.tensors()
            elif x is not None:
                tensors.append(x)
        return [(x, at) for x in tensors if (at := self.v(x)) is not None]

    def known(self, x: Value | None) -> Array | None:
        """The numbers of a parameter (a shape, axes, sizes …), None if they are not known.

        They may come from an input for which the user gave numbers.
        """
        return None if x is None else self.walker.numbers(x)

    def constant(self, x: Value | None) -> Array | None:
        """The numbers of a constant; None if they are not known, or depend on an input."""
        return None if x is None or x.at is not None else self.walker.numbers(x)

    def ints(self, x: Value | None) -> list[int] | None:
        """The whole numbers of a parameter; None if it is left out. Raises NoRule if they are not known."""
        if x is None:
            return None
        numbers = self.walker.numbers(x)
        if numbers is None and x.at is None:
            raise NoRule("the numbers that decide the shape are not in the file, or too many")
        if numbers is None:
            raise NoRule("what decides the shape depends on data")
        return [int(n) for n in numbers.reshape(-1)]

    # --- outputs

    def join(self, values: Several[int], shape: Several[int] | None = None) -> int:
        """A pointwise operator of these; one value alone is itself."""
        value = values[0] if len(values) == 1 else families.join(self.g, *values)
        return value if shape is None else self.shaped(value, shape)

    def shaped(self, value: int, shape: Several[int]) -> int:
        """``value`` broadcast to ``shape``."""
        shape = tuple(shape)
        if 0 in shape:
            raise NoRule("a tensor without elements")
        return value if self.g.shapes[value] == shape else families.expand(self.g, value, shape)

    def shape_of(self, sizes: Shape) -> Shape:
        """The sizes, if a tensor may have them."""
        if len(sizes) > MAX_RANK:
            raise self.fail(f"a shape of {len(sizes)} dims")
        if sizes and (min(sizes) < 0 or max(sizes) > MAX_SIZE):
            raise self.fail(f"the shape {text([sizes])}")
        return sizes

    def later(self, shape: Shape, dtype: int, output: int = 0) -> Value:
        """A constant of this shape, whose numbers are worked out when asked for."""
        return Value(None, shape, dtype, self.pending(output))

    def pending(self, output: int = 0) -> Pending | None:
        """What the numbers of an output can be had from."""
        if not self.op.foldable:
            return None
        node = self.node
        if any(a.ref_attr_name for a in node.attribute):
            node = self.own_node()
        return Pending(node, self.op.opset, tuple(self.inputs), output)

    def own_node(self) -> NodeProto:
        """The node with the attributes of the function that it stands in written into it."""
        node = NodeProto()
        node.CopyFrom(self.node)
        del node.attribute[:]
        for name, held in self.attributes.items():
            node.attribute.add().CopyFrom(held)
            node.attribute[-1].name = name
            node.attribute[-1].ref_attr_name = ""
        return node

    def pointwise(self, *inputs: Value | None) -> int:
        """A pointwise operator of inputs, broadcast as in NumPy. At least one must not be a constant."""
        values = [at for x in inputs if (at := self.v(x)) is not None]
        shape = broadcast(*(x.shape for x in inputs if x is not None))
        return self.join(values, shape)

    def bound(self, value: int, code: str, why: str) -> int:
        """Marks ``value`` as an upper bound; returns a value of its own that is."""
        if not self.depends:
            return value
        if any(isinstance(x, Value) and x.at == value for x in self.inputs):
            value = families.join(self.g, value)
        self.walker.bound(value, code, self, why)
        return value

    def fail(self, why: str) -> EyeshotError:
        """An error that names this node."""
        return EyeshotError(f"{self.name or self.node.name or self.op.name}: {why}")


def broadcast(*shapes: Shape) -> Shape:
    """The shape that NumPy's rules give; raises FieldError where they don't."""
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    try:
        return tuple(int(n) for n in np.broadcast_shapes(*shapes))
    except ValueError:
        raise FieldError("shapes", f"{text([*shapes])} don't broadcast") from None
