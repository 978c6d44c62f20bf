"""PyTorch modules that run: a twin of the module, which shares its parameters and nothing else, per thread.

The user's module keeps its mode, hooks, buffers and all else, whatever a forward pass does; and modules that
keep what they have computed in themselves don't mix up threads.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeshot.errors import EyeshotError
from eyeshot.frontends.references.building import need
from eyeshot.tiling.modules import (
    Inner,
    built,
    floating,
    has_data,
    input_dtype,
    placed,
    settled,
    tensors_of,
    tokens,
    twin,
    whole,
)
from eyeshot.tiling.prints import hash_tensor, structure
from eyeshot.tiling.subject import Subject

__all__ = ["TorchNetwork", "network"]

#: References that are built without weights of their own.
ZOOS = ("torchvision", "timm", "hf")


def network(
    source: Any,
    weights: str | None,
    title: str | None,
    *,
    device: str | None,
    dtype: str | None,
    output: str | None,
    axes: Any,
    training: bool | None,
    threads: int | None,
) -> TorchNetwork:
    """The module that a source is or refers to, with its weights, on its device, in its dtype."""
    from eyeshot.api import resolve

    default, notes = None, []
    if isinstance(source, str):
        need("torch", source)
        module, named, default = built(source)
        if weights is None and source.partition(":")[0] in ZOOS:
            notes.append(
                "the weights are random, the same each time; give trained ones with weights"
            )
    else:
        module, named, _ = resolve(source)
        need("torch", named)
    module = twin(whole(module))
    if weights is not None:
        from eyeshot.frontends.torch.weights import loaded

        module = twin(loaded(module, weights))
    has_data(module)
    if training is not None:
        for m in module.modules():
            m.training = training
    if training is False:
        settled(module)
    module = placed(module, device, dtype)
    subject = Subject(twin(module), axes=axes, training=training, output=output)
    subject.title, subject.default = title or named, default
    return TorchNetwork(
        module,
        subject,
        dtype=dtype,
        output=output,
        axes=axes,
        training=training,
        threads=threads,
        notes=notes,
    )


class TorchNetwork:
    """Runs a module. The template ``module`` itself never runs: each thread makes a twin of it."""

    fixed_batch: int | None = None

    def __init__(
        self,
        module: Any,
        subject: Subject,
        *,
        dtype: str | None,
        output: str | None,
        axes: Any,
        training: bool | None,
        threads: int | None,
        notes: list[str],
    ) -> None:
        import torch

        self.module = module
        self.subject = subject
        self.notes = tuple(notes)
        self._output, self._axes, self._training = output, axes, training
        self._threads = threads
        self._device = next((t.device for t in tensors_of(module)), torch.device("cpu"))
        self.device = str(self._device)
        self._dtype = dtype
        self.compute = str(floating(module, dtype)).removeprefix("torch.")
        self.dtype = input_dtype(module, dtype)
        self.tokens = tokens(module)
        self.weight_bytes = sum(t.numel() * t.element_size() for t in tensors_of(module))
        self._structure = structure(module, output, training)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._place: int | None = None

    def source(self) -> Any:
        """The module, to make another model of."""
        return self.module

    def threaded(self, threads: int) -> TorchNetwork:
        """The same with so many threads per forward pass."""
        return TorchNetwork(
            self.module,
            self.subject,
            dtype=self._dtype,
            output=self._output,
            axes=self._axes,
            training=self._training,
            threads=threads,
            notes=list(self.notes),
        )

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """The chosen output for ``x`` [N, C, *S], on this thread's own twin."""
        import torch

        with torch.inference_mode():
            return _numbers(self._run(self._given(x)))

    def tensor(self, x: Any) -> Any:
        """The same for a tensor: the output is a tensor on the network's device."""
        return self._run(self._moved(x.detach().clone()))

    def _given(self, x: NDArray[Any]) -> Any:
        """A tensor of its own: a module may write to what it is given."""
        import torch

        return self._moved(torch.from_numpy(np.array(x, dtype=self.dtype, order="C", copy=True)))

    def _moved(self, x: Any) -> Any:
        import torch

        name = self.compute if self.dtype.kind == "f" else self.dtype.name
        return x.to(self._device, getattr(torch, name))

    def _run(self, given: Any) -> Any:
        """The chosen output for a tensor that nobody else uses."""
        import torch

        with torch.inference_mode(), _threads(self._threads), _exact(self._device):
            shape = tuple(given.shape)
            try:
                out = self._module()(given)
            except EyeshotError:
                raise
            except Exception as error:
                raise self._explained(shape, error) from error
            return self._chosen(out, shape)

    def rows(self, x: NDArray[Any], seed: int = 0) -> dict[str, NDArray[Any]]:
        """The values of all layers for ``x``, by their names in a report."""
        import torch

        from eyeshot.frontends.torch.build import build, run

        module = twin(self.module)
        arguments = build(module, x.shape, axes=self._axes, training=self._training).arguments
        found: dict[int, NDArray[Any]] = {}

        def watch(event: int, tensor: Any) -> None:
            found[event] = _numbers(tensor).copy()

        with _exact(self._device), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            done = run(
                module,
                arguments,
                self._training,
                real=True,
                fill=lambda _: self._given(x),
                watch=watch,
            )
        return {name: found[event] for name, event in done.events.items() if event in found}

    def _module(self) -> Any:
        module = getattr(self._local, "module", None)
        if module is None:
            module = self._local.module = twin(self.module)
        return module

    def _explained(self, given: tuple[int, ...], error: Exception) -> EyeshotError:
        shape = "x".join(map(str, given))
        text = " ".join(str(error).split())[:300] or "no message"
        first = next((m for m in self.module.modules() if hasattr(m, "in_channels")), None)
        wanted = getattr(first, "in_channels", None)
        if len(given) > 1 and isinstance(wanted, int) and wanted != given[1] and "channels" in text:
            return EyeshotError(
                f"{self.subject.title}: the network takes {wanted} channels, and the input {shape} has "
                f"{given[1]}"
            )
        return EyeshotError(
            f"{self.subject.title}: the network raised {type(error).__name__} for {shape}: {text}"
        )

    # --- outputs

    def _chosen(self, out: Any, shape: tuple[int, ...]) -> Any:
        """The tensor that is the result, among all that the module returns."""
        from eyeshot.frontends.torch.inputs import tensors_in

        tensors = tensors_in(out)
        if not tensors:
            raise EyeshotError(
                f"{self.subject.title}: the network returns no tensor ({type(out).__name__})"
            )
        if len(tensors) == 1 and self._output is None:
            return tensors[0]
        with self._lock:
            if self._place is None:
                self._place = self._found(shape)
        if self._place >= len(tensors):
            raise EyeshotError(
                f"{self.subject.title}: the network returned {len(tensors)} tensors, and the "
                f"output is number {self._place + 1} at other sizes"
            )
        return tensors[self._place]

    def _found(self, shape: tuple[int, ...]) -> int:
        """Which of the tensors is the output that the subject chooses."""
        import torch

        shape = (1, *shape[1:])
        with torch.inference_mode(False):
            wanted = self.subject.output(self.subject.report(shape)).name
            names = _returned(self.subject.network, shape, self._axes, self._training)
        if wanted in names:
            return names.index(wanted)
        known = ", ".join(dict.fromkeys(filter(None, names)))
        raise Inner(
            f"output: {wanted} is a layer inside the network, which returns {known}; only what it "
            "returns can be run"
        )

    # --- what it is

    def fingerprint(self) -> str:
        """A hash over structure, dtypes, and the bytes of all weights."""
        digest = hashlib.sha256(self._structure)
        for name, parameter in self.module.named_parameters(remove_duplicate=False):
            hash_tensor(digest, f"parameter {name}", parameter)
        return digest.hexdigest()


