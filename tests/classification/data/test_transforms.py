import pytest
import torch

from classification.data.transforms import Augmentation, Normalization, crop_and_flip, cutout
from classification.seeding import make_generator


@pytest.fixture
def images():
    return torch.randint(0, 256, (8, 3, 7, 5), dtype=torch.uint8, generator=make_generator(0, "i"))


def test_normalization_gives_zero_mean_and_unit_deviation(images):
    normalised = Normalization.of(images)(images)
    assert normalised.mean((0, 2, 3)) == pytest.approx(torch.zeros(3), abs=1e-5)
    assert normalised.std((0, 2, 3), unbiased=False) == pytest.approx(torch.ones(3), abs=1e-5)


def test_normalization_of_a_constant_channel_is_finite():
    images = torch.full((2, 3, 4, 4), 9, dtype=torch.uint8)
    assert torch.isfinite(Normalization.of(images)(images)).all()


def test_every_crop_is_a_window_of_the_padded_image_or_its_mirror(images):
    crops = crop_and_flip(images, 2, True, make_generator(0, "crop"))
    padded = torch.nn.functional.pad(images, [2] * 4)
    for crop, whole in zip(crops, padded, strict=True):
        windows = [whole[:, y : y + 7, x : x + 5] for y in range(5) for x in range(5)]
        assert any(torch.equal(crop, w) or torch.equal(crop, w.flip(2)) for w in windows)


def test_half_of_the_images_are_mirrored():
    images = torch.arange(2, dtype=torch.uint8).repeat(4000, 3, 1, 1)  # [4000, 3, 1, 2]: 0 1
    flipped = crop_and_flip(images, 0, True, make_generator(0, "flip"))[:, 0, 0, 0] == 1
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_cutout_blanks_a_clipped_square():
    holes = cutout(torch.ones(2000, 3, 6, 6), 4, make_generator(0, "cutout")) == 0
    assert torch.equal(holes[:, 0], holes[:, 1])
    rows, columns = holes[:, 0].any(2).sum(1), holes[:, 0].any(1).sum(1)
    assert torch.equal(holes[:, 0].sum((1, 2)), rows * columns)
    # Centres 0…5, square from centre - 2 to centre + 1: heights 2, 3, 4, 4, 4, 3.
    assert set(rows.tolist()) == {2, 3, 4}
    assert rows.float().mean().item() == pytest.approx(20 / 6, abs=0.1)


def test_augmentation_without_randomness_is_normalisation(images):
    normalization = Normalization.of(images)
    augmentation = Augmentation(normalization, crop_padding=0, flip=False)
    assert torch.equal(augmentation(images, make_generator(0, "a")), normalization(images))


def test_augmentation_repeats_and_spares_its_input(images):
    augmentation = Augmentation(Normalization.of(images), crop_padding=2, flip=True, cutout=3)
    before = images.clone()
    first, second = (augmentation(images, make_generator(0, "a")) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(images, before)


def test_lighting_shifts_each_image_along_the_colour_axes():
    # Two axes are nearly colourless in length: almost all of the shift lies along the first.
    images = torch.full((4000, 3, 2, 2), 128, dtype=torch.uint8)
    augmentation = Augmentation(
        Normalization((0.0,) * 3, (1.0,) * 3), crop_padding=0, flip=False, lighting=0.1
    )
    shifts = augmentation(images, make_generator(0, "lighting")) - 128 / 255
    assert (shifts == shifts[:, :, :1, :1]).all()
    axes = torch.tensor(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    along = shifts[:, :, 0, 0] @ axes  # the axes are orthonormal, so this undoes them
    expected = 0.1 * torch.tensor([0.2175, 0.0188, 0.0045])
    assert (along.std(0) / expected - 1).abs().max() < 0.05
    assert (along.mean(0) / expected).abs().max() < 0.05


def test_lighting_of_zero_draws_nothing(images):
    plain = Augmentation(Normalization.of(images), crop_padding=0, flip=False)
    generator = make_generator(0, "lighting")
    before = generator.get_state()
    plain(images, generator)
    assert torch.equal(generator.get_state(), before)


def test_inverting_a_normalisation_gives_the_pixels(images):
    normalization = Normalization((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    assert torch.equal(normalization.invert(normalization(images)).round().byte(), images)


def test_a_normalization_first_used_without_gradients_passes_them_on_later() -> None:
    normalization = Normalization((0.123, 0.456, 0.789), (0.25, 0.5, 1.0))  # of no other test
    with torch.inference_mode():
        normalization(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))
    pixels = torch.zeros(1, 3, 2, 2, requires_grad=True)
    normalization(pixels).sum().backward()
    assert pixels.grad is not None
    assert pixels.grad[0, :, 0, 0].tolist() == pytest.approx([4 / 255, 2 / 255, 1 / 255])
