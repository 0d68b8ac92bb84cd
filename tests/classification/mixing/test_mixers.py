import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.utils.data import DataLoader

from classification.errors import ConfigError
from classification.mixing import (
    CutMix,
    Cutout,
    DCutMix,
    DMixup,
    ManifoldMixup,
    MixingConfig,
    Mixup,
    SaliencyDCutMix,
    nest_boxes,
    sample_fractions,
)
from classification.mixing.pairwise import centred_boxes

MIXERS = [
    DMixup(3, 0.5, num_classes=7),
    DCutMix(3, 0.5, num_classes=7),
    Mixup(num_classes=7),
    CutMix(num_classes=7),
    SaliencyDCutMix(3, 0.5, num_classes=7),
    Cutout(3, num_classes=7),
    ManifoldMixup((), num_classes=7),  # of depth 0 alone; the others: test_manifold.py
]
SPATIAL = [
    DCutMix(4, 1.0, num_classes=6),
    SaliencyDCutMix(4, 1.0, num_classes=6),
    CutMix(num_classes=6),
]
EACH_SPATIAL = pytest.mark.parametrize("mixer", SPATIAL, ids=lambda mixer: type(mixer).__name__)
EACH_MIXER = pytest.mark.parametrize("mixer", MIXERS, ids=lambda mixer: type(mixer).__name__)
DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(size: int = 8, height: int = 9, width: int = 6, seed: int = 0):
    generator = _generator(seed)
    images = torch.randint(1, 256, (size, 3, height, width), generator=generator).float()
    return images, torch.randint(7, (size,), generator=generator)


# Every mixer


@EACH_MIXER
@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 17), st.integers(1, 17))
def test_targets_sum_to_one(mixer, seed, size, height, width):
    images, labels = _batch(size, height, width, seed)
    mixed, targets = mixer(images, labels, _generator(seed))
    assert mixed.shape == images.shape
    assert targets.shape == (size, 7)
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets.sum(1), torch.ones(size))


@EACH_MIXER
def test_soft_labels_give_the_targets_of_integer_labels(mixer):
    images, labels = _batch()
    one_hot = torch.nn.functional.one_hot(labels, 7).float()
    expected = mixer(images, labels, _generator())
    for left, right in zip(mixer(images, one_hot, _generator()), expected, strict=True):
        torch.testing.assert_close(left, right)


@EACH_MIXER
def test_inputs_are_unchanged(mixer):
    images, labels = _batch()
    images_before, labels_before = images.clone(), labels.clone()
    mixer(images, labels, _generator())
    assert torch.equal(images, images_before)
    assert torch.equal(labels, labels_before)


@EACH_MIXER
def test_result_follows_from_the_generator(mixer):
    images, labels = _batch()
    first, again, other = (mixer(images, labels, _generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@EACH_MIXER
def test_global_random_state_is_not_touched(mixer):
    state = torch.get_rng_state()
    mixer(*_batch(), _generator())
    assert torch.equal(torch.get_rng_state(), state)


@EACH_MIXER
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtype_is_kept_unless_sums_would_be_rounded(mixer, dtype):
    images, labels = _batch()
    mixed, targets = mixer(images.to(dtype), labels, _generator())
    exact = mixer(images.double(), labels, _generator())[0]
    sums_integers = isinstance(mixer, DMixup | ManifoldMixup) and dtype == torch.uint8
    assert mixed.dtype == (torch.float32 if sums_integers else dtype)
    assert targets.dtype == torch.float32
    coarseness = {torch.bfloat16: 1.0, torch.float16: 0.125}.get(dtype, 1e-3)  # pixels up to 255
    assert (mixed.double() - exact).abs().max() <= coarseness


@EACH_MIXER
def test_batch_of_one_keeps_its_label_and_pixels(mixer):
    images, labels = _batch(1)
    mixed, targets = mixer(images, labels, _generator())
    shown = mixed != 0 if isinstance(mixer, Cutout) else torch.ones_like(images, dtype=torch.bool)
    torch.testing.assert_close(mixed[shown], images[shown])
    assert targets.argmax(1).tolist() == labels.tolist()


@EACH_MIXER
def test_gradients_flow_to_the_images(mixer):
    images, labels = _batch()
    images.requires_grad_()
    mixed, _ = mixer(images, labels, _generator())
    mixed.sum().backward()
    torch.testing.assert_close(mixed.detach(), mixer(images.detach(), labels, _generator())[0])
    blanked = (mixed == 0).sum() if isinstance(mixer, Cutout) else 0
    torch.testing.assert_close(images.grad.sum(), torch.tensor(float(images.numel() - blanked)))


@EACH_MIXER
def test_weights_and_partners_explain_the_targets(mixer):
    images, labels = _batch()
    mix = mixer.mix(images, labels, _generator())
    assert mix.partners[:, 0].tolist() == list(range(8))
    torch.testing.assert_close(mix.weights.sum(1), torch.ones(8))
    expected = torch.zeros(8, 7).scatter_add_(1, labels[mix.partners], mix.weights)
    torch.testing.assert_close(mix.targets, expected)


@EACH_MIXER
@pytest.mark.parametrize("label", [-1, 7])
def test_labels_outside_the_classes_are_refused(mixer, label):
    images, labels = _batch()
    labels[3] = label
    with pytest.raises(ConfigError, match=r"mixing\.num_classes: found 7 with labels"):
        mixer(images, labels, _generator())


@EACH_MIXER
@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((8, 1), torch.int64, r"int64 and shape \[8, 1\]"),
        ((8, 1), torch.float32, r"float32 and shape \[8, 1\]"),
        ((8, 6), torch.float32, r"float32 and shape \[8, 6\]"),
        ((8,), torch.uint8, r"uint8 and shape \[8\]"),
        ((8,), torch.float32, r"float32 and shape \[8\]"),
        ((7,), torch.int64, r"int64 and shape \[7\]"),
        ((), torch.int64, r"int64 and shape \[\]"),
        ((8, 7, 1), torch.float32, r"float32 and shape \[8, 7, 1\]"),
    ],
)
def test_labels_of_another_shape_or_type_are_named(mixer, shape, dtype, found):
    allowed = r"with 8 images; allowed: int64 \[8\], or soft labels \[8, 7\]"
    with pytest.raises(ConfigError, match=f"mixing: found labels of type {found} {allowed}"):
        mixer(_batch()[0], torch.zeros(shape, dtype=dtype), _generator())


