"""The stream as people use it: kinds of arrays, layouts, sources, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import eyeshot
from eyeshot import EyeshotError, NotTileable, Stream
from tests.streaming import signal_nets

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 3, 4, 2), nn.Tanh(), nn.ConvTranspose1d(3, 1, 4, 2)).eval()


@pytest.fixture
def stream(net: nn.Module) -> Stream:
    return eyeshot.stream(net, (1, 2, 64), rate=100, check=False)


def pieces(stream: Stream, x: Any, dim: int, sizes: list[int]) -> list[Any]:
    """What is given for chunks of these sizes along a dim, and at the end."""
    outs, at = [], 0
    for size in sizes:
        part = [slice(None)] * x.ndim
        part[dim] = slice(at, at + size)
        outs.append(stream.push(x[tuple(part)]))
        at += size
    assert at == x.shape[dim]
    return [*outs, stream.flush()]


def whole(net: nn.Module, x: Array) -> Array:
    with torch.inference_mode():
        return net(torch.from_numpy(x)).numpy()  # type: ignore[no-any-return]


def noise(*shape: int, dtype: str = "float32") -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def test_arrays_and_tensors_with_and_without_a_batch(net: nn.Module, stream: Stream) -> None:
    x = noise(3, 2, 31)
    want = whole(net, x)
    sizes = [5, 0, 14, 1, 11]
    outs = pieces(stream, x, -1, sizes)
    assert all(isinstance(out, np.ndarray) and out.dtype == np.float32 for out in outs)
    np.testing.assert_allclose(np.concatenate(outs, -1), want, rtol=1e-5, atol=1e-6)
    stream.reset()
    outs = pieces(stream, torch.from_numpy(x), -1, sizes)
    assert all(out.dtype == torch.float32 and not out.requires_grad for out in outs)
    np.testing.assert_allclose(torch.cat(outs, -1).numpy(), want, rtol=1e-5, atol=1e-6)
    stream.reset()
    outs = pieces(stream, x[1], -1, sizes)
    assert {out.ndim for out in outs} == {2}
    np.testing.assert_allclose(np.concatenate(outs, -1), want[1], rtol=1e-5, atol=1e-6)
    assert (stream.received, stream.given) == (31, want.shape[-1])


def test_results_are_their_own(net: nn.Module, stream: Stream) -> None:
    """Neither writing to a chunk after it was pushed nor to a result changes what comes."""
    x = noise(1, 2, 40)
    want = whole(net, x)
    outs = []
    for at in range(0, 40, 2):
        chunk = x[..., at : at + 2].copy()
        given = stream.push(chunk)
        outs.append(given.copy())
        chunk[:] = given[:] = np.nan
    outs.append(stream.flush())
    np.testing.assert_allclose(np.concatenate(outs, -1), want, rtol=1e-5, atol=1e-6)


def test_the_module_stays_as_it_is() -> None:
    inner = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Dropout()).train()
    stream = eyeshot.stream(inner, (1, 1, 32))
    stream.push(noise(1, 1, 40))
    assert inner.training and inner[1].training and int(inner[1].num_batches_tracked) == 0


def test_an_end_and_another_begin(net: nn.Module, stream: Stream) -> None:
    x = noise(1, 2, 24)
    stream.push(x)
    stream.flush()
    for act in (lambda: stream.push(x), stream.flush):
        with pytest.raises(EyeshotError, match="reset"):
            act()
    stream.reset()
    outs = [stream.push(x[..., :9]), stream.push(x[..., 9:]), stream.flush()]
    np.testing.assert_allclose(np.concatenate(outs, -1), whole(net, x), rtol=1e-5, atol=1e-6)


def test_the_shortest_signals(net: nn.Module, stream: Stream) -> None:
    """As the network: 4 samples are enough for it, 3 are not."""
    assert stream.push(noise(1, 2, 0)).shape == (1, 1, 0)
    stream.push(noise(1, 2, 3))
    with pytest.raises(EyeshotError, match="a signal of 3 samples"):
        stream.flush()
    ready = stream.push(noise(1, 2, 1)).shape[-1]
    assert ready + stream.flush().shape[-1] == 4
    stream.reset()
    with pytest.raises(EyeshotError, match="a signal of 0 samples"):
        stream.flush()


@pytest.mark.parametrize(
    ("chunk", "says"),
    [
        (noise(1, 3, 8), "a chunk is 2xT .* this one is 1x3x8"),
        (noise(8), "this one is 8"),
        (noise(1, 1, 2, 8), "this one is 1x1x2x8"),
        (noise(0, 2, 8), "a batch of 0"),
        (noise(2, 2, 8), "a batch of 2 after chunks with a batch of 1"),
        (noise(2, 8), "without a batch after a NumPy array with a batch"),
        (torch.zeros(1, 2, 8), "a tensor with a batch after"),
        (noise(1, 2, 8, dtype="float64"), "float64, Sequential takes float32"),
        (np.zeros((1, 2, 8), dtype=np.int16), "int16"),
        ([[0.0], [0.0]], "got list"),
    ],
)
def test_chunks_that_do_not_fit(net: nn.Module, stream: Stream, chunk: Any, says: str) -> None:
    """They change nothing: the stream goes on."""
    x = noise(1, 2, 20)
    outs = [stream.push(x[..., :8])]
    with pytest.raises(EyeshotError, match=says):
        stream.push(chunk)
    outs += [stream.push(x[..., 8:]), stream.flush()]
    np.testing.assert_allclose(np.concatenate(outs, -1), whole(net, x), rtol=1e-5, atol=1e-6)


def test_a_nan_reaches_the_outputs_that_read_it(net: nn.Module, stream: Stream) -> None:
    x = noise(1, 2, 60)
    x[..., 30] = np.nan
    out = np.concatenate(pieces(stream, x, -1, [6] * 10), -1)
    want = whole(net, x)
    assert np.isnan(want).any() and not np.isnan(want).all()
    np.testing.assert_array_equal(np.isnan(out), np.isnan(want))


def test_without_an_input_the_first_chunk_tells() -> None:
    net = signal_nets.wavenet(2).double().eval()
    stream = eyeshot.stream(net, rate=10)
    with pytest.raises(EyeshotError, match="first chunk"):
        _ = stream.plan
    with pytest.raises(EyeshotError, match="needs its batch"):
        stream.push(noise(5, dtype="float64"))
    x = noise(2, 1, 20, dtype="float64")
    outs = pieces(stream, x, -1, [3, 17])
    np.testing.assert_allclose(np.concatenate(outs, -1), whole(net, x), rtol=1e-12)
    assert stream.plan.context == 3 and stream.plan.rate == 10


class Spectral(nn.Module):
    """Time last, frequencies before it; features come out last, time before them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, (3, 3), padding=(1, 0))
        self.out = nn.Linear(3 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.conv(F.pad(x, (2, 0))))
        return self.out(y.flatten(1, 2).transpose(1, 2))  # type: ignore[no-any-return]


