"""Names: which module call an operator belongs to, and what its row is called.

Rows are named as torchvision's feature extraction names its nodes: a leaf module by its path, a functional
operator by the enclosing module's path and its own name, and the second of a name gets ``_1``.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch

from eyeshot.core.graph import Graph

__all__ = ["Names", "operator_name"]

#: Operators that people know under another name than the dispatcher's.
KNOWN = {
    "addmm": "linear",
    "native_batch_norm": "batch_norm",
    "cudnn_batch_norm": "batch_norm",
    "native_batch_norm_legit": "batch_norm",
    "native_batch_norm_legit_no_training": "batch_norm",
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
    "native_dropout": "dropout",
    "fused_rms_norm": "rms_norm",
    "max_pool1d_with_indices": "max_pool1d",
    "max_pool2d_with_indices": "max_pool2d",
    "max_pool3d_with_indices": "max_pool3d",
    "mm": "matmul",
    "bmm": "matmul",
    "mv": "matmul",
    "baddbmm": "matmul",
    "safe_softmax": "softmax",
    "prelu_kernel": "prelu",
    "linalg_vector_norm": "norm",
    "scaled_dot_product_flash_attention_for_cpu": "scaled_dot_product_attention",
    "scaled_dot_product_efficient_attention": "scaled_dot_product_attention",
    "scaled_dot_product_flash_attention": "scaled_dot_product_attention",
}


def operator_name(name: str) -> str:
    """``aten::relu_`` is relu, ``aten::native_layer_norm`` layer_norm."""
    name = name.rpartition("::")[2].strip("_")
    return KNOWN.get(name, name)


def class_name(module: Any) -> str:
    """``BatchNorm2d`` is batch_norm2d, ``ReLU`` relu."""
    name = type(module).__name__
    for word in ("PReLU", "RReLU", "ReLU", "SiLU"):
        name = name.replace(word, word.capitalize())
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name).lower()


class Row(NamedTuple):
    """A layer to be: ``event`` numbers rows in the order they come up, in every run alike."""

    event: int
    path: str
    op: str
    functional: bool
    value: int


class _Frame:
    """One call of one module."""

    __slots__ = ("children", "module", "path", "rows")

    def __init__(self, module: Any, path: str) -> None:
        self.module = module
        self.path = path
        self.children = 0
        self.rows: list[int] = []


class Names:
    """The stack of module calls, and the rows so far."""

    def __init__(self, root: torch.nn.Module) -> None:
        self.paths: dict[int, str] = {}
        for path, module in root.named_modules():
            # What torch.compile wraps goes by the wrapper's name.
            self.paths.setdefault(
                id(module), path.replace("_orig_mod.", "").removesuffix("._orig_mod")
            )
        self.frames = [_Frame(None, "")]
        self.rows: dict[int, Row] = {}
        self.modules: list[Row] = []
        self.events = 0
        #: The last error that ended a module call, and the innermost call that it ended.
        self.raised: tuple[BaseException | None, str] = (None, "")

    @property
    def where(self) -> str:
        """The path of the module that runs."""
        return self.frames[-1].path

    def note(self, error: BaseException | None) -> None:
        """A module call ends, by this error if there is one."""
        if error is not None and self.raised[0] is not error:
            self.raised = (error, self.where)

    def raised_in(self, error: BaseException) -> str:
        """The path of the module in which the error was raised."""
        return self.raised[1] if self.raised[0] is error else self.where

    def enter(self, module: torch.nn.Module) -> None:
        path = self.paths.get(id(module))
        if path is None:  # made while the model runs
            path = ".".join(filter(None, [self.where, type(module).__name__]))
            self.paths[id(module)] = path
        self.frames[-1].children += 1
        self.frames.append(_Frame(module, path))

    def operator(self, op: str, value: int) -> int:
        """A row for an operator; returns its event."""
        frame = self.frames[-1]
        event = self._event()
        self.rows[event] = Row(event, frame.path, op, True, value)
        frame.rows.append(event)
        return event

    def leave(self, module: torch.nn.Module, value: int | None) -> int | None:
        """The call of ``module`` has returned ``value``. Returns the event of its row, if it has one."""
        while len(self.frames) > 1:
            frame = self.frames.pop()
            if frame.module is module:
                break
        else:
            return None
        event = self._event()
        library = type(module).__module__.startswith(("torch.nn.", "torch.ao.nn."))
        leaf = not frame.children and (len(frame.rows) <= 1 or library)
        leaf = leaf and (library or bool(frame.path))
        if not leaf:
            if value is not None:
                self.modules.append(Row(event, frame.path, class_name(module), False, value))
            return None
        if value is None:
            return None
        op = class_name(module)
        if not library and frame.rows:
            op = self.rows[frame.rows[-1]].op
        for row in frame.rows:
            del self.rows[row]
        self.rows[event] = Row(event, frame.path, op, not frame.path, value)
        return event

    def _event(self) -> int:
        self.events += 1
        return self.events

    def finish(self, graph: Graph, outputs: list[int], last_op: str) -> dict[str, int]:
        """Name the rows and the outputs in the graph; returns the event of each layer."""
        used: dict[str, int] = {}
        events: dict[str, int] = {}

        def unique(name: str) -> str:
            count = used.get(name, -1) + 1
            used[name] = count
            if not count:
                return name
            return unique(f"{name}_{count}")

        named: dict[int, str] = {}
        for row in self.rows.values():
            name = ".".join(filter(None, [row.path, row.op if row.functional else ""]))
            name = unique(name)
            graph.mark(name, row.op, row.value)
            named[row.value] = name
            events[name] = row.event
        for row in self.modules:
            if row.path:
                name = row.path if row.path not in used else unique(row.path)
                used.setdefault(row.path, 0)
                graph.group(name, row.op, row.value)
        for value in outputs:
            if value not in named:
                named[value] = unique("output")
                graph.mark(named[value], last_op, value)
            if named[value] not in graph.outputs:
                graph.outputs.append(named[value])
        return events
