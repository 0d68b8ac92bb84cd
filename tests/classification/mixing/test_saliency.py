import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from classification.data.transforms import Normalization
from classification.errors import ConfigError
from classification.mixing import SaliencyDCutMix
from classification.mixing.boxes import centre_boxes, nest_boxes
from classification.mixing.saliency import (
    GradientSaliency,
    PixelSaliency,
    check_saliency,
    fine_grained_saliency,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def opencv(image: torch.Tensor) -> torch.Tensor:
    """OpenCV's map of an RGB image, uint8 [3, H, W], in levels 0 … 255."""
    bgr = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[..., ::-1])
    done, saliency = cv2.saliency.StaticSaliencyFineGrained_create().computeSaliency(bgr)
    assert done
    return torch.from_numpy(np.rint(saliency * 255))


def shapes(number: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Bright and dark discs over a slope of grey, as in photographs, uint8 [N, 3, H, W]."""
    draws = torch.rand(number, 5, 6, 1, 1, generator=generator(seed))
    row = torch.arange(height).view(-1, 1) / height
    column = torch.arange(width) / width
    images = (100 + 60 * row + 40 * column).expand(number, 3, height, width).clone()
    for down, across, radius, red, green, blue in (draws[:, i].unbind(1) for i in range(5)):
        inside = (row - down) ** 2 + (column - across) ** 2 < (0.05 + 0.2 * radius) ** 2
        colour = torch.stack([red, green, blue], 1) * 255
        images = torch.where(inside[:, None], colour, images)
    return images.byte()


# Fine-grained saliency


def test_saliency_is_that_of_opencv_wherever_its_float32_sums_are_exact():
    """480×640 pixels of at most 27 sum to less than 2²³; times 9, to more than 2²⁴, as floats do.

    The rounding is in OpenCV's integral image: it gives another sum than that of the pixels.
    """
    dark = shapes(1, 480, 640)[0] // 10
    assert torch.equal(fine_grained_saliency(dark), opencv(dark))
    bright = dark * 9
    differs = fine_grained_saliency(bright) != opencv(bright)
    assert 0 < differs.float().mean() < 0.01
    gray = bright[0].numpy()
    assert cv2.integral(gray, sdepth=cv2.CV_32F)[-1, -1] != gray.sum(dtype=np.int64)


@pytest.mark.parametrize("size", [(32, 32), (8, 8), (47, 21), (1, 9), (2, 2), (224, 224)])
def test_saliency_is_that_of_opencv_bit_for_bit(size):
    noise = torch.randint(256, (2, 3, *size), generator=generator(), dtype=torch.uint8)
    for image in torch.cat([noise, shapes(4, *size)]):
        assert torch.equal(fine_grained_saliency(image), opencv(image))


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 70), st.integers(2, 70))
def test_saliency_is_that_of_opencv_for_any_size(seed, height, width):
    image = shapes(1, height, width, seed)[0]
    assert torch.equal(fine_grained_saliency(image), opencv(image))


def test_a_batch_is_its_images_one_by_one():
    images = shapes(5, 24, 17)
    one_by_one = torch.stack([fine_grained_saliency(image) for image in images])
    assert torch.equal(fine_grained_saliency(images), one_by_one)
    assert fine_grained_saliency(images).dtype == torch.float32


def test_float_pixels_are_rounded_to_levels():
    images = shapes(3, 20, 20)
    assert torch.equal(fine_grained_saliency(images + 0.2), fine_grained_saliency(images))


def test_an_even_image_is_salient_nowhere():
    assert fine_grained_saliency(torch.full((2, 3, 9, 9), 77, dtype=torch.uint8)).max() == 0
    assert fine_grained_saliency(torch.full((1, 1, 1), 77, dtype=torch.uint8)).max() == 0


def test_a_bright_spot_on_grey_is_the_peak():
    image = torch.full((1, 32, 32), 100, dtype=torch.uint8)
    image[0, 20, 9] = 255
    assert divmod(fine_grained_saliency(image).argmax().item(), 32) == (20, 9)


@pytest.mark.parametrize("shape", [(9, 9), (9,), (2, 4, 9, 9)], ids=str)
def test_images_without_channels_are_refused(shape):
    with pytest.raises(ConfigError, match=r"mixing\.saliency: found images of shape"):
        fine_grained_saliency(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(4, 64), (4, 1, 8, 8), (8, 8), (3, 8, 8)], ids=str)
def test_a_source_must_give_a_map_for_each_image(shape):
    mixer = SaliencyDCutMix(
        3, 1.0, num_classes=4, saliency=lambda images, labels: torch.ones(shape)
    )
    with pytest.raises(ConfigError, match=r"mixing\.saliency: .* three dimensions, \[N, H, W\]"):
        mixer(torch.zeros(4, 3, 8, 8), torch.arange(4), generator())


def test_a_fitting_map_passes():
    check_saliency(torch.ones(4, 8, 6), torch.zeros(4, 3, 8, 6))


def test_pixel_saliency_undoes_the_normalisation():
    normalization = Normalization((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    images = shapes(4, 16, 16)
    saliency = PixelSaliency(normalization)(normalization(images), torch.zeros(4))
    assert torch.equal(saliency, fine_grained_saliency(images))


# Boxes on what is salient


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 25), st.integers(1, 25))
def test_boxes_have_the_sizes_of_nest_boxes_and_nest(seed, num_images, height, width):
    random = generator(seed)
    fractions = torch.rand(7, num_images, generator=random)
    fractions /= fractions.sum(1, keepdim=True)
    saliency = torch.rand(7, height, width, generator=random)
    sources = torch.randint(7, (7, num_images), generator=random)
    boxes = centre_boxes(fractions, saliency, sources)
    assert torch.equal(boxes.size, nest_boxes(fractions, height, width, random).size)
    assert (boxes.corner.diff(dim=-1) >= 0).all()
    assert ((boxes.corner + boxes.size).diff(dim=-1) <= 0).all()


def test_a_box_is_centred_on_its_own_images_peak_inside_the_parent():
    # R = 1, 1/4, 1/16 of 16×16: boxes of 8 and 4 pixels. Image 1 (row 1 of the maps) peaks at
    # (9, 5): box 1 spans 5…12, 1…8. Image 2 peaks at (14, 14), outside box 1; inside, at (6, 2):
    # a box of 4 from (4, 0) would leave the parent and is shifted to (5, 1).
    saliency = torch.zeros(3, 16, 16)
    saliency[1, 9, 5], saliency[2, 14, 14], saliency[2, 6, 2] = 1, 9, 3
    fractions = torch.tensor([[3 / 4, 3 / 16, 1 / 16]])
    boxes = centre_boxes(fractions, saliency, torch.tensor([[0, 1, 2]]))
    assert boxes.corner.tolist() == [[[0, 5, 5]], [[0, 1, 1]]]
    assert boxes.size.tolist() == [[[16, 8, 4]], [[16, 8, 4]]]


def test_the_peak_shows_in_the_mix_where_no_later_box_covers_it():
    images, labels = shapes(16, 32, 32), torch.arange(16)
    mix = SaliencyDCutMix(2, 1.0, num_classes=16).mix(images, labels, generator())
    peaks = mix.saliency.flatten(1).argmax(1)[mix.partners[:, 1]]
    owners = mix.boxes.owners().flatten(1)
    visible = owners.gather(1, peaks[:, None]).squeeze(1) == 1
    assert torch.equal(visible, mix.weights[:, 1] > 0)


def test_label_weights_are_those_of_dcutmix_boxes():
    images, labels = shapes(64, 32, 32), torch.arange(64)
    mix = SaliencyDCutMix(5, 0.2, num_classes=64).mix(images, labels, generator())
    assert torch.equal(mix.weights, mix.boxes.weights())


# Input gradients


def test_gradient_saliency_is_the_root_mean_square_over_channels():
    # Logits are (w · x, 0) for 1×1 images: the loss's gradient is (p - 1) w for label 0.
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False))
    model[1].weight.data.copy_(torch.tensor([[1.0, 2.0, -2.0], [0, 0, 0]]))
    images = torch.zeros(1, 3, 1, 1)  # both logits 0, p = 1/2
    saliency = GradientSaliency(model)(images, torch.tensor([0]))
    expected = ((0.25 + 1 + 1) / 3) ** 0.5
    torch.testing.assert_close(saliency, torch.full((1, 1, 1), expected))


def test_gradient_saliency_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([0, 4])
    with torch.no_grad():
        saliency = GradientSaliency(model)(images, labels)
    assert saliency.shape == (2, 8, 8)
    assert not saliency.requires_grad
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
