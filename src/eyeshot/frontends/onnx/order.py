"""The order in which nodes run: as they stand, or sorted where the file has them in another one."""

from __future__ import annotations

from collections.abc import Container, Iterator

from onnx import AttributeProto, GraphProto, NodeProto

from eyeshot.errors import EyeshotError

__all__ = ["MAX_DEPTH", "captures", "size", "sorted_nodes", "within"]

#: Subgraphs and functions may lie so deep within each other.
MAX_DEPTH = 32
#: The operators of ai.onnx that hold graphs.
HOLDERS = frozenset(["If", "Loop", "Scan", "SequenceMap"])


def sorted_nodes(nodes: list[NodeProto], known: Container[str]) -> list[NodeProto]:
    """The nodes such that each comes after what it reads; EyeshotError for a cycle or an unknown name."""
    made: set[str] = set()
    for node in nodes:
        for name in node.input:
            if name and name not in made and name not in known:
                return _sorted(nodes, known)
        if (node.op_type in HOLDERS or node.domain) and any(
            name not in made and name not in known for name in captures(node)
        ):
            return _sorted(nodes, known)
        made.update(node.output)
    return nodes


def _sorted(nodes: list[NodeProto], known: Container[str]) -> list[NodeProto]:
    maker: dict[str, int] = {}
    for k, node in enumerate(nodes):
        for name in node.output:
            if name:
                maker.setdefault(name, k)
    waits: list[int] = [0] * len(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    for k, node in enumerate(nodes):
        for name in {*node.input, *captures(node)}:
            if name in maker:
                waits[k] += 1
                readers[maker[name]].append(k)
            elif name and name not in known:
                raise EyeshotError(
                    f"{node.name or node.op_type} reads {name!r}, which nothing makes"
                )
    ready = [k for k, count in enumerate(waits) if not count]
    out = []
    for k in ready:
        out.append(nodes[k])
        for reader in readers[k]:
            waits[reader] -= 1
            if not waits[reader]:
                ready.append(reader)
    if len(out) < len(nodes):
        stuck = next(node for k, node in enumerate(nodes) if waits[k])
        raise EyeshotError(
            f"{stuck.name or stuck.op_type} stands in a cycle: it reads what is made of its output"
        )
    return out


def graphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    """The graphs that an attribute holds."""
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def captures(node: NodeProto) -> list[str]:
    """The tensors that a node's subgraphs take from outside."""
    names: dict[str, None] = {}
    for a in node.attribute:
        for graph in graphs(a):
            names.update(dict.fromkeys(_free(graph, 1)))
    return list(names)


def _free(graph: GraphProto, depth: int) -> dict[str, None]:
    """The names that a graph reads and does not make."""
    if depth > MAX_DEPTH:
        raise EyeshotError(f"subgraphs lie more than {MAX_DEPTH} deep within each other")
    names: dict[str, None] = {}
    made = {i.name for i in graph.input}
    made.update(t.name for t in graph.initializer)
    made.update(t.values.name for t in graph.sparse_initializer)
    for node in graph.node:
        names.update(dict.fromkeys(node.input))
        made.update(node.output)
        for a in node.attribute:
            for inner in graphs(a):
                names.update(_free(inner, depth + 1))
    names.update(dict.fromkeys(o.name for o in graph.output))
    return {name: None for name in names if name and name not in made}


def within(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and all graphs inside of it."""
    stack = [graph]
    while stack:
        top = stack.pop()
        yield top
        for node in top.node:
            for a in node.attribute:
                stack += graphs(a)


def size(graph: GraphProto) -> int:
    """The number of nodes, those of subgraphs included."""
    return sum(len(g.node) for g in within(graph))
