"""A network that runs: numbers in, numbers out, from a PyTorch module, a reference or an ONNX graph.

``load`` builds it once; from then on it is a function of arrays that many threads may call at once, that tells
what it is (``fingerprint``), and that travels to other processes: by the recipe it was made by where that is a
file or a reference, so that weights are read where they are needed; else as the module itself.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from eyeshot.analysis.report import Report
from eyeshot.api import is_onnx, onnx_title
from eyeshot.errors import EyeshotError
from eyeshot.tiling.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["DTYPES", "Model", "load"]

#: What a network computes in; NumPy has no bfloat16, so that its numbers go in and come out as float32.
DTYPES = ("float64", "float32", "float16", "bfloat16")
#: So many models that came from other processes are kept, since every task brings its own.
KEPT = 2


class Network(Protocol):
    """What models are made of: one for PyTorch, one for ONNX."""

    subject: Subject
    device: str
    compute: str
    dtype: np.dtype[Any]
    fixed_batch: int | None
    notes: tuple[str, ...]
    tokens: int
    weight_bytes: int

    def rows(self, x: NDArray[Any], seed: int = 0) -> dict[str, NDArray[Any]]: ...

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]: ...

    def fingerprint(self) -> str: ...

    def source(self) -> Any: ...

    def threaded(self, threads: int) -> Network: ...


class Model:
    """A loaded network: ``model(x)`` is its output for the array ``x`` [N, C, *S], of one forward pass.

    ``title``: what to call it. ``subject``: the same network, to be analysed. ``dtype``: of the arrays that go
    in; others are converted. ``compute``: the name of the dtype of its weights. ``device``: where it runs.
    ``threads``: how many a forward pass takes, None for the framework's own choice. ``fixed_batch``: an ONNX
    graph's declared batch size; other batches are run in parts of that size. ``output``: the name asked for.
    ``training``: the mode. ``notes``: what is worth knowing, one line each. ``tokens``: how many different
    whole numbers the network takes, where it takes those. ``weight_bytes``: what its weights take.

    May be called by several threads at once. Raises :class:`~eyeshot.errors.EyeshotError` where the network
    fails, with its own words in one line.
    """

    def __init__(
        self, network: Network, *, options: Mapping[str, Any], recipe: Mapping[str, Any]
    ) -> None:
        self._network = network
        self._recipe = dict(recipe)
        self._fingerprint: str | None = None
        self._lock = threading.Lock()
        self.subject = network.subject
        self.title = network.subject.title or "network"
        self.dtype = network.dtype
        self.compute = network.compute
        self.device = network.device
        self.fixed_batch = network.fixed_batch
        self.notes = network.notes
        self.tokens = network.tokens
        self.weight_bytes = network.weight_bytes
        self.output: str | None = options["output"]
        self.training: bool | None = options["training"]
        self.threads: int | None = options["threads"]

    def __repr__(self) -> str:
        return f"<Model {self.title}: {self.compute} on {self.device}>"

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """The chosen output for ``x`` [N, C, *S]; ``x`` itself is only read."""
        return self._network(x)

    @property
    def fingerprint(self) -> str:
        """A text that is the same for the same structure, weights, dtype and output, and else another.

        64 hexadecimal digits (SHA-256). It is computed once, when it is first asked for.
        """
        with self._lock:
            if self._fingerprint is None:
                self._fingerprint = self._network.fingerprint()
            return self._fingerprint

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the network and its weights are read from."""
        held = [self._recipe.get(name) for name in ("source", "weights")]
        beside = getattr(self._network, "_files", ())  # an ONNX graph's tensors
        paths = [os.fspath(p) for p in (*held, *beside) if isinstance(p, str | os.PathLike)]
        folder = self._recipe.get("folder") or os.getcwd()
        placed = (os.path.join(folder, path) for path in paths)
        return tuple(path for path in placed if os.path.isfile(path))

    def cast(self, dtype: str) -> Model:
        """The same network computing in another dtype: a copy. An ONNX graph has one of its own."""
        return load(self._network.source(), **{**self._recipe["options"], "dtype": dtype})

    def rows(self, x: NDArray[Any], seed: int = 0) -> dict[str, NDArray[Any]]:
        """The values of all layers for ``x``, by their names in a report; none for an ONNX graph.

        ``seed``: for what the network draws itself.
        """
        return self._network.rows(x, seed)

    def threaded(self, threads: int) -> Model:
        """The same network with so many threads per forward pass: a copy that shares its parameters."""
        options = {**self._recipe["options"], "threads": threads}
        return Model(
            self._network.threaded(threads),
            options=options,
            recipe={**self._recipe, "options": options},
        )

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("eyeshot.Model", self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._key(), self._recipe)

    def _key(self) -> str:
        return f"{self.fingerprint} {self.compute} {self.device} {self.threads} {self.training}"


