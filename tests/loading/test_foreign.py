"""What is no model gets an error that teaches, wherever a model is taken."""

import io
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import statewise as sw
from statewise import check
from statewise.interop import from_torch

LSTM = torch.nn.LSTM(2, 3)


class Wrapper:
    def __init__(self):
        self.model = LSTM


FOREIGN = [
    (None, "let it return the model"),
    (torch.nn.LSTM, r"the class LSTM; pass an object of it: LSTM\(\.\.\.\)"),
    ("model.keras", "load the model first"),
    (pickle.dumps(3), "a pickle can run code"),
    (io.BytesIO(b"x"), "a pickle can run code"),
    (pack_padded_sequence(torch.zeros(3, 2, 1), torch.tensor([3, 1])), r"data \(PackedSequence\)"),
    (torch.zeros(2, 3), r"data \(Tensor\)"),
    (np.zeros(3), r"data \(ndarray\)"),
    (pd.DataFrame({"y": [1]}), r"data \(DataFrame\)"),
    (torch.utils.data.TensorDataset(torch.zeros(3)), r"a data set \(TensorDataset\)"),
    (torch.utils.data.DataLoader([1]), r"a data set \(DataLoader\)"),
    (LSTM.state_dict(), "load_state_dict"),
    ((LSTM, 3), r"a tuple \(LSTM, int\); pass the model alone"),
    ([], r"a list \(nothing in it\)"),
    (Wrapper(), "a Wrapper, which holds a model; pass its .model"),
    (sw.State({"0.h": np.zeros((1, 2))}, np.zeros(1, np.int64)), "a State; pass the model"),
    (lambda: LSTM, "pass what it returns"),
    (3, "got int"),
]


@pytest.mark.parametrize(("value", "message"), FOREIGN, ids=lambda v: type(v).__name__)
def test_the_error_says_what_came_and_what_to_pass(value, message):
    with pytest.raises(sw.InputError, match=message):
        check.run(value)
    with pytest.raises(sw.ConversionError, match=message):
        from_torch(value)