@EACH_MIXER
def test_integer_labels_without_num_classes_are_refused(mixer, monkeypatch):
    monkeypatch.setattr(mixer, "num_classes", None)
    with pytest.raises(ConfigError, match=r"mixing\.num_classes: found none"):
        mixer(*_batch(), _generator())


@pytest.mark.parametrize(
    "kind", ["cutout", "mixup", "cutmix", "dmixup", "dcutmix", "saliency_dcutmix"]
)
def test_prob_zero_leaves_the_batch_and_its_labels(kind):
    images, labels = _batch()
    mixer = MixingConfig(kind=kind, prob=0).build(7)
    mixed, targets = mixer(images, labels, _generator())
    assert torch.equal(mixed, images)
    assert torch.equal(targets, torch.nn.functional.one_hot(labels, 7).float())


def test_prob_applies_to_whole_batches():
    images, labels = _batch(32)
    mixer = DMixup(3, 1.0, prob=0.3, num_classes=7)
    mixed_share = []
    for seed in range(300):
        mixed, _ = mixer(images, labels, _generator(seed))
        mixed_share.append((mixed != images).flatten(1).any(1).float().mean().item())
    mixed_batches = sum(share > 0 for share in mixed_share)
    assert all(share == 0 or share > 0.7 for share in mixed_share)
    assert abs(mixed_batches / 300 - 0.3) < 0.08


# One mixer


def test_dmixup_is_the_weighted_sum_its_targets_state():
    labels = torch.arange(6)
    images = torch.nn.functional.one_hot(labels).float().view(6, 6, 1, 1)
    mixed, targets = DMixup(4, 1.0, num_classes=6)(images, labels, _generator())
    torch.testing.assert_close(mixed.flatten(1), targets)


@EACH_SPATIAL
def test_targets_are_the_pixel_shares_of_the_images(mixer):
    labels = torch.arange(6)
    images = labels.view(6, 1, 1, 1).expand(6, 3, 13, 8).byte()
    mixed, targets = mixer(images, labels, _generator())
    shares = torch.stack([(mixed[:, 0] == label).float().mean((1, 2)) for label in labels], 1)
    torch.testing.assert_close(targets, shares)


@EACH_SPATIAL
def test_boxes_tell_which_image_shows_at_each_pixel(mixer):
    images, labels = _batch(6)
    images += torch.arange(6).view(6, 1, 1, 1) / 8  # so that no two images share a value
    mix = mixer.mix(images, labels % 6, _generator())
    owners = mix.boxes.owners()
    shown = images[mix.partners]  # [N, K, 3, H, W]
    expected = shown.gather(1, owners.long()[:, None, None].expand(-1, 1, 3, -1, -1)).squeeze(1)
    assert torch.equal(mix.images, expected)