def load(
    source: Any,
    *,
    weights: str | PathLike[str] | None = None,
    device: str | None = None,
    dtype: Any = None,
    output: str | None = None,
    axes: Any = None,
    training: bool | None = False,
    threads: int | None = None,
    title: str | None = None,
) -> Model:
    """A network ready to run.

    ``source``: a PyTorch module; a reference (``torchvision:NAME``, ``timm:NAME``, ``package.module:factory``);
    or an ONNX model as a path, bytes or ``ModelProto``. A :class:`Model` is returned as it is.

    ``weights``: a ``.safetensors`` or ``.pt`` file for a module or reference; nothing but tensors is unpickled.
    A reference without them has random weights, the same ones each time. ``device``: ``cpu``, ``cuda`` …; by
    default where the module is. ``dtype``: one of ``DTYPES``, by default the module's own; an ONNX graph has
    one of its own. ``output``: a layer's name where the network has several outputs, as a report names them,
    or an ONNX graph's own name. ``axes``: as for :func:`eyeshot.analyze`. ``training``: the mode that a
    module runs in, None for the one it is in. ``threads``: how many a forward pass takes. ``title``: what to
    call it in place of its own name.

    A module is neither changed nor copied: its parameters are shared, unless another ``dtype`` or ``device``
    asks for a copy. Raises :class:`~eyeshot.errors.EyeshotError`, one line, for what can't be run.
    """
    if isinstance(source, Model):
        return source
    if threads is not None and (not _whole(threads) or threads < 1):
        raise EyeshotError(f"threads: expected a whole number of at least 1, got {threads!r}")
    if output is not None and not isinstance(output, str):
        raise EyeshotError(f"output: expected a layer's name, got {output!r}")
    options = {
        "device": None if device is None else str(device),
        "dtype": None if dtype is None else dtype_name(dtype),
        "output": output,
        "axes": axes,
        "training": training,
        "threads": threads,
    }
    if is_onnx(source):
        return _graph(source, weights, options, title)
    _no_spec(source)
    return _module(source, weights, options, title)


def dtype_name(dtype: Any) -> str:
    """``float32``, of a text or a dtype of NumPy's or PyTorch's."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = ""
    if name not in DTYPES:
        raise EyeshotError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    return name


def _whole(n: Any) -> bool:
    return isinstance(n, int) and not isinstance(n, bool)


def _no_spec(source: Any) -> None:
    """A spec and a checkpoint are no network that could run."""
    from eyeshot.frontends.references import is_reference

    if isinstance(source, Report):
        raise EyeshotError("a report has no weights to run; give the network itself")
    if isinstance(source, str) and is_reference(source):
        return
    if isinstance(source, Mapping | str | PathLike):
        name = "a dict" if isinstance(source, Mapping) else str(source)
        suffix = "" if isinstance(source, Mapping) else Path(name).suffix.lower()
        if suffix in (".pt", ".pth", ".ckpt", ".safetensors", ".bin"):
            raise EyeshotError(
                f"{name}: weights, but of which network? Give the network as a reference "
                f"(package.module:factory), and --weights {name}"
            )
        raise EyeshotError(
            f"{name}: a spec has no weights to run; give a PyTorch module, a reference "
            "(torchvision:NAME, timm:NAME, package.module:factory) or an .onnx file"
        )


def _graph(source: Any, weights: Any, options: dict[str, Any], title: str | None) -> Model:
    """A model of an ONNX graph."""
    from eyeshot.tiling.models_onnx import network

    if weights is not None:
        raise EyeshotError("weights: an ONNX file has its own; export the network with these")
    if isinstance(source, str | PathLike):
        source = Path(source).absolute()
    made = network(source, title or onnx_title(source), **options)
    recipe = {"source": made.source(), "weights": None, "options": {**options, "title": title}}
    return Model(made, options=options, recipe=recipe)


def _module(source: Any, weights: Any, options: dict[str, Any], title: str | None) -> Model:
    """A model of a PyTorch module."""
    from eyeshot.tiling.models_torch import network

    if weights is not None:
        if not isinstance(weights, str | PathLike):
            raise EyeshotError(f"weights: expected a file's path, got a {type(weights).__name__}")
        weights = str(Path(weights).absolute())
    made = network(source, weights, title, **options)
    # A module travels as it now is: with its weights, in its dtype.
    held, file = (source, weights) if isinstance(source, str) else (made.source(), None)
    recipe = {
        "source": held,
        "weights": file,
        "options": {**options, "title": made.subject.title},
        "folder": os.getcwd(),
    }
    return Model(made, options=options, recipe=recipe)


# --- in other processes

_kept: OrderedDict[str, Model] = OrderedDict()
_arriving = threading.Lock()


def _arrived(key: str, recipe: Mapping[str, Any]) -> Model:
    """The model of a recipe, in another process; one that has come before is used again."""
    with _arriving:
        model = _kept.get(key)
        if model is None:
            model = _remade(recipe)
            if model._key() != key:
                raise EyeshotError(
                    f"{model.title}: this process finds another network or other weights than the one that "
                    "it is to work for; the files have changed"
                )
            _kept[key] = model
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return model


def _remade(recipe: Mapping[str, Any]) -> Model:
    with _folder(recipe.get("folder")):
        return load(recipe["source"], weights=recipe["weights"], **recipe["options"])


@contextmanager
def _folder(folder: str | None) -> Iterator[None]:
    """A reference's own modules are looked for in the folder that it was given in, too."""
    import sys

    if folder is None or folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
