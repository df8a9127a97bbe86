"""Models broken on purpose, each with the one fact that gives it away; and healthy ones."""

import torch
from torch import nn

import statewise as sw


class Net(nn.Module):
    """A healthy module around an LSTM: outputs and state."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = nn.LSTM(3, 5, batch_first=True)
        self.out = nn.Linear(5, 2)

    def forward(self, x, state=None):
        y, state = self.rnn(x, state)
        return self.out(y), state


class Masked(Net):
    """Healthy: freezes the state where the mask is False."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRUCell(3, 5)

    def forward(self, x, state=None, mask=None):
        h = x.new_zeros(len(x), 5) if state is None else state
        ys = []
        for t in range(x.shape[1]):
            new = self.rnn(x[:, t], h)
            h = new if mask is None else self.blend(mask[:, t, None], new, h)
            ys.append(h)
        return self.out(torch.stack(ys, 1)), h

    def blend(self, mask, new, old):
        return torch.where(mask, new, old)


class MultipliesByTheMask(Masked):
    def blend(self, mask, new, old):
        return mask * new + ~mask * old


class IgnoresTheMask(Masked):
    def blend(self, mask, new, old):
        return new


class MixesRows(Net):
    def forward(self, x, state=None):
        return super().forward(x - x.mean(0, keepdim=True), state)


class DependsOnBatchSize(Net):
    def forward(self, x, state=None):
        return super().forward(x / len(x), state)


class FavoursTheFirstRow(Net):
    def forward(self, x, state=None):
        return super().forward(x * torch.linspace(1, 2, 4)[: len(x), None, None], state)


class ChangesItsState(Net):
    def forward(self, x, state=None):
        y, new = super().forward(x, state)
        if state is not None:
            state[0].copy_(new[0])
        return y, new


class IgnoresItsState(Net):
    def forward(self, x, state=None):
        return super().forward(x)


class DropsTheCell(Net):
    """Passes on h, and begins every chunk with c of zeros."""

    def forward(self, x, state=None):
        return super().forward(x, None if state is None else (state[0], torch.zeros_like(state[1])))


class Detaches(Net):
    def forward(self, x, state=None):
        y, state = super().forward(x, state)
        return y, tuple(part.detach() for part in state)


class DoublesTheGradient(Net):
    """Right outputs, wrong gradient across the boundary."""

    def forward(self, x, state=None):
        if state is not None:
            state = tuple(2 * part - part.detach() for part in state)
        return super().forward(x, state)


class Draws(Net):
    def forward(self, x, state=None):
        return super().forward(nn.functional.dropout(x, 0.5, training=True), state)


class CarriesSilently(Net):
    """Holds its state in itself, detached, and says nothing of it."""

    held = None

    def forward(self, x):
        y, state = super().forward(x, self.held)
        self.keep(state)
        return y

    def keep(self, state):
        self.held = tuple(part.detach() for part in state)


class Stateful(CarriesSilently):
    """Healthy, and stateful: holds its state, and forgets when told to."""

    def reset_state(self):
        self.held = None


class KeepsTheGraph(Stateful):
    def keep(self, state):
        self.held = state


class ForgetsInPredict(Stateful):
    def predict(self, x):
        self.reset_state()
        return self(x)


class ResetsElsewhere(Stateful):
    def reset_state(self):
        self.held = tuple(torch.ones_like(part) for part in self.held)


class CarriesInTraining(Stateful):
    def keep(self, state):
        if self.training:
            super().keep(state)


class HoldsOneRow(Net):
    """Goes on from the mean state of all rows."""

    def forward(self, x, state=None):
        if state is not None:
            state = tuple(part.mean(1, keepdim=True).expand_as(part).contiguous() for part in state)
        return super().forward(x, state)


class StartsEachStepTwice(Net):
    """Wrong where it is stepped: a single step is read twice."""

    def forward(self, x, state=None):
        if x.shape[1] == 1:
            _, state = super().forward(x, state)
        return super().forward(x, state)


class Raises(Stateful):
    def reset_state(self):
        raise RuntimeError("no reset today")


BROKEN = {
    MultipliesByTheMask: ("nan.mask", "leaks"),
    IgnoresTheMask: ("padding.mask", "leaks"),
    MixesRows: ("rows", "leaks"),
    DependsOnBatchSize: ("size", "matters"),
    FavoursTheFirstRow: ("order", "matters"),
    ChangesItsState: ("input", "changed"),
    IgnoresItsState: ("used", "ignored"),
    DropsTheCell: ("chunks", "differs"),
    HoldsOneRow: ("chunks", "differs"),
    StartsEachStepTwice: ("steps", "differs"),
    Detaches: ("gradient", "lost"),
    DoublesTheGradient: ("gradient", "differs"),
    Draws: ("repeat", "differs"),
    CarriesSilently: ("reset", "none"),
    KeepsTheGraph: ("gradient", "kept"),
    ForgetsInPredict: ("ways", "differ"),
    ResetsElsewhere: ("reset", "elsewhere"),
    CarriesInTraining: ("ways", "differ"),
    Raises: ("reset", "raises"),
}

HEALTHY = {
    "module": Net,
    "masked": Masked,
    "stateful": Stateful,
    "lstm": lambda: nn.LSTM(3, 4, 2),
    "gru": lambda: nn.GRU(3, 4, batch_first=True),
    "rnn": lambda: nn.RNN(3, 4),
    "lstm cell": lambda: nn.LSTMCell(3, 4),
    "projected": lambda: nn.LSTM(3, 4, proj_size=2),
    "statewise": lambda: sw.nn.Model(
        sw.Architecture(sw.Vector(2), [sw.LSTM(4), sw.Residual(sw.GRU(4))], sw.Linear(1))
    ),
    "tokens": lambda: sw.nn.Model(
        sw.Architecture(sw.Tokens(9, width=3), [sw.Elman(4)], sw.Linear(2))
    ),
    "runtime": lambda: sw.runtime.Model(PLAIN, PLAIN.draw(0)),
}
PLAIN = sw.Architecture(sw.Vector(2), [sw.LSTM(4)], sw.Linear(1))
