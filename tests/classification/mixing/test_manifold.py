import pytest
import torch
import torch.nn.functional as F
from torch import nn

from classification.mixing import ManifoldMixup
from classification.models import build_classifier


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Chain(nn.Module):
    """Two stages that pass maps on, so that what comes out shows where they were mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Identity(), nn.Identity()
        self.seen: list[torch.Tensor] = []

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        entering = maps
        after_first = self.first(maps)
        after_second = self.second(after_first)
        self.seen = [entering, after_first, after_second]
        return after_second


def one_hot_batch(size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(size)
    return F.one_hot(labels).float().view(size, size, 1, 1), labels


def test_maps_are_mixed_at_one_depth_and_as_the_targets_state():
    model, (images, labels) = Chain(), one_hot_batch()
    mixer = ManifoldMixup([model.first, model.second], num_classes=6)
    depths = set()
    for seed in range(40):
        inputs, targets = mixer(images, labels, generator(seed))
        output = model(inputs)
        torch.testing.assert_close(output.flatten(1), targets)
        mixed = [not torch.equal(maps, images) for maps in model.seen]
        assert mixed == sorted(mixed)  # from its depth on
        depths.add(mixed.index(True))
    assert depths == {0, 1, 2}


def test_each_depth_is_drawn_as_often():
    model, (images, labels) = Chain(), one_hot_batch(12)
    mixer = ManifoldMixup([model.first, model.second], num_classes=12)
    counts = [0, 0, 0]
    random = generator()
    for _ in range(600):
        model(mixer(images, labels, random)[0])
        counts[[torch.equal(maps, images) for maps in model.seen].count(True)] += 1
    assert all(abs(count - 200) < 50 for count in counts)


def test_hooks_serve_one_training_pass_and_no_evaluation():
    model, (images, labels) = Chain(), one_hot_batch()
    mixer = ManifoldMixup([model.first, model.second], num_classes=6)
    for seed in range(5):
        mixer(images, labels, generator(seed))  # a batch that no model sees
    model.eval()
    assert torch.equal(model(images), images)
    model.train()
    model(images)
    assert not model.first._forward_pre_hooks
    assert not model.second._forward_pre_hooks
    assert torch.equal(model(images), images)


def test_prob_zero_changes_nothing_at_any_depth():
    model, (images, labels) = Chain(), one_hot_batch()
    mixer = ManifoldMixup([model.first, model.second], prob=0, num_classes=6)
    for seed in range(5):
        inputs, targets = mixer(images, labels, generator(seed))
        assert torch.equal(model(inputs), images)
        assert torch.equal(targets, images.flatten(1))


def test_gradients_flow_through_the_hooks_to_both_images():
    model, (images, labels) = Chain(), one_hot_batch()
    images.requires_grad_()
    mixer = ManifoldMixup([model.first, model.second], num_classes=6)
    model(mixer(images, labels, generator())[0]).sum().backward()
    torch.testing.assert_close(images.grad.sum(), torch.tensor(36.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_maps_keep_their_type(dtype):
    model, (images, labels) = Chain(), one_hot_batch()
    inputs, targets = ManifoldMixup([model.first], num_classes=6)(
        images.to(dtype), labels, generator()
    )
    output = model(inputs)
    assert output.dtype == dtype
    torch.testing.assert_close(output.float().flatten(1), targets, atol=0.01, rtol=0)


def test_it_drives_a_network_of_this_house():
    model = build_classifier("resnet8", 5)
    images, labels = torch.randn(4, 3, 9, 7), torch.tensor([0, 1, 2, 4])
    mixer = ManifoldMixup([model.layer2, model.layer3], num_classes=5)
    first, again = (model(mixer(images, labels, generator(seed))[0]) for seed in (3, 3))
    torch.testing.assert_close(first, again)
