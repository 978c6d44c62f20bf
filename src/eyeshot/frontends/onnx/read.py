"""The model in a file, in bytes or in memory, and what must hold of it before anything is made of it.

Nothing in the file is trusted: no path in it is opened, nothing in it is run, and no size in it is allocated.
What is wrong with its nodes comes up when they are walked over.
"""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from eyeshot.errors import EyeshotError

__all__ = ["inside", "read"]

#: Protocol buffers cannot be larger.
MAX_BYTES = 1 << 31


def read(source: Any) -> tuple[ModelProto, str]:
    """The model, and what to call it in messages. Raises EyeshotError if it is none."""
    if isinstance(source, str | PathLike):
        name = str(source)
        model = _parsed(_content(Path(source), name), name)
    elif isinstance(source, bytes | bytearray | memoryview):
        name = "the model"
        model = _parsed(bytes(source), name)
    elif isinstance(source, ModelProto):
        model, name = source, "the model"
    else:
        raise EyeshotError(f"expected a whole ONNX model (ModelProto), got {type(source).__name__}")
    try:
        _check(model)
    except EyeshotError as error:
        raise EyeshotError(f"{name}: {error}") from None
    return model, name


def _content(path: Path, name: str) -> bytes:
    try:
        if path.is_dir():
            raise EyeshotError(f"{name}: is a folder")
        if path.stat().st_size >= MAX_BYTES:
            raise EyeshotError(f"{name}: larger than 2 GiB, which an ONNX file cannot be")
        return path.read_bytes()
    except OSError as error:
        raise EyeshotError(f"{name}: {error.strerror or error}") from None
    except ValueError as error:  # a zero byte in the name
        raise EyeshotError(f"{name!r}: {error}") from None


def _parsed(content: bytes, name: str) -> ModelProto:
    if content[4:8] == b"ORTM":
        raise EyeshotError(
            f"{name}: in onnxruntime's own format; give the .onnx file it was made of"
        )
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, RecursionError):
        raise EyeshotError(f"{name}: not an ONNX model, or a truncated one") from None
    return model


def _check(model: ModelProto) -> None:
    """What makes it a model, and holds in all of its graphs."""
    if not model.HasField("graph") or not model.ir_version:
        raise EyeshotError("not an ONNX model: it has no graph or no IR version")
    if not model.graph.node and not model.graph.output:
        raise EyeshotError("the model's graph is empty")
    for proto in (model, *model.functions):
        _versions(proto)
    for info in (*model.graph.input, *model.graph.output):
        if not isinstance(info.name, str) or not info.name:
            raise EyeshotError(f"an input or output is called {info.name!r}, which is no text")


def _versions(proto: Any) -> None:
    newest = onnx.defs.onnx_opset_version()
    seen: set[str] = set()
    for entry in proto.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if domain in seen:
            raise EyeshotError(f"opset of {domain or 'ai.onnx'!r} is imported twice")
        seen.add(domain)
        if not domain and not 1 <= entry.version <= newest:
            raise EyeshotError(
                f"opset {entry.version} of ai.onnx is not known "
                f"(onnx {onnx.__version__} knows 1 to {newest})"
            )


def inside(tensor: TensorProto) -> None:
    """Raises EyeshotError if a tensor's numbers are said to lie outside the model's folder.

    They are not opened in any case: this is for files that are made to be opened by others.
    """
    if tensor.data_location != TensorProto.EXTERNAL:
        return
    for entry in tensor.external_data:
        if entry.key != "location":
            continue
        place = str(entry.value)
        depth = 0
        for part in re.split(r"[/\\]", place):
            depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
            if depth < 0:
                break
        if depth < 0 or re.match(r"[/\\]|\w:", place):
            raise EyeshotError(
                f"tensor {tensor.name!r} has its numbers outside the model's folder: {place!r}"
            )
