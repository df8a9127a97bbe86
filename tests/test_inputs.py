"""Inputs of other kinds are refused with what to write instead."""

import numpy as np
import pandas as pd
import pytest
import torch

import statewise as sw

ARCHITECTURE = sw.Architecture(sw.Vector(2), [sw.LSTM(3)])
TORCH = sw.nn.Model(ARCHITECTURE)
NUMPY = sw.runtime.Model(
    ARCHITECTURE, {name: a.astype("float32") for name, a in ARCHITECTURE.draw(0).items()}
)
ROWS = [torch.ones(3, 2), torch.ones(5, 2)]
PACKED = torch.nn.utils.rnn.pack_sequence(ROWS, enforce_sorted=False)
NESTED = torch.nested.nested_tensor(ROWS, layout=torch.jagged)

FOREIGN = {
    "a PackedSequence; pad it: x, n = torch.nn.utils.rnn.pad_packed_sequence": PACKED,
    "a nested tensor; pad it: n = ": NESTED,
    "got list; write ": [[[1.0, 2.0]]],
    "got tuple; write ": (1.0, 2.0),
    "a text; a statewise.text.TextModel reads texts": "abc",
    "DataFrame; write ": pd.DataFrame({"a": [1.0], "b": [2.0]}),
    "got None": None,
    "got dict; write": {"x": 1},
}


@pytest.mark.parametrize("call", [lambda m, x: m(x), lambda m, x: m.step(x)])
@pytest.mark.parametrize("model", [TORCH, NUMPY])
@pytest.mark.parametrize("message", FOREIGN)
def test_foreign_types_are_refused_with_what_to_write(message, model, call):
    with pytest.raises(sw.InputError) as caught:
        call(model, FOREIGN[message])
    assert message in str(caught.value)
    assert str(caught.value).startswith("model")


def test_what_a_message_says_to_write_works():
    x, n = torch.nn.utils.rnn.pad_packed_sequence(PACKED, batch_first=True)
    y, _ = TORCH(x, lengths=n)
    n = [len(row) for row in NESTED.unbind()]
    z, _ = TORCH(NESTED.to_padded_tensor(0), lengths=n)
    assert torch.equal(y, z)
    with pytest.raises(sw.InputError, match=r"write torch\.as_tensor\(np\.asarray\(x\), dtype=to"):
        TORCH(pd.DataFrame({"a": [1.0], "b": [2.0]}))
    with pytest.raises(sw.InputError, match=r"write np\.asarray\(x\.numpy\(force=True\), dtype=np"):
        NUMPY(x)
    with pytest.raises(sw.InputError, match=r"write torch\.as_tensor\(x, dtype=torch\.float32\)"):
        TORCH(np.zeros((1, 1, 2)))


def test_tokens_are_whole_numbers():
    model = sw.nn.Model(sw.Architecture(sw.Tokens(5, 2), [sw.LSTM(3)]))
    with pytest.raises(sw.InputError, match=r"write torch\.as_tensor\(x, dtype=torch\.int64\)"):
        model([[1, 2]])
    with pytest.raises(sw.InputError, match=r"tokens must lie in \[0, 5\), got 1 to 7"):
        model(torch.tensor([[1, 7]]))