def test_another_axis_and_another_dim_of_the_output() -> None:
    net = Spectral().double().eval()
    stream = eyeshot.stream(net, (1, 1, 4, 50), time=3)
    assert (stream.plan.time, stream.plan.dim, stream.plan.context) == (3, 1, 2)
    x = noise(2, 1, 4, 20, dtype="float64")
    outs = pieces(stream, x, 3, [1, 4, 15])
    np.testing.assert_allclose(np.concatenate(outs, 1), whole(net, x), rtol=1e-10)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.conv = nn.Embedding(9, 4), nn.Conv1d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(self.table(x).transpose(1, 2), (2, 0))).argmax(1)  # type: ignore[no-any-return]


def test_tokens_in_and_out() -> None:
    net = Tokens().eval()
    stream = eyeshot.stream(net, (1, 30))
    x = np.random.default_rng(0).integers(0, 9, (2, 25))
    outs = pieces(stream, x, 1, [4, 0, 21])
    assert all(out.dtype == np.int64 for out in outs)
    np.testing.assert_array_equal(np.concatenate(outs, 1), whole(net, x))


def _onnx(weights: Array) -> Any:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> net (float[N, 2, time] x, float[3, 2, 4] w) '
        "=> (float[N, 3, t] y) { y = Conv<strides = [2], pads = [2, 1]>(x, w) }"
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    return model


