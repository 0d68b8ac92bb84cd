import pytest

from classification.schedules import cosine_decay, linear_decay, one_cycle, step_decay


def test_step_decay_divides_by_ten_at_the_milestones():
    rate = step_decay(300, (0.5, 0.75))
    assert [rate(e) for e in (0, 149, 150, 224.9, 225, 299)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_cosine_decay_follows_torch(recwarn):
    import torch

    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    rate = cosine_decay(10)
    for epoch in range(10):
        assert rate(epoch + 0.9) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_linear_decay_warms_up_then_falls_to_zero():
    rate = linear_decay(250, warmup_epochs=5)
    assert [rate(e) for e in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rate(5) == 1
    assert rate(249) == pytest.approx(1 / 245)


def test_one_cycle_rises_and_falls():
    rate = one_cycle(10, peak=0.3)
    assert [rate(t) for t in (0, 1.5, 3, 6.5, 10)] == pytest.approx([0, 0.5, 1, 0.5, 0])
