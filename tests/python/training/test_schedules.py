"""OneCycle against PyTorch's scheduler, and schedules in training."""

import numpy as np
import pytest

import fastconv
from fastconv import layers
from fastconv.optimizers.schedules import CosineDecay, OneCycle

CASES = [
    {},
    {"pct_start": 0.25},
    {"anneal_strategy": "linear"},
    {"three_phase": True},
    {"three_phase": True, "pct_start": 0.5, "anneal_strategy": "linear"},
    {"div_factor": 4.0, "final_div_factor": 10.0},
]


@pytest.mark.parametrize("arguments", CASES, ids=str)
@pytest.mark.parametrize("steps", [10, 37])
def test_one_cycle_matches_pytorch(arguments, steps):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed, nothing to compare with")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=steps, **arguments)
    schedule = OneCycle(0.3, steps, **arguments)
    for step in range(steps):
        assert schedule(step) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9), step
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    assert schedule(steps + 5) == schedule(steps - 1)  # it stays there
    again = OneCycle.from_config(schedule.get_config())
    assert [again(i) for i in range(steps)] == [schedule(i) for i in range(steps)]


def test_ends():
    schedule = OneCycle(1.0, 100)
    assert schedule(0) == pytest.approx(1 / 25)
    assert schedule(29) == pytest.approx(1.0)
    assert schedule(99) == pytest.approx(1 / 25 / 1e4)
    assert OneCycle(1.0, 10, pct_start=0.0)(0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"total_steps": 0}, "`total_steps` must be positive"),
        ({"total_steps": 5, "pct_start": 1.5}, r"`pct_start` must be in \[0, 1\]"),
        (
            {"total_steps": 5, "pct_start": 0.6, "three_phase": True},
            r"`pct_start` must be in \[0, 0.5\]",
        ),
        ({"total_steps": 5, "anneal_strategy": "sin"}, "'cos' or 'linear'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        OneCycle(0.1, **arguments)


@pytest.mark.parametrize(
    "schedule",
    [OneCycle(0.1, 12), CosineDecay(0.0, 12, warmup_target=0.1, warmup_steps=4)],
    ids=lambda s: s.name,
)
def test_it_drives_an_optimizer_and_survives_saving(tmp_path, schedule):
    model = fastconv.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.compile(fastconv.optimizers.SGD(schedule), "mse")
    x = np.ones((6, 3), "float32")
    model.fit(x, x[:, :2], batch_size=2, epochs=2, verbose=0)
    assert float(model.optimizer.learning_rate) == schedule(6)
    model.save(tmp_path / "m.fastconv")
    loaded = fastconv.models.load_model(tmp_path / "m.fastconv")
    assert float(loaded.optimizer.learning_rate) == schedule(6)
