import copy

import pytest
import torch

from classification.training.schedules import (
    cosine_decay,
    linear_decay,
    load_optimizer,
    make_sgd,
    one_cycle,
    set_learning_rate,
    step_decay,
)


def test_step_decay_divides_by_ten_at_the_milestones():
    rate = step_decay(300, (0.5, 0.75))
    assert [rate(e) for e in (0, 149, 150, 224.9, 225, 299)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_cosine_decay_follows_torch(recwarn):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    rate = cosine_decay(10)
    for epoch in range(10):
        assert rate(epoch + 0.9) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_linear_decay_is_that_of_the_published_imagenet_training():
    """By hand, E = 250: the line falls by 1/245 an epoch, in the last five by a fifth of that."""
    rate = linear_decay(250, warmup_epochs=5)
    assert [rate(e) for e in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    line = [n / 245 for n in range(240, 0, -1)]  # epochs 5 to 244
    last = [n / 1225 for n in (5, 4, 3, 2, 1)]
    assert [rate(e) for e in range(5, 250)] == pytest.approx(line + last)


@pytest.mark.parametrize(
    ("epochs", "warmup", "rates"),
    [
        (10, 0, [1, 0.8, 0.6, 0.4, 0.2, 0.2, 0.16, 0.12, 0.08, 0.04]),
        (10, 2, [0.5, 1, 0.6, 0.4, 0.2, 0.2, 0.16, 0.12, 0.08, 0.04]),
        (6, 5, [0.2, 0.4, 0.6, 0.8, 1, 0.2]),
        (6, 0, [1, 1, 0.8, 0.6, 0.4, 0.2]),
        (5, 0, [1, 0.8, 0.6, 0.4, 0.2]),
        (2, 1, [1, 0.5]),
        (1, 0, [1]),
    ],
)
def test_linear_decay_of_few_epochs_stays_between_0_and_1(epochs, warmup, rates):
    rate = linear_decay(epochs, warmup)
    assert [rate(e) for e in range(epochs)] == pytest.approx(rates)


def test_one_cycle_rises_and_falls():
    rate = one_cycle(10, peak=0.3)
    assert [rate(t) for t in (0, 1.5, 3, 6.5, 10)] == pytest.approx([0, 0.5, 1, 0.5, 0])


def weight():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 3, 3, 3, generator=generator)
    return torch.nn.Parameter(values.contiguous(memory_format=torch.channels_last))


def test_sgd_follows_torchs_own_step_by_step():
    ours, theirs = weight(), weight()
    optimizer = make_sgd([ours], 0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    reference = torch.optim.SGD([theirs], 0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    for rate in (0.1, 0.03, 0.003):
        set_learning_rate(optimizer, rate)
        set_learning_rate(reference, rate)
        for parameter, method in ((ours, optimizer), (theirs, reference)):
            parameter.grad = parameter.detach().sin()
            method.step()
    torch.testing.assert_close(ours, theirs)


def test_the_learning_rate_keeps_its_place_in_memory():
    optimizer = make_sgd([weight()], 0.1, momentum=0.0, weight_decay=0.0)
    (group,) = optimizer.param_groups
    place = group["lr"].data_ptr()
    set_learning_rate(optimizer, 0.5)
    assert group["lr"].data_ptr() == place
    assert group["lr"].item() == 0.5


def test_a_loaded_momentum_lies_in_memory_as_its_weight_does():
    """Else a fused update, which goes by address, would mix up the entries."""
    first, second = weight(), weight()
    optimizer = make_sgd([first], 0.1, momentum=0.9, weight_decay=0.0)
    first.grad = first.detach().sin()
    optimizer.step()
    second.data.copy_(first.data)
    state = copy.deepcopy(optimizer.state_dict())
    state["state"][0]["momentum_buffer"] = state["state"][0]["momentum_buffer"].contiguous()
    resumed = make_sgd([second], 0.1, momentum=0.9, weight_decay=0.0)
    load_optimizer(resumed, state)
    for parameter, method in ((first, optimizer), (second, resumed)):
        parameter.grad = parameter.detach().cos()
        method.step()
    assert torch.equal(first, second)
