"""Reuse an LSTM on new input: is its hidden state reset? Here it is what you pass that decides.

Run with ``python examples/is_the_state_reset.py``.
"""

import torch

import statewise as sw

model = sw.nn.Model(sw.Architecture(sw.Vector(1), [sw.LSTM(16)], sw.Linear(1)), seed=0).eval()
past, new = torch.randn(1, 50, 1), torch.randn(1, 5, 1)

_, memory = model(past)
forgotten, _ = model(new)  # no state: it starts anew
carried, _ = model(new, memory)  # the state: it goes on
whole, _ = model(torch.cat([past, new], dim=1))

print("carried equals reading past and new in one go:", torch.allclose(carried, whole[:, 50:]))
print("forgotten equals it too:                      ", torch.allclose(forgotten, whole[:, 50:]))

flag = torch.zeros(1, 5, dtype=torch.bool)
flag[0, 2] = True  # forget before step 2
part, after = model(new, memory, reset=flag)
print("reset in the middle equals a fresh start there:",
      torch.allclose(part[:, 2:], model(new[:, 2:])[0]))  # fmt: skip
print("steps since the last reset:", after.position.tolist())

again, _ = model(new, memory)  # the state that was passed is as it was
print("the same past twice gives the same future:", torch.equal(carried, again))
