"""Tensors by name: those of a graph, and what it sees of the graphs around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from onnx import AttributeProto, GraphProto, NodeProto

from eyeshot.core.primitives import MAX_SIZE, text
from eyeshot.errors import EyeshotError
from eyeshot.frontends.onnx.calls import MAX_RANK, Value
from eyeshot.frontends.onnx.read import inside

__all__ = ["Key", "Scope"]

#: What functions go by: domain, name, overload.
Key = tuple[str, str, str]


class Scope(dict[str, Any]):
    """Tensors by name; what an inner graph does not have is looked up in the outer one.

    ``versions``: of each domain; ``given``: the attributes of the function call that the nodes stand in, and
    ``calls`` the functions; ``row``: the row that the nodes have in common, where they have none of their own.
    """

    def __init__(
        self,
        versions: Mapping[str, int],
        outer: Scope | None = None,
        given: Mapping[str, AttributeProto] | None = None,
        prefix: str = "",
        depth: int = 0,
        calls: frozenset[Key] = frozenset(),
        row: str | None = None,
    ) -> None:
        super().__init__()
        self.versions = versions
        self.outer = outer
        self.given = given
        self.prefix = prefix
        self.depth = depth
        self.calls = calls
        self.row = row

    def __contains__(self, name: object) -> bool:
        scope: Scope | None = self
        while scope is not None:
            if scope.own(name):
                return True
            scope = scope.outer
        return False

    def own(self, name: object) -> bool:
        """Whether a tensor is in this graph, not in one around it."""
        return super().__contains__(name)

    def hold(self, graph: GraphProto) -> None:
        """The constants of a graph, by name: their shapes, and where their numbers are."""
        for tensor in graph.initializer:
            self._hold(tensor.name, tensor.dims, tensor.data_type, tensor)
        for sparse in graph.sparse_initializer:
            self._hold(sparse.values.name, sparse.dims, sparse.values.data_type, None)

    def _hold(self, name: str, dims: Iterable[int], dtype: int, held: Any) -> None:
        shape = tuple(dims)
        if shape and (min(shape) < 0 or max(shape) > MAX_SIZE or len(shape) > MAX_RANK):
            raise EyeshotError(f"initializer {name!r} has the dims {text([shape[:100]])}")
        if self.own(name):
            raise EyeshotError(f"initializer {name!r} is there twice")
        if held is not None:
            inside(held)
        self[name] = Value(None, shape, dtype, held)

    def __missing__(self, name: str) -> Any:
        if self.outer is None:
            raise KeyError(name)
        return self.outer[name]

    def attributes(self, node: NodeProto) -> dict[str, AttributeProto]:
        """A node's attributes by name; those that stand for the function's own are looked up."""
        found = {}
        for a in node.attribute:
            if a.ref_attr_name:
                if self.given is None or a.ref_attr_name not in self.given:
                    continue
                found[a.name] = self.given[a.ref_attr_name]
            else:
                found[a.name] = a
        return found
