"""Recurrent networks: each step reads the steps before it."""

import pytest
import torch
from torch import nn
from torch.nn.utils import rnn

import eyeshot
from tests.frontends.agree import assert_agrees

KINDS = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": lambda *a, **k: nn.RNN(*a, **k, nonlinearity="relu"),
}
OPTIONS = {
    "plain": {},
    "batch_first": {"batch_first": True},
    "two-layers": {"num_layers": 2},
    "both-ways": {"bidirectional": True},
    "deep-both-ways": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "no-bias": {"bias": False},
}


class Whole(nn.Module):
    """A recurrent network of which one output is taken, fed by states where there are any."""

    def __init__(self, net, pick):
        super().__init__()
        self.net, self.pick = net, pick

    def forward(self, x, *states):
        hx = states if len(states) == 2 else states[0] if states else None
        out, last = self.net(x, hx)
        # Sigmoids saturate and ReLUs die; what is compared is the arithmetic.
        return out if self.pick == 0 else last[self.pick - 1] if isinstance(last, tuple) else last


def made(kind, pick=0, **options):
    torch.manual_seed(1)
    net = KINDS[kind](4, 3, **options)
    with torch.no_grad():
        for p in net.parameters():
            p.abs_()  # no unit of the ReLU network is dead
    return Whole(net, pick)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_networks(kind, options):
    for pick in (0, 1):
        assert_agrees(made(kind, pick, **options), (2, 5, 4), axes=(0, 1, 2))


def test_an_lstms_cells_and_projection():
    for pick in (0, 1, 2):
        assert_agrees(made("lstm", pick, bidirectional=True), (5, 2, 4), axes=(0, 1, 2))
        assert_agrees(made("lstm", pick, proj_size=2, num_layers=2), (5, 2, 4), axes=(0, 1, 2))


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("pick", [0, 1, 2])
def test_first_states_are_read(steps, pick):
    shapes = ((steps, 2, 4), (2, 2, 3), (2, 2, 3))
    axes = {"x": (0, 1, 2), "input1": (0, 1, 2), "input2": (0, 1, 2)}
    for options in ({"num_layers": 2}, {"bidirectional": True}):
        assert_agrees(made("lstm", pick, **options), *shapes, axes=axes)
        if pick < 2:
            assert_agrees(
                made("gru", pick, **options),
                *shapes[:2],
                axes={k: axes[k] for k in ("x", "input1")},
            )
    shapes = ((steps, 2, 4), (2, 2, 2), (2, 2, 3))
    assert_agrees(made("lstm", pick, num_layers=2, proj_size=2), *shapes, axes=axes)


def test_an_unbatched_sequence():
    assert_agrees(made("gru"), (5, 4), axes=(0, 1))


LENGTHS = torch.tensor([5, 3, 3, 1])


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_packed_sequences(kind, both, first):
    net = made(kind, num_layers=2, bidirectional=both, batch_first=first).net
    shape = (4, 5, 4) if first else (5, 4, 4)

    class Packed(nn.Module):
        def __init__(self, last):
            super().__init__()
            self.net, self.last = net, last

        def forward(self, x):
            out, h = self.net(rnn.pack_padded_sequence(x, LENGTHS, batch_first=first))
            if self.last:
                return h[0] if isinstance(h, tuple) else h
            return rnn.pad_packed_sequence(out, batch_first=first)[0]

    assert_agrees(Packed(False), shape, axes=(0, 1, 2))
    assert_agrees(Packed(True), shape, axes=(0, 1, 2))


@pytest.mark.parametrize("lengths", [LENGTHS, torch.tensor([5, 5, 5, 5])])
def test_packing_alone(lengths):
    assert_agrees(lambda x: rnn.pack_padded_sequence(x, lengths).data, (5, 4, 3), axes=(0, 1, 2))


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells(cell):
    torch.manual_seed(0)
    net = cell(4, 3)

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            state, out = None, []
            for step in x.unbind(1):
                state = self.net(step, state)
                out.append(state[0] if isinstance(state, tuple) else state)
            return torch.stack(out, 1)

    assert_agrees(Loop(), (2, 4, 4), axes=(0, 1, 2))


def test_weights_that_the_input_makes():
    def f(x):
        w = [x[0, :3].repeat(4, 1), x[1, :3, :3].repeat(4, 1)]
        return torch.lstm(
            x[:2], [torch.zeros(1, 3, 3, dtype=x.dtype)] * 2, w, False, 1, 0.0, False, False, False
        )

    report = assert_agrees(f, (2, 3, 3), axes=(0, 1, 2), status="bound")
    assert {d.code for d in report.diagnostics} == {"data-dependent"}


def test_a_closed_form_without_a_size():
    report = eyeshot.analyze(nn.LSTM(4, 3, batch_first=True), input=(1, 4096, 4), axes=1)
    (field,) = report.outputs[0].fields
    assert (field.canvas.period, field.canvas.advance, field.canvas.end) == (1, 1, (1,))
    assert {layer.op for layer in report} == {"lstm"}
    assert field.size == float("inf")  # the whole past


def test_a_wrong_size_raises_pytorchs_error():
    with pytest.raises(eyeshot.EyeshotError, match=r"RuntimeError.*4, got 5"):
        eyeshot.analyze(nn.LSTM(4, 3), args=(torch.zeros(2, 3, 5),), axes=0)
