"""What PuzzleMix and Co-Mixup, whose saliency comes from outside, hold in common."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from classification.errors import ConfigError
from classification.mixing.comixup import CoMixup
from classification.mixing.puzzlemix import PuzzleMix, enlarge
from classification.mixing.saliency import GradientSaliency

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
SIZES = pytest.mark.parametrize("size", [(32, 32), (16, 32), (9, 6), (1, 5)], ids=str)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _blotchy(images, labels):
    """Salient in some of 4×4 blocks, so that mixes of several images pay."""
    size = images.shape[2:]
    blocks = torch.rand(len(images), min(4, size[0]), min(4, size[1]), generator=_generator(5))
    return enlarge(blocks**6, tuple(size))


def _puzzlemix(saliency=_blotchy, **settings):
    return PuzzleMix(saliency, lambda images: images, num_classes=7, **settings)


def _comixup(saliency=_blotchy, **settings):
    return CoMixup(saliency, num_classes=7, **settings)


EACH = pytest.mark.parametrize("make", [_puzzlemix, _comixup], ids=["puzzlemix", "comixup"])


def _batch(size: int = 8, height: int = 32, width: int = 32):
    generator = _generator()
    images = torch.randint(1, 256, (size, 3, height, width), generator=generator).float()
    return images, torch.randint(7, (size,), generator=generator)


@EACH
def test_soft_labels_give_the_targets_of_integer_labels(make):
    images, labels = _batch()
    one_hot = nn.functional.one_hot(labels, 7).float()
    expected = make()(images, labels, _generator())
    for left, right in zip(make()(images, one_hot, _generator()), expected, strict=True):
        torch.testing.assert_close(left, right)


@EACH
def test_inputs_and_global_random_states_are_not_touched(make):
    images, labels = _batch()
    images_before, labels_before = images.clone(), labels.clone()
    state, numpy_state = torch.get_rng_state(), pickle.dumps(np.random.get_state())  # noqa: NPY002
    make()(images, labels, _generator())
    assert torch.equal(images, images_before)
    assert torch.equal(labels, labels_before)
    assert torch.equal(torch.get_rng_state(), state)
    assert pickle.dumps(np.random.get_state()) == numpy_state  # noqa: NPY002


@EACH
def test_result_follows_from_the_generator(make):
    images, labels = _batch()
    first, again, other = (make()(images, labels, _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


@EACH
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtype_is_kept_unless_sums_would_be_rounded(make, dtype):
    images, labels = _batch()
    mixed, targets = make()(images.to(dtype), labels, _generator())
    exact = make()(images.double(), labels, _generator())[0]
    assert mixed.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    assert targets.dtype == torch.float32
    coarseness = {torch.bfloat16: 1.0, torch.float16: 0.125}.get(dtype, 1e-3)  # pixels up to 255
    assert (mixed.double() - exact).abs().max() <= coarseness
    unmixed, _ = make(prob=0)(images.to(dtype), labels, _generator())
    assert unmixed.dtype == mixed.dtype


@EACH
@SIZES
def test_batch_of_one_is_unchanged(make, size):
    images, labels = _batch(1, *size)
    for seed in range(3):
        mixed, targets = make()(images, labels, _generator(seed))
        assert torch.equal(mixed, images)
        assert torch.equal(targets, nn.functional.one_hot(labels, 7).float())


@EACH
def test_prob_zero_leaves_the_batch_and_looks_for_nothing(make):
    def unasked(images, labels):
        raise AssertionError

    images, labels = _batch()
    mix = make(unasked, prob=0).mix(images, labels, _generator())
    assert torch.equal(mix.images, images)
    assert torch.equal(mix.targets, nn.functional.one_hot(labels, 7).float())
    assert torch.equal(mix.shares[:, 0], torch.ones(8, 32, 32))


@EACH
def test_prob_applies_to_whole_batches(make):
    images, labels = _batch(6, 4, 4)
    changed = [
        (make(prob=0.3)(images, labels, _generator(seed))[0] != images).any().item()
        for seed in range(150)
    ]
    assert abs(sum(changed) / 150 - 0.3) < 0.1


@EACH
@SIZES
def test_gradients_flow_to_the_images(make, size):
    images, labels = _batch(8, *size)
    images.requires_grad_()
    mixed, _ = make()(images, labels, _generator())
    mixed.sum().backward()
    torch.testing.assert_close(mixed.detach(), make()(images.detach(), labels, _generator())[0])
    torch.testing.assert_close(images.grad.sum(), torch.tensor(float(images.numel())))


@EACH
def test_a_models_gradients_serve_as_saliency(make):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(7))
    images, labels = _batch()
    model(images)
    mix = make(GradientSaliency(model)).mix(images / 255, labels, _generator())
    assert mix.saliency.shape == (8, 32, 32)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@EACH
def test_saliency_of_another_shape_is_refused(make):
    mixer = make(lambda images, labels: images[:, 0, 0])
    with pytest.raises(ConfigError, match=r"mixing\.saliency: found a map of shape \(8, 32\)"):
        mixer(*_batch(), _generator())


@EACH
@pytest.mark.parametrize("label", [-1, 7])
def test_labels_outside_the_classes_are_refused(make, label):
    images, labels = _batch()
    labels[3] = label
    with pytest.raises(ConfigError, match=r"mixing\.num_classes: found 7 with labels"):
        make()(images, labels, _generator())
