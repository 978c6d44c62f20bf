"""Names of rows: the nodes' own, made unique; readable ones where an exporter left them empty.

Modules that a model was made of show in names with slashes (``/layer1/layer1.0/conv1/Conv``, as exporters of
traced modules, Keras and TensorFlow write them) and in the metadata of PyTorch's exporter. What comes out of a
module is a group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from onnx import NodeProto

from eyeshot.core.graph import Graph

__all__ = ["Names", "modules"]

#: Tensor names that exporters number, which tell a reader nothing: 123, %45, onnx::Conv_678, tensor_9, val_3.
NUMBERED = re.compile(r"[%_]?\d+|onnx::\w+|_?(val|tensor|output|out|t|tmp|node)_?\d+|[Tt]\d+")
#: Where PyTorch's exporter says which modules a node lies in: "['', 'layer1', 'layer1.0', 'add_3']".
SCOPES = "pkg.torch.onnx.name_scopes"


class Place(NamedTuple):
    """The module that a node lies in, as the metadata has it, and the operator's own name there."""

    module: str
    op: str


def place(node: NodeProto) -> Place | None:
    """What the metadata say of a node."""
    for entry in node.metadata_props:
        if entry.key == SCOPES:
            scopes = re.findall(r"'([^']*)'", entry.value)
            if len(scopes) > 1:
                return Place(scopes[-2], re.sub(r"_\d+$", "", scopes[-1]).strip("_"))
    return None


class Names:
    """Gives every node one name, as the walk comes to it."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}
        self._places: dict[int, str] = {}
        #: Where nodes lie in modules, by their ids: a module's path and the operator's own name there.
        self.paths: dict[int, str] = {}

    def prepare(self, nodes: Iterable[NodeProto]) -> None:
        """Look at the metadata of nodes, which must be kept. A module of one operator gives its name."""
        places = {
            id(node): found for node in nodes if node.metadata_props and (found := place(node))
        }
        ops: dict[str, set[str]] = {}
        parents: set[str] = set()
        for found in places.values():
            ops.setdefault(found.module, set()).add(found.op)
            parents.update(prefixes(found.module, "."))
        for key, (module, op) in places.items():
            alone = module and module not in parents and len(ops[module]) == 1
            self._places[key] = module if alone else f"{module}.{op}".strip(".")
            if module:
                self.paths[key] = self._places[key]

    def node(self, node: NodeProto, prefix: str) -> str:
        """The name of a node's row."""
        name = plain(node.name)
        if not name:
            output = plain(next(filter(None, node.output), ""))
            name = output if output and not NUMBERED.fullmatch(output) else node.op_type.lower()
            name = self._places.get(id(node), name)
        # Of a name within a name the slash in front says nothing.
        return self.unique(f"{prefix}{name.lstrip('/') if prefix else name}")

    def further(
        self, node: NodeProto, k: int, prefix: str, name: str, formal: Sequence[str]
    ) -> str:
        """The name of a row for output ``k`` of a node of which ``name`` is one of another."""
        output = plain(node.output[k])
        if not node.name and not NUMBERED.fullmatch(output):
            return self.unique(f"{prefix}{output}")
        return self.unique(f"{name}.{formal[k] if k < len(formal) else k}")

    def unique(self, name: str) -> str:
        """The name, or with a number after it if it is taken."""
        used = self._used
        count = used.get(name)
        if count is None:
            used[name] = 0
            return name
        while True:
            count += 1
            fresh = f"{name}_{count}"
            if fresh not in used:
                used[name] = count
                used[fresh] = 0
                return fresh


def plain(name: str | bytes) -> str:
    """A name as text; what is not UTF-8 comes as bytes."""
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")


def prefixes(path: str, mark: str) -> tuple[str, ...]:
    """What a path lies in: of /a/b/c these are /a and /a/b."""
    return tuple(path[:k] for k in range(1, len(path)) if path[k] == mark)