def test_dcutmix_of_two_images_labels_the_last_patch():
    labels = torch.arange(64)
    images = torch.zeros(64, 1, 16, 16)
    mix = DCutMix(2, 1.0, num_classes=64).mix(images, labels, _generator())
    targets = mix.targets
    canvas_share = (mix.boxes.owners() == 0).float().mean((1, 2))
    own = targets.diagonal()
    moved = own < 1  # a sample that is its own partner keeps its whole label
    torch.testing.assert_close(own[moved], canvas_share[moved])
    torch.testing.assert_close(targets.sum(1), torch.ones(64))


def test_dcutmix_of_two_images_is_not_cutmix():
    # Beta(50, 50) halves: DCutMix's box always keeps its area, CutMix's is clipped when it sticks
    # out, which happens often to a box of 0.7 of the sides centred anywhere.
    fractions = sample_fractions(50.0, (500, 2), _generator())
    nested = nest_boxes(fractions, 32, 32, _generator()).weights()[:, 1]
    centred = centred_boxes(fractions, 32, 32, _generator()).weights()[:, 1]
    assert (nested - fractions[:, 1]).abs().max() < 0.04
    assert (centred < fractions[:, 1] - 0.09).float().mean() > 0.5


def test_cutmix_box_is_centred_anywhere_and_clipped():
    # A patch of a quarter of 8×8 pixels has sides of 4: from its centre 2 back and 2 forward.
    fractions = torch.tensor([0.75, 0.25]).expand(4000, 2)
    boxes = centred_boxes(fractions, 8, 8, _generator())
    starts = boxes.top[:, 1].bincount(minlength=7)
    assert (starts - torch.tensor([1500, 500, 500, 500, 500, 500, 0])).abs().max() < 120
    ends = (boxes.top + boxes.height)[:, 1].bincount(minlength=9)
    assert (ends - torch.tensor([0, 0, 500, 500, 500, 500, 500, 500, 1000])).abs().max() < 120


@pytest.mark.parametrize("mixer", [Mixup(0.5, num_classes=64), DMixup(2, 0.5, num_classes=64)])
def test_mixup_weights_follow_beta(mixer):
    labels = torch.arange(64)
    weights = []
    for seed in range(30):
        _, targets = mixer(torch.zeros(64, 1, 1, 1), labels, _generator(seed))
        own = targets.diagonal()
        weights.append(own[own < 1])
    result = stats.kstest(torch.cat(weights).double().numpy(), stats.beta(0.5, 0.5).cdf)
    assert result.pvalue > 0.01


def test_cutout_blanks_a_clipped_square_and_keeps_the_label():
    images, labels = torch.ones(2000, 1, 8, 8), torch.arange(2000) % 7
    blanked, targets = Cutout(4, num_classes=7)(images, labels, _generator())
    # From its centre 2 back and 1 forward: sides of 4, less 2 or 1 at one border, 1 at the other.
    sides = (blanked == 0).any(2).sum(2).flatten()
    assert (sides.bincount(minlength=5)[2:] / 2000 - torch.tensor([1, 2, 5]) / 8).abs().max() < 0.04
    assert torch.equal(targets, torch.nn.functional.one_hot(labels, 7).float())


# As a collate function


@EACH_MIXER
def test_collate_fn_mixes_the_batches_of_a_loader(mixer):
    images, labels = _batch(10)
    samples = list(zip(images, labels.tolist(), strict=True))
    loader = DataLoader(samples, batch_size=5, collate_fn=mixer.collate_fn(_generator()))
    generator = _generator()
    for step, (mixed, targets) in enumerate(loader):
        part = slice(5 * step, 5 * step + 5)
        expected, expected_targets = mixer(images[part], labels[part], generator)
        assert torch.equal(mixed, expected)
        assert torch.equal(targets, expected_targets)


def test_collate_fn_survives_pickling():
    images, labels = _batch(4)
    samples = list(zip(images, labels.tolist(), strict=True))
    collate = DCutMix(3, 1.0, num_classes=7).collate_fn(_generator(3))
    copy = pickle.loads(pickle.dumps(collate))
    assert torch.equal(copy(samples)[0], collate(samples)[0])


def test_workers_do_not_repeat_one_another_or_the_last_epoch():
    samples = [(torch.arange(64.0).view(1, 8, 8) + 64 * i % 256, i % 4) for i in range(4)] * 4
    collate = DMixup(3, 1.0, num_classes=4).collate_fn(_generator())
    loader = DataLoader(
        samples, batch_size=4, num_workers=2, collate_fn=collate, generator=_generator(1)
    )
    batches = [mixed for _ in range(2) for mixed, _ in loader]
    assert len(batches) == 8
    for i, batch in enumerate(batches):
        assert not any(torch.equal(batch, other) for other in batches[:i])