# --- outputs and numbers


def _returned(
    module: Any, shape: tuple[int, ...], axes: Any, training: bool | None
) -> list[str | None]:
    """The names, in a report, of all tensors that the module returns; None for those without."""
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

    from eyeshot.frontends.torch.build import build
    from eyeshot.frontends.torch.inputs import tensors_in
    from eyeshot.frontends.torch.trace import Tracer

    seen: list[int | None] = []

    def look(module: Any, args: Any, out: Any) -> None:
        for mode in _get_current_dispatch_mode_stack():
            if isinstance(mode, Tracer):
                seen[:] = [mode.returned(tensor) for tensor in tensors_in(out)]

    handle = module.register_forward_hook(look)
    try:
        graph = build(module, shape, axes=axes, training=training).graph
    finally:
        handle.remove()
    # Each value that depends on the input has a name, in the order in which it first comes up.
    values = list(dict.fromkeys(v for v in seen if v is not None))
    if len(values) == len(graph.outputs):
        names = dict(zip(values, graph.outputs, strict=True))
    else:
        names = {mark.value: mark.name for mark in graph.layers}
    return [None if v is None else names.get(v) for v in seen]


def _numbers(tensor: Any) -> NDArray[Any]:
    import torch

    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return np.ascontiguousarray(tensor.cpu().resolve_conj().resolve_neg().numpy())


_counting = threading.Lock()
_running = 0
_before = 0


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """So many threads for what this thread runs.

    PyTorch keeps the number per thread that calls, and hands the last one that was set to new threads. The one
    to go back to is therefore that of before any forward pass began.
    """
    global _running, _before
    if count is None:
        yield
        return
    import torch

    # To ask is what makes a new thread take its number; later, it would overwrite the one that is set here.
    own = torch.get_num_threads()
    with _counting:
        if not _running:
            _before = own
        _running += 1
        before = _before
        torch.set_num_threads(count)
    try:
        yield
    finally:
        with _counting:
            _running -= 1
            torch.set_num_threads(before)


_precise: list[Any] = []
_entered = 0


@contextmanager
def _exact(device: Any) -> Iterator[None]:
    """On a GPU: kernels that give the same each time, and float32 that is no TensorFloat-32.

    The flags are the whole process's: set by the first forward pass to begin, set back by the last to end.
    """
    global _entered
    if device.type != "cuda":
        yield
        return
    import torch

    with _counting:
        if not _entered:
            flags = torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            )
            flags.__enter__()
            _precise.append(flags)
        _entered += 1
    try:
        yield
    finally:
        with _counting:
            _entered -= 1
            if not _entered:
                _precise.pop().__exit__(None, None, None)