def dotted(path: str) -> str:
    """The path of the module that a scope stands for: of /layer1/layer1.0/conv1 it is layer1.0.conv1."""
    base = last = ""
    for part in path.strip("/").split("/"):
        if last and part.startswith(f"{last}."):
            last = part
        else:
            base, last = f"{base}{last}." if last else base, part
    return base + last


def modules(
    graph: Graph,
    nodes: Sequence[NodeProto],
    rows: Mapping[str, str],
    outputs: Iterable[str],
    paths: Mapping[int, str],
) -> None:
    """Groups for the modules of the main graph, and other names: tensors' and nodes', and modules' own paths.

    ``rows``: of each tensor. Out of a module comes the last tensor in it that is read outside, or the last.
    ``paths``: those of :class:`Names`.
    """
    graph.paths = _paths(nodes, rows, paths)
    within = _within(nodes, rows)
    last = _last(nodes, within, set(outputs)) if within else {}
    marks = {mark.name: mark for mark in graph.layers} if last else {}
    groups = {mark.name for mark in graph.groups}
    for path, tensor in last.items():
        if path not in marks and path not in groups:
            mark = marks[rows[tensor]]
            graph.group(path, mark.op, mark.value)

    def aliases() -> dict[str, str]:
        found = dict(rows)
        for path in last:
            if "/" in path:
                found.setdefault(dotted(path), path)
        for node in nodes:
            row = next((rows[tensor] for tensor in node.output if tensor in rows), None)
            if node.name and row is not None:
                found.setdefault(node.name, row)
        return found

    graph.renamed = aliases


def _paths(
    nodes: Iterable[NodeProto], rows: Mapping[str, str], paths: Mapping[int, str]
) -> dict[str, str]:
    """Of each row where it lies, one row at each place; not of those whose names say it."""
    found: dict[str, str] = {}
    names = Names()
    for node in nodes:
        path = paths.get(id(node))
        for row in [rows[tensor] for tensor in node.output if tensor in rows]:
            if path is not None and row not in found:
                found[row] = names.unique(path)
    return {row: path for row, path in found.items() if path != row}


def _within(nodes: Iterable[NodeProto], rows: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The modules that each tensor is made in, from the outermost on."""
    within: dict[str, tuple[str, ...]] = {}
    seen: dict[str, tuple[str, ...]] = {"": ()}
    places = {
        tensor: found.module
        for node in nodes
        if node.metadata_props and (found := place(node)) is not None
        for tensor in node.output
    }
    for tensor, row in rows.items():
        path = places.get(tensor)
        mark = "/" if path is None else "."
        if path is None:
            path = row.rpartition("/")[0]
        if path:
            held = seen.get(path)
            if held is None:
                held = seen[path] = (*prefixes(path, mark), path)
            within[tensor] = held
    return within


def _last(
    nodes: Iterable[NodeProto], within: dict[str, tuple[str, ...]], outputs: set[str]
) -> dict[str, str]:
    """Per module the tensor that comes out of it."""
    # How many modules a tensor shares with all that read it.
    shared = {tensor: 0 if tensor in outputs else len(paths) for tensor, paths in within.items()}
    for node in nodes:
        own = next((within[tensor] for tensor in node.output if tensor in within), ())
        for tensor in node.input:
            paths = within.get(tensor)
            if paths is None or paths is own:
                continue
            common = 0
            for a, b in zip(paths, own, strict=False):
                if a != b:
                    break
                common += 1
            if common < shared[tensor]:
                shared[tensor] = common
    last: dict[str, str] = {}
    for only_read in (True, False):
        for tensor in reversed(within):
            paths = within[tensor]
            for path in paths[shared[tensor] if only_read else 0 :]:
                if path not in last:
                    last[path] = tensor
    order = {tensor: k for k, tensor in enumerate(within)}
    return dict(sorted(last.items(), key=lambda item: order[item[1]]))