def test_an_onnx_model() -> None:
    weights = noise(3, 2, 4)
    stream = eyeshot.stream(_onnx(weights))
    stream.push(noise(1, 2, 0))
    assert (stream.plan.hop, stream.plan.context, stream.plan.lookahead) == (2, 2, 0)
    for n in (30, 31):
        x = noise(2, 2, n)
        want = F.conv1d(F.pad(torch.from_numpy(x), (2, 1)), torch.from_numpy(weights), stride=2)
        stream.reset()
        out = np.concatenate(pieces(stream, x, -1, [7, 2, n - 9]), -1)
        np.testing.assert_allclose(out, want.numpy(), rtol=1e-5, atol=1e-5)


def test_a_reference_with_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    net = signal_nets.wavenet().eval()
    file = tmp_path / "weights.safetensors"
    save_file(net.state_dict(), file)
    stream = eyeshot.stream(
        "tests.streaming.signal_nets:wavenet", (1, 1, 100), weights=str(file), dtype="float64"
    )
    x = noise(1, 1, 90, dtype="float64")
    outs = pieces(stream, x, -1, [40, 50])
    np.testing.assert_allclose(np.concatenate(outs, -1), whole(net.double(), x), rtol=1e-10)


class Placed(nn.Module):
    """Adds a constant that goes by the position, which a graph does not tell from any other."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.linspace(0, 1, 4096))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[-1]]


def test_a_table_of_positions_is_found_by_a_trial() -> None:
    with pytest.raises(NotTileable, match="goes by the position"):
        eyeshot.stream(Placed(), (1, 1, 64))
    eyeshot.stream(Placed(), (1, 1, 64), check=False)


class By(nn.Module):
    """Scales by a function of the position and the length."""

    def __init__(self, law: Callable[[Tensor, int], Tensor]) -> None:
        super().__init__()
        self.law = law

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[-1]
        return x * self.law(torch.arange(n), n).to(x.dtype)


@pytest.mark.parametrize(
    "law",
    [
        lambda at, n: 1 - 2 * (at % 2),
        lambda at, n: torch.cos(2 * torch.pi * at / 512),
        lambda at, n: ((n - at) / 20).clamp(max=1),
        lambda at, n: at < n - 1,
        lambda at, n: torch.full((n,), 1 + n % 2),
        lambda at, n: (at / 20).clamp(max=1),
    ],
    ids=["signs", "cosine", "fade-out", "last", "parity", "fade-in"],
)
@pytest.mark.parametrize("stride", [1, 3])
def test_so_is_what_repeats_or_goes_by_the_end(
    law: Callable[[Tensor, int], Tensor], stride: int
) -> None:
    with pytest.raises(NotTileable, match="goes by the position"):
        eyeshot.stream(nn.Sequential(By(law), nn.Conv1d(1, 1, 3, stride)), (1, 1, 64))


def test_what_can_not_be_streamed() -> None:
    with pytest.raises(EyeshotError, match="first dim is time"):
        eyeshot.stream(nn.Sequential(nn.Conv1d(1, 1, 3), nn.Flatten(0, 2)), (1, 1, 64))
    with pytest.raises(NotTileable, match="norm"):
        eyeshot.stream(nn.Sequential(nn.Conv1d(1, 4, 3), nn.InstanceNorm1d(4)), (1, 1, 64))
