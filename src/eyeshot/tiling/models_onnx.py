"""ONNX graphs that run in onnxruntime, at other sizes than the one they were exported at, too.

Exporters write the size of their example into a graph: ``1x3x224x224``. onnxruntime then refuses all others,
though the operators would take them. In a copy the sizes along the axes are left open, in the declarations
only: what the operators themselves hold (the target of a Reshape, the sizes of a Resize) stays, so that the
analysis of the same copy sees it, and onnxruntime refuses what doesn't fit.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.errors import EyeshotError
from eyeshot.tiling.modules import Inner
from eyeshot.tiling.subject import Subject

__all__ = ["OnnxNetwork", "network"]

#: Inputs that NumPy and onnxruntime have in common.
KINDS = "float64 float32 float16 uint8 int8 uint16 int16 uint32 int32 uint64 int64 bool".split()
#: The size of axes that a graph leaves open, to find out which dims they are.
SIDE = 64
CHUNK = 1 << 22


def network(
    source: Any,
    title: str,
    *,
    device: str | None,
    dtype: str | None,
    output: str | None,
    axes: Any,
    training: bool | None,
    threads: int | None,
) -> OnnxNetwork:
    """The graph in a file, in bytes or in memory, ready to run."""
    need("onnx")
    need("onnxruntime")
    from eyeshot.frontends.onnx.read import read

    if training:
        raise EyeshotError("training: an ONNX model runs in the mode that it was exported in")
    model, _ = read(source)
    kind = _kind(model, title)
    if dtype is not None and dtype != kind.name:
        raise EyeshotError(f"dtype: {title} takes {kind.name}, and an ONNX graph has no other")
    folder = Path(source).parent if isinstance(source, str | PathLike) else None
    files = _outside(model, folder, title)
    declared = _declared(model)
    model = _opened(model, axes)
    subject = Subject(model, axes=axes, training=training, output=output)
    subject.title = title
    held = source if folder is not None else model
    device = device or "cpu"
    return OnnxNetwork(
        model, held, subject, kind, files, declared, device=device, output=output, threads=threads
    )


def need(package: str) -> None:
    import importlib

    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in (package, "google"):
            raise
        raise EyeshotError(f"ONNX models need {package}: pip install 'eyeshot[onnx]'") from None


class OnnxNetwork:
    """Runs a graph in one session, which many threads may call."""

    def __init__(
        self,
        model: Any,
        source: Any,
        subject: Subject,
        dtype: np.dtype[Any],
        files: list[Path],
        declared: str,
        *,
        device: str,
        output: str | None,
        threads: int | None,
    ) -> None:
        self.subject = subject
        self.dtype = dtype
        self.compute = dtype.name
        self.notes: tuple[str, ...] = ()
        self.device = device
        #: What integers there may be is not known; onnxruntime checks indices.
        self.tokens = 2
        self._model, self._source, self._files = model, source, files
        self._declared = declared
        self._output = output
        self._lock = threading.Lock()
        self._name: str | None = None
        info = _input(model, subject.title or "")
        self._input = info.name
        self._rank = len(info.type.tensor_type.shape.dim) if _ranked(info) else None
        batch = info.type.tensor_type.shape.dim[0] if self._rank else None
        self.fixed_batch = batch.dim_value if batch is not None and batch.dim_value > 0 else None
        folder = source.parent if isinstance(source, Path) else None
        content = _serialized(model, subject.title or "")
        self.weight_bytes = len(content) + sum(file.stat().st_size for file in files)
        self._digest = hashlib.sha256(content)
        for file in files:
            _hash_file(self._digest, file)
        self._session = _session(content, folder, self.device, threads, subject.title or "")
        self._outputs = [o.name for o in self._session.get_outputs()]

    def source(self) -> Any:
        """The file, or the graph that was given as such, to make another model of."""
        return str(self._source) if isinstance(self._source, PathLike) else self._source

    def rows(self, x: NDArray[Any], seed: int = 0) -> dict[str, NDArray[Any]]:
        """Nothing: what is inside a session is not seen."""
        return {}

    def fingerprint(self) -> str:
        """A hash over the graph, its weights, those in other files, and the chosen output."""
        digest = self._digest.copy()
        digest.update(f"output {self._output!r}".encode())
        return digest.hexdigest()

    def threaded(self, threads: int) -> OnnxNetwork:
        """The same with so many threads per forward pass: another session."""
        held = (self._model, self._source, self.subject, self.dtype, self._files, self._declared)
        return OnnxNetwork(*held, device=self.device, output=self._output, threads=threads)

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """The chosen output for ``x`` [N, C, *S]; other batches than a declared one go in parts."""
        x = np.ascontiguousarray(x, dtype=self.dtype)
        name = self._chosen(x.shape)
        size = self.fixed_batch
        if size is None or x.shape[:1] == (size,):
            return self._run(x, name)
        parts = [self._run(_filled(x[k : k + size], size), name) for k in range(0, len(x), size)]
        return np.concatenate(parts)[: len(x)]

    def _run(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        import onnxruntime

        quiet = onnxruntime.RunOptions()
        quiet.log_severity_level = 4
        try:
            (found,) = self._session.run([name], {self._input: x}, quiet)
        except Exception as error:
            raise EyeshotError(self._explained(x, error)) from error
        if not isinstance(found, np.ndarray):
            raise EyeshotError(f"{self.subject.title}: output {name} is no tensor")
        return found

    def _explained(self, x: NDArray[Any], error: Exception) -> str:
        shape = "x".join(map(str, x.shape))
        text = " ".join(str(error).split())
        wrong = re.search(r"index: (\d+) Got: (\d+) Expected: (\d+)", text)
        if wrong:
            dim, got, wanted = wrong.groups()
            what = (
                "channels" if dim == "1" and self._rank and self._rank > 2 else f"along dim {dim}"
            )
            return f"{self.subject.title}: the network takes {wanted} {what}, and the input {shape} has {got}"
        node = re.search(r"running (\S+) node. Name:'([^']*)'", text)
        at = f" at {node[2]} ({node[1]})" if node else ""
        text = text.partition("Status Message: ")[2] or text
        text = re.sub(r"^\S+\.(h|cc):\d+ .*?\) ", "", text)  # a place in onnxruntime's source
        made = (
            f" (it was exported for {self._declared})" if self._declared not in ("", shape) else ""
        )
        return f"{self.subject.title}: onnxruntime can't run it for {shape}{made}{at}: {text[:300]}"

    def _chosen(self, shape: tuple[int, ...]) -> str:
        """The graph's own name of the output."""
        if self._name is None:
            with self._lock:
                self._name = self._name or self._found((1, *shape[1:]))
        return self._name

    def _found(self, shape: tuple[int, ...]) -> str:
        if self._output in self._outputs:
            return str(self._output)
        if self._output is None and len(self._outputs) == 1:
            return self._outputs[0]
        from eyeshot.frontends.onnx import build

        size = self.fixed_batch or 1
        shape = (size, *shape[1:])
        wanted = self.subject.output(self.subject.report(shape)).name
        tensor = build(self._model, shape, axes=self.subject._options["axes"]).tensors.get(wanted)
        if tensor in self._outputs:
            return str(tensor)
        raise Inner(
            f"output: {wanted} is a layer inside the network, which returns {', '.join(self._outputs)}; "
            "only what it returns can be run"
        )


