"""Fact 16: what a cell draws per sequence stays along it, and a reset draws anew."""

import pytest
import torch

import statewise as sw

from .facts import same_state


def dropped(rate=0.5, features=64):
    """Dropout alone on ones: the outputs are the mask."""
    arch = sw.Architecture(sw.Vector(features), [sw.Dropout(rate)])
    return sw.nn.Model(arch).train(), torch.ones(3, 6, features)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_one_mask_along_a_sequence_and_its_chunks():
    model, x = dropped()
    y, state = model(x)
    more, state = model(x, state)
    one, _ = model.step(x[:, 0], state)
    assert (y == y[:, :1]).all()
    assert torch.equal(more, y)
    assert torch.equal(one, y[:, 0])
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert (y[0, 0] != y[1, 0]).any()


def test_another_mask_after_a_reset():
    model, x = dropped()
    reset = torch.zeros(3, 6, dtype=torch.bool)
    reset[0, 2] = reset[1, 2] = reset[1, 4] = True
    y, state = model(x)
    z, _ = model(x, state, reset=reset)
    assert torch.equal(z[2], y[2])
    assert torch.equal(z[0, :2], y[0, :2])
    assert (z[0, 2:] == z[0, 2]).all()
    assert (z[0, 2] != y[0, 0]).any()
    assert (z[1, 2] != z[1, 4]).any()


def test_another_mask_after_a_reset_to_a_given_initial_state():
    model, x = dropped()
    given = model.eval().initial_state(1)
    reset = torch.zeros(3, 6, dtype=torch.bool)
    reset[:, 3] = True
    y, _ = model.train()(x, reset=reset, initial=given)
    assert (y[:, 0] != y[:, 3]).any()
    drawn = model.initial_state(1)  # a state that has its noise is returned to as it is
    y, _ = model(x, reset=reset, initial=drawn)
    assert torch.equal(y[:, 0], y[:, 3])


def test_going_on_outside_training_drops_nothing():
    model, x = dropped()
    _, state = model(x)
    y, after = model.eval()(x, state)
    assert (y == 1).all()
    same_state(after.replace({}, position=state.position), state)


def test_going_on_in_training_from_evaluation_draws_a_mask():
    model, x = dropped()
    _, state = model.eval()(x)
    assert not state["0.noise"].any()
    y, after = model.train()(x, state)
    assert (y == y[:, :1]).all()
    assert (y == 0).any()
    assert after["0.noise"].all()
    again, _ = model(x, after)
    assert torch.equal(again, y)


def test_the_rate_is_the_share_of_units_dropped():
    for rate in (0.0, 0.1, 0.7):
        model, x = dropped(rate, 20_000)
        y, _ = model(x[:, :1])
        assert abs((y == 0).float().mean() - rate) < 0.01
        assert abs(y.mean() - 1) < 0.02


def test_the_seed_of_torch_decides_the_noise():
    model, x = dropped()
    torch.manual_seed(5)
    y, _ = model(x)
    torch.manual_seed(5)
    z, _ = model(x)
    assert torch.equal(y, z)


ZONEOUTS = {
    "lstm": sw.Zoneout(sw.LSTM(5, projection=3), 0.4),
    "gru": sw.Zoneout(sw.GRU(5, learned_state=True), 0.4),
    "around": sw.Bidirectional(sw.Zoneout(sw.GRU(3), 0.4)),
    "residual": sw.Residual(sw.Zoneout(sw.GRU(2), 0.4)),
}


@pytest.mark.parametrize("executor", ["reference", "fused"])
@pytest.mark.parametrize("name", ["lstm", "gru", "residual"])
def test_zoneout_in_chunks_draws_what_the_whole_draws(name, executor):
    model = sw.nn.Model(
        sw.Architecture(sw.Vector(2), [ZONEOUTS[name]]), executor=executor, dtype=torch.float64
    )
    x, start = torch.randn(3, 9, 2, dtype=torch.float64), model.initial_state(3)
    lengths = torch.tensor([9, 4, 7])
    y, end = model(x, start, lengths=lengths)
    first, state = model(x[:, :4], start, lengths=lengths.clamp(max=4))
    second, state = model(x[:, 4:], state, lengths=(lengths - 4).clamp(min=0))
    assert torch.allclose(torch.cat([first, second], dim=1), y, atol=1e-12)
    assert state.allclose(end, atol=1e-12)
    for t in range(4):
        one, start = model.step(x[:, t], start)
        assert torch.allclose(one, y[:, t], atol=1e-12)


def test_zoneout_keeps_single_units_at_its_rate():
    model = sw.nn.Model(sw.Architecture(sw.Vector(2), [sw.Zoneout(sw.Elman(200), 0.3)])).train()
    _, _, seen = model.trace(torch.randn(10, 20, 2))
    kept = (seen["0.h"][:, 1:] == seen["0.h"][:, :-1]).float().mean()
    assert abs(kept - 0.3) < 0.01
    changes = (seen["0.h"][:, 1:] == seen["0.h"][:, :-1]).float()
    assert abs((changes[:, 1:] * changes[:, :-1]).mean() - 0.09) < 0.01, "steps are independent"


def test_zoneout_outside_training_mixes():
    inner, rate = sw.Elman(4), 0.3
    arch = sw.Architecture(sw.Vector(2), [sw.Zoneout(inner, rate)])
    model = sw.nn.Model(arch).eval()
    plain = sw.nn.Model(sw.Architecture(sw.Vector(2), [inner])).eval()
    plain.load_weights(model.weights())
    x = torch.randn(3, 2)
    h = torch.randn(3, 4)
    state = model.initial_state(3)
    y, after = model.step(x, state.replace({"0.h": h}))
    fresh, _ = plain.step(x, sw.State({"0.h": h}))
    assert torch.allclose(y, rate * h + (1 - rate) * fresh)
    assert not after["0.noise"].any()


def test_zoneout_mixed_in_training_mixes_too():
    arch = sw.Architecture(sw.Vector(2), [sw.Zoneout(sw.GRU(4), 0.3, mixed=True)])
    model, x = sw.nn.Model(arch), torch.randn(2, 5, 2)
    start = model.eval().initial_state(2)
    y, _ = model(x, start)
    z, _ = model.train()(x, start)
    assert torch.equal(y, z)


def test_training_noise_never_shows_outside_training():
    for cell in ZONEOUTS.values():
        model, x = sw.nn.Model(sw.Architecture(sw.Vector(2), [cell])), torch.randn(2, 5, 2)
        drawn = model.train().initial_state(2)
        plain = model.eval().initial_state(2)
        assert torch.equal(model(x, drawn)[0], model(x, plain)[0])


def test_the_noise_of_zoneout_runs_through_all_values():
    from statewise.cells.zoneout import _next

    noise = torch.tensor([1, 2**31, 2**32 - 1, 12345])
    seen = set()
    for _ in range(5000):
        noise = _next(noise)
        assert ((noise > 0) & (noise < 2**32)).all(), "never zero, never past 32 bits"
        seen.update(noise.tolist())
    assert len(seen) == 20_000
    assert not _next(torch.zeros(1, dtype=torch.int64)).any()
