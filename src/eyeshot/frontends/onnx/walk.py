"""The walk over the nodes: each one's rule is asked what its outputs read, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from onnx import FunctionProto, GraphProto, NodeProto, TypeProto

from eyeshot.core import families
from eyeshot.core.graph import Diagnostic, Graph
from eyeshot.core.primitives import MAX_SIZE, Shape, text
from eyeshot.errors import EyeshotError, FieldError
from eyeshot.frontends.onnx import calls, fold, layout, order
from eyeshot.frontends.onnx.calls import Call, NoRule, Op, Sequence, Value
from eyeshot.frontends.onnx.infer import inference, latest, type_of
from eyeshot.frontends.onnx.names import Names
from eyeshot.frontends.onnx.order import MAX_DEPTH
from eyeshot.frontends.onnx.scope import Key, Scope

__all__ = ["Walker"]

#: So many nodes of functions and subgraphs may run in all, the rounds of loops written out.
MAX_RUNS = 1 << 17

#: The overload of the function that stands for an operator in its schema.
SCHEMA = "\0schema"


class Unmade(EyeshotError):
    """A node of the main graph reads what is not made yet."""


@lru_cache(maxsize=1024)
def operator(domain: str, name: str, opset: int) -> Op:
    """What is known of an operator, looked up once for all models."""
    return Op(domain, name, opset)


class Walker:
    """Builds the graph. ``declared``: the types that the file gives for tensors by name."""

    def __init__(
        self,
        graph: Graph,
        functions: Mapping[Key, FunctionProto],
        declared: Mapping[str, TypeProto],
        symbols: Mapping[str, int],
    ) -> None:
        self.graph = graph
        self.scratch = Graph()
        self.functions = functions
        self.declared = declared
        self.symbols = symbols
        self.names = Names()
        self.folder = fold.Folder()
        #: The row of each tensor of the main graph.
        self.rows: dict[str, str] = {}
        #: What windows slide along, in the order they run.
        self.windows: list[layout.Window] = []
        self.runs = 0
        self._ops: dict[tuple[str, str, int], Op] = {}
        #: By value, the last layer that it is marked as.
        self._marked: dict[int, int] = {}
        # By the id of a part of the model, which is kept so that the id stays its own.
        self._sorted: dict[int, tuple[Any, list[NodeProto]]] = {}
        self._captures: dict[int, tuple[Any, list[str]]] = {}
        self._bodies: dict[Op, FunctionProto | None] = {}

    # --- what rules ask for

    def numbers(self, x: Value) -> Any:
        """The numbers of a tensor, or None."""
        return self.folder.numbers(x)

    def bound(self, value: int, code: str, call: Call, why: str) -> None:
        """Marks a graph's value as an upper bound."""
        self.graph.bounds.setdefault(value, Diagnostic(code, call.name, call.op.name, why))

    # --- nodes

    def walk(self, nodes: list[NodeProto], scope: Scope) -> None:
        """Run the nodes of the main graph, in another order where they stand in none that runs."""
        for k, node in enumerate(nodes):
            try:
                self.step(node, scope)
            except Unmade:
                self.run(order.sorted_nodes(nodes[k:], scope), scope)
                break

    def run(self, nodes: Iterable[NodeProto], scope: Scope) -> None:
        """Run nodes that stand in a sensible order."""
        for node in nodes:
            self.step(node, scope)

    def step(self, node: NodeProto, scope: Scope) -> None:
        """Run one node: its outputs are defined in ``scope``."""
        inputs: list[Any] = []
        depends = False
        get = scope.get
        for name in node.input:
            x = get(name)
            if x is None and name:  # of a graph around this one, left out, or not there
                x = self.tensor(name, node, scope)
            inputs.append(x)
            if x is not None and x.at is not None:
                depends = True
        op = self.op(node, scope)
        captured: list[Any] = []
        if op.holds:
            captured = [self.tensor(name, node, scope) for name in self.captures(node)]
            depends = depends or any(x is not None and x.at is not None for x in captured)
        name = ""
        if depends:
            name = self.names.node(node, scope.prefix) if scope.row is None else scope.row
        before = len(self.graph.layers)
        call = Call(self, op, node, inputs, scope, depends, name, captured)
        if depends and op.name in layout.WINDOWS and (found := layout.window(call)) is not None:
            self.windows.append(found)
        outputs = self.apply(call)
        inner = range(before, len(self.graph.layers))
        marked = False
        for k, output in enumerate(node.output):
            if not output:
                continue
            if get(output, self) is not self:
                raise EyeshotError(f"tensor {output!r} is made twice")
            value = outputs[k] if k < len(outputs) else None
            scope[output] = value
            if type(value) is Value and value.at is not None and scope.row is None:
                row = self.names.further(node, k, scope.prefix, name, op.formal) if marked else name
                marked = True
                row = self.mark(row, op.name, value.at, inner)
                if not scope.depth:
                    self.rows[output] = row

    def tensor(self, name: str, node: NodeProto, scope: Scope) -> Any:
        """A tensor that a node reads."""
        try:
            return scope[name]
        except KeyError:
            kind = EyeshotError if scope.depth else Unmade
            raise kind(f"{node.name or node.op_type} reads {name!r}, which nothing makes") from None

    def captures(self, node: NodeProto) -> list[str]:
        """The names that a node's subgraphs take from outside."""
        found = self._captures.get(id(node))
        if found is None:
            found = self._captures[id(node)] = (node, order.captures(node))
        return found[1]

    def mark(self, row: str, op: str, value: int, inner: range) -> str:
        """Name a value; one that a row inside the node shows already becomes a group. Returns its row."""
        layers = self.graph.layers
        k = self._marked.get(value, -1)
        if k in inner:
            self.graph.group(row, op, value)
            return layers[k].name
        self._marked[value] = len(layers)
        self.graph.mark(row, op, value)
        return row

    def op(self, node: NodeProto, scope: Scope) -> Op:
        """What is known of a node's operator."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = scope.versions.get(domain)
        if version is None:
            if not domain:
                raise EyeshotError(f"{node.name or node.op_type}: no opset of ai.onnx is imported")
            version = 1
        key = (domain, node.op_type, version)
        found = self._ops.get(key)
        if found is None:
            if not all(isinstance(name, str) for name in key[:2]):
                raise EyeshotError(f"operator {key[1]!r} is no text")
            found = self._ops[key] = operator(*key)
        return found

    def apply(self, call: Call) -> list[Any]:
        """The outputs of a node: what its rule returns, as values."""
        op = call.op
        if self.functions:
            key = (op.domain, op.name, call.node.overload)
            if key in self.functions:
                return self.called(call, self.functions[key], key, call.scope.row)
        if not op.plural and any(type(x) is Sequence for x in call.inputs):
            raise call.fail(f"{op.name} takes tensors, and is given a sequence")
        if not call.depends:
            self.scratch = call.g = Graph()
        begun = len(self.graph.prims)
        try:
            if op.rule is None:
                raise NoRule("")
            if not op.least <= len(call.inputs) <= op.most:
                takes = str(op.least) if op.least == op.most else f"{op.least} to {op.most}"
                raise call.fail(f"{op.name} takes {takes} inputs, has {len(call.inputs)}")
            if op.rest is not None and None in call.inputs[op.rest :]:
                raise call.fail(f"an input of {op.name} is left out")
            for k, sequence in op.needs:
                x = call.inputs[k]
                if x is None:
                    formal = op.schema.inputs[k].name if op.schema is not None else k + 1
                    raise call.fail(f"{op.name} is not given its input {formal}")
                if sequence and type(x) is not Sequence:
                    raise call.fail(f"{op.name} takes a sequence, and is given a tensor")
            result = op.rule(call, *call.inputs)
        except NoRule as why:
            bounds = self.graph.bounds
            for v in [v for v, d in bounds.items() if v >= begun and d.layer == call.name]:
                del bounds[v]
            made = self.expanded(call)
            return self.unknown(call, str(why)) if made is None else made
        except FieldError as error:
            raise call.fail(str(error)) from None
        except (EyeshotError, MemoryError, RecursionError):
            raise
        except Exception as error:
            shapes = ", ".join(map(_shape_text, call.inputs)) or "no inputs"
            fault = f"{op.name} is malformed: its attributes do not go with {shapes}"
            raise call.fail(f"{fault} ({type(error).__name__}: {error})") from error
        results = result if type(result) is list else [result]
        return [self.value(call, k, r) for k, r in enumerate(results)]

    def value(self, call: Call, k: int, result: Any) -> Any:
        """One output, from what a rule returns."""
        kind = type(result)
        if kind is int:
            dtype = call.dtype if k == 0 and call.dtype is not None else self.dtype(call, k)
            at = result if call.depends else None
            return Value(at, call.g.shapes[result], dtype, call.pending(k))
        if kind is np.ndarray or isinstance(result, np.generic):
            return calls.fixed(result)
        return result

    def dtype(self, call: Call, k: int) -> int:
        """The element type of an output, by the schema."""
        types = call.op.types
        code = types[k] if k < len(types) else types[-1]
        if code >= 0:
            return code
        like = call.inputs[-code - 1] if -code - 1 < len(call.inputs) else None
        return like.dtype if type(like) is Value else 1

    # --- graphs within nodes

    def room(self, nodes: int) -> bool:
        """Whether so many more may be written out: half of what may run is left for what must."""
        return self.runs + nodes <= MAX_RUNS // 2

    def inner(
        self,
        call: Call,
        graph: GraphProto,
        inputs: Iterable[Any],
        label: str = "",
        row: str | None = None,
    ) -> list[Any]:
        """What a node's subgraph makes of its inputs. Its rows lie under the node's, and ``label`` if given."""
        outer = call.scope
        row = outer.row if row is None else row
        prefix = f"{call.name}/{label}/" if label else f"{call.name}/"
        scope = Scope(outer.versions, outer, outer.given, prefix, outer.depth + 1, outer.calls, row)
        scope.hold(graph)
        formal = [i.name for i in graph.input if not scope.own(i.name)]
        return self._inside(call, graph, scope, formal, list(inputs))

    def called(
        self, call: Call, function: FunctionProto, key: Key, row: str | None = None
    ) -> list[Any]:
        """What a function makes of a node's inputs."""
        outer = call.scope
        if key in outer.calls:
            raise call.fail(f"function {function.name} calls itself")
        given = {a.name: a for a in function.attribute_proto}
        if key[2] == SCHEMA:
            defaults = {name: a.default_value for name, a in call.op.schema.attributes.items()}
            given.update({name: a for name, a in defaults.items() if a.name})
        given.update(call.attributes)
        versions = {
            "" if o.domain == "ai.onnx" else o.domain: o.version for o in function.opset_import
        }
        prefix = f"{call.name}/"
        scope = Scope(versions, None, given, prefix, outer.depth + 1, outer.calls | {key}, row)
        missing = len(function.input) - len(call.inputs)
        return self._inside(
            call, function, scope, list(function.input), call.inputs + [None] * missing
        )

    def _inside(
        self, call: Call, graph: Any, scope: Scope, formal: list[str], inputs: list[Any]
    ) -> list[Any]:
        if scope.depth > MAX_DEPTH:
            raise call.fail(
                f"graphs and functions lie more than {MAX_DEPTH} deep within each other"
            )
        if len(inputs) != len(formal):
            raise call.fail(
                f"{graph.name or 'its graph'} takes {len(formal)} inputs, gets {len(inputs)}"
            )
        for name, x in zip(formal, inputs, strict=True):
            if scope.own(name):
                raise call.fail(f"two inputs are called {name!r}")
            scope[name] = x
        found = self._sorted.get(id(graph))
        if found is None:
            found = self._sorted[id(graph)] = (graph, order.sorted_nodes(list(graph.node), scope))
        self.runs += len(found[1]) + 1
        if self.runs > MAX_RUNS:
            raise EyeshotError(f"more than {MAX_RUNS} nodes of functions and subgraphs run")
        self.run(found[1], scope)
        names = [o if isinstance(o, str) else o.name for o in graph.output]
        return [self.tensor(name, call.node, scope) for name in names]

    @contextmanager
    def trial(self) -> Iterator[None]:
        """What is run under it leaves nothing in the graph: only shapes are of use."""
        back = self._rollback()
        try:
            yield
        finally:
            back()

    def _rollback(self) -> Callable[[], None]:
        """Returns what takes back all that was added to the graph since."""
        graph, windows = self.graph, len(self.windows)
        count, bounds, notes = len(graph.prims), dict(graph.bounds), len(graph.notes)

        def back() -> None:
            del graph.prims[count:], graph.inputs[count:], graph.shapes[count:], graph.notes[notes:]
            del self.windows[windows:]
            graph.bounds = bounds

        return back

    # --- operators without a rule

    def expanded(self, call: Call) -> list[Any] | None:
        """By the function that the operator's schema has for it, if it has one that works here."""
        function = self.body(call)
        if function is None:
            return None
        key = (call.op.domain, call.op.name, SCHEMA)
        if key in call.scope.calls or call.scope.depth >= MAX_DEPTH:
            return None
        back = self._rollback()
        try:
            return self.called(call, function, key, call.name)
        except EyeshotError:
            back()
            return None

    def body(self, call: Call) -> FunctionProto | None:
        """The function that stands for an operator in its schema."""
        op, schema = call.op, call.op.schema
        if schema is None or not (schema.has_function or schema.has_context_dependent_function):
            return None
        try:
            if schema.has_function:
                if op not in self._bodies:
                    versions = schema.function_opset_versions
                    text = schema.get_function_with_opset_version(latest(versions, op.opset))
                    self._bodies[op] = FunctionProto.FromString(text)
                return self._bodies[op]
            versions = schema.context_dependent_function_opset_versions
            types = [type_of(x).SerializeToString() for x in call.inputs]
            node = call.own_node().SerializeToString()
            text = schema.get_context_dependent_function_with_opset_version(
                latest(versions, op.opset), node, types
            )
            return FunctionProto.FromString(text) if text else None
        except Exception:  # of a node that the builder does not like there is no function
            return None

    def unknown(self, call: Call, why: str) -> list[Any]:
        """Everything of every input, a bound; outputs have the shape that onnx infers or the file declares."""
        outputs = self.inferred(call)
        values = [at for _, at in call.reads()] if call.depends else []
        made: list[Any] = []
        for k, name in enumerate(call.node.output):
            found = outputs[k] if k < len(outputs) else None
            if found is None:
                if not name:
                    made.append(None)
                    continue
                what = f"{call.op.domain}::{call.op.name}" if call.op.domain else call.op.name
                raise EyeshotError(
                    f"{call.name or call.node.name or name}: the shape of what {what} makes is not known"
                    + (f", since {why}" if why else "; the file does not declare it")
                )
            shape, dtype = found
            if not values or 0 in shape:
                made.append(Value(None, shape, dtype, None if values else call.pending(k)))
                continue
            at = families.opaque(self.graph, values, shape)
            if why:
                code, message = "unknown-case", f"{call.op.name}: {why}"
            else:
                code, message = (
                    "unknown-op",
                    f"no rule for {call.op.name}: taken to read everything",
                )
            self.bound(at, code, call, message)
            made.append(Value(at, shape, dtype))
        return made

    def inferred(self, call: Call) -> list[tuple[Shape, int] | None]:
        """Shape and element type of each output as onnx's own inference has them, or the file declares them."""
        found: dict[str, TypeProto] = {}
        if call.op.schema is not None:
            found = inference(call, self.numbers)
        out: list[tuple[Shape, int] | None] = []
        for name in call.node.output:
            made = self.sized(found[name]) if name in found else None
            if made is None and not call.scope.depth and name in self.declared:
                made = self.sized(self.declared[name])
            out.append(made)
        return out

    def sized(self, declared: TypeProto) -> tuple[Shape, int] | None:
        """Shape and element type, if all dims are known."""
        if declared.WhichOneof("value") != "tensor_type" or not declared.tensor_type.HasField(
            "shape"
        ):
            return None
        shape = []
        for dim in declared.tensor_type.shape.dim:
            n = dim.dim_value if dim.HasField("dim_value") else self.symbols.get(dim.dim_param, -1)
            if not 0 <= n <= MAX_SIZE:
                return None
            shape.append(n)
        return tuple(shape), declared.tensor_type.elem_type


def _shape_text(x: Value | Sequence | None) -> str:
    return text([x.shape]) if type(x) is Value else "nothing" if x is None else "a sequence"