# --- the graph


def _ranked(info: Any) -> bool:
    return bool(info.type.tensor_type.HasField("shape"))


def _input(model: Any, title: str) -> Any:
    """The graph's one input."""
    from eyeshot.frontends.onnx.inputs import sources

    found = sources(model.graph)
    if len(found) != 1:
        names = ", ".join(info.name for info in found) or "none"
        raise EyeshotError(f"{title}: one input is needed, and the network has {names}")
    return found[0]


def _kind(model: Any, title: str) -> np.dtype[Any]:
    """The dtype that the graph takes."""
    import onnx

    info = _input(model, title)
    number = info.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
    try:
        name = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)).name
    except (KeyError, TypeError):
        name = str(number)
    if name not in KINDS:
        raise EyeshotError(f"{title}: input {info.name} is of {name}, which NumPy does not have")
    return np.dtype(name)


def _outside(model: Any, folder: Path | None, title: str) -> list[Path]:
    """The files that hold weights outside the graph's own."""
    import onnx

    from eyeshot.frontends.onnx.read import inside

    found: dict[Path, None] = {}
    for tensor in _stored(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        inside(tensor)
        place = next((e.value for e in tensor.external_data if e.key == "location"), "")
        if folder is None:
            raise EyeshotError(
                f"{title}: weights lie in another file ({place}); give the path of the .onnx file"
            )
        if not (folder / place).is_file():
            raise EyeshotError(f"{folder / place}: there is no such file, which has the weights")
        found[folder / place] = None
    return sorted(found)


def _stored(graph: Any) -> Iterator[Any]:
    """All tensors that a graph and the graphs in it hold."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for a in node.attribute:
            if a.HasField("t"):
                yield a.t
            yield from a.tensors
            for inner in (*([a.g] if a.HasField("g") else ()), *a.graphs):
                yield from _stored(inner)


def _declared(model: Any) -> str:
    """The sizes that the file has; empty where it leaves all but the batch and channels open."""
    dims = _input(model, "").type.tensor_type.shape.dim
    if not any(dim.dim_value > 0 for dim in dims[2:]):
        return ""
    return "x".join(str(dim.dim_value) if dim.dim_value > 0 else "?" for dim in dims)


def _opened(model: Any, axes: Any) -> Any:
    """A copy in which no size along an axis is declared; the model itself where none is."""
    import onnx

    info = _input(model, "")
    if not _ranked(info):
        return model
    dims = info.type.tensor_type.shape.dim
    along = [k for k in _along(model, axes) if k < len(dims)]
    if not any(dims[k].dim_value > 0 for k in along):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for k in along:
        if _input(copy, "").type.tensor_type.shape.dim[k].dim_value > 0:
            _input(copy, "").type.tensor_type.shape.dim[k].Clear()
    for held in (*copy.graph.output, *copy.graph.value_info):
        _open(held)
    return copy


def _open(info: Any) -> None:
    if info.type.WhichOneof("value") == "tensor_type" and _ranked(info):
        for dim in info.type.tensor_type.shape.dim:
            dim.Clear()


def _along(model: Any, axes: Any) -> list[int]:
    """The dims of the input that fields run along."""
    from eyeshot.api import analyze

    dims = _input(model, "").type.tensor_type.shape.dim
    shape = tuple(
        d.dim_value if d.dim_value > 0 else SIDE if k > 1 else 1 for k, d in enumerate(dims)
    )
    try:
        return list(analyze(model, shape, axes=axes)._sources[0].axes)
    except EyeshotError:
        return list(range(2, len(dims)))


# --- the session


def _serialized(model: Any, title: str) -> bytes:
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except Exception:
        raise EyeshotError(
            f"{title}: with its weights the graph is larger than 2 GiB; keep them in a file beside it"
        ) from None


def _session(
    content: bytes, folder: Path | None, device: str, threads: int | None, title: str
) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.inter_op_num_threads = 1
    if threads is not None:
        options.intra_op_num_threads = threads
    # An arena keeps what it once had; tiles of several sizes then need more than the largest does.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    if folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder)
        )
    providers = _providers(device)
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise EyeshotError(f"{title}: onnxruntime can't load it: {text}") from None


def _providers(device: str) -> list[Any]:
    import onnxruntime

    kind, _, number = device.partition(":")
    if kind == "cpu" and not number:
        return ["CPUExecutionProvider"]
    if kind != "cuda" or (number and not number.isdigit()):
        raise EyeshotError(
            f"device: {device!r} is none that onnxruntime is used on; try cpu or cuda"
        )
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise EyeshotError(
            f"device: {device} is not available: this onnxruntime has no CUDA (onnxruntime-gpu has)"
        )
    settings = {"device_id": int(number or 0), "use_tf32": 0, "cudnn_conv_algo_search": "DEFAULT"}
    return [("CUDAExecutionProvider", settings), "CPUExecutionProvider"]


def _filled(x: NDArray[Any], size: int) -> NDArray[Any]:
    """A batch of ``size``, the last sample repeated."""
    if len(x) == size:
        return np.ascontiguousarray(x)
    return np.concatenate([x, np.repeat(x[-1:], size - len(x), axis=0)])


def _hash_file(digest: Any, path: Path) -> None:
    digest.update(f"file {path.name} {path.stat().st_size}\n".encode())
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
