import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from classification.mixing import CutMix, DCutMix, DMixup, Mix, SaliencyDCutMix
from evaluate.figures.mixing import ALONE, MixedBatch, mixing_sheet
from evaluate.figures.style import PALETTE, save_figure

NAMES = ["apple", "bear", "cup", "a_name_that_is_far_too_long", "elm", "fox"]


def batch(mixer) -> MixedBatch:
    images = torch.randint(256, (6, 3, 16, 12), generator=torch.Generator().manual_seed(0)).byte()
    mix = mixer.mix(images, torch.arange(6), torch.Generator().manual_seed(1))
    return MixedBatch("a mixer", images.numpy(), mix.images.byte().numpy(), mix)


def with_shares() -> MixedBatch:
    images = np.zeros((1, 3, 2, 2), np.uint8)
    shares = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]]])
    mix = Mix(
        torch.zeros(1, 3, 2, 2),
        torch.tensor([[0.75, 0.25, 0, 0, 0, 0]]),
        torch.tensor([[0, 0]]),
        torch.tensor([[0.75, 0.25]]),
        shares=shares,
    )
    return MixedBatch("parts", images, images, mix)


@pytest.mark.parametrize(
    "mixer",
    [
        DCutMix(5, 1.0, num_classes=6),
        SaliencyDCutMix(3, 1.0, num_classes=6),
        CutMix(num_classes=6),
        DMixup(3, 1.0, num_classes=6),
    ],
    ids=lambda mixer: type(mixer).__name__,
)
def test_every_kind_of_mix_is_drawn(mixer, tmp_path):
    save_figure(mixing_sheet([batch(mixer), batch(mixer)], NAMES), tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_boxes_are_outlined_where_they_lie_in_their_images_colours():
    drawn = batch(DCutMix(3, 1.0, num_classes=6))
    figure = mixing_sheet([drawn], NAMES, columns=1)
    boxes = drawn.mix.boxes
    expected = [
        (left - 0.5, top - 0.5, width, height, PALETTE[k])
        for k, (top, left, height, width) in enumerate(
            torch.stack([boxes.top, boxes.left, boxes.height, boxes.width], -1)[0].tolist()
        )
        if k and height and width
    ]
    found = [
        (*patch.get_xy(), patch.get_width(), patch.get_height(), colour)
        for axes in figure.axes
        for patch in axes.patches
        if isinstance(patch, Rectangle) and not patch.get_fill()
        for colour in PALETTE
        if np.allclose(
            patch.get_edgecolor()[:3], [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        )
    ]
    assert expected
    assert found == expected


def test_each_image_of_a_mix_is_shown_with_its_saliency():
    drawn = batch(SaliencyDCutMix(3, 1.0, num_classes=6))
    figure = mixing_sheet([drawn], NAMES, columns=1)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    used = drawn.mix.partners[0][drawn.mix.weights[0] > 0].tolist()
    assert np.array_equal(shown[0], drawn.mixed[0].transpose(1, 2, 0))
    for source, (image, saliency) in zip(
        used, zip(shown[1::2], shown[2::2], strict=True), strict=True
    ):
        assert np.array_equal(image, drawn.unmixed[source].transpose(1, 2, 0))
        assert np.array_equal(saliency, drawn.mix.saliency[source].numpy())


def test_the_borders_of_other_shapes_are_drawn_between_pixels_that_differ():
    figure = mixing_sheet([with_shares()], NAMES)
    (borders,) = (c for axes in figure.axes for c in axes.collections)
    segments = {tuple(map(tuple, segment)) for segment in borders.get_segments()}
    assert segments == {((0.5, -0.5), (0.5, 0.5)), ((0.5, 0.5), (1.5, 0.5))}


def test_the_soft_label_is_written_largest_first():
    figure = mixing_sheet([with_shares()], NAMES)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["parts", "apple", "75 %", "bear", "25 %"]


def test_a_mix_without_a_pixel_of_another_image_has_a_note():
    images = np.zeros((2, 3, 2, 2), np.uint8)
    shares = torch.tensor([[1.0, 0.0], [0.75, 0.25]])
    targets = torch.nn.functional.pad(shares, (0, 4))
    mix = Mix(torch.zeros(2, 3, 2, 2), targets, torch.tensor([[0, 1], [1, 0]]), shares)
    texts = [
        text.get_text()
        for axes in mixing_sheet([MixedBatch("two", images, images, mix)], NAMES).axes
        for text in axes.texts
    ]
    # The first mix has one source and the note, the second has two sources and no note.
    assert texts == ["two", ALONE, "apple", "100 %", "apple", "75 %", "bear", "25 %"]


def test_a_batch_smaller_than_the_columns_shows_all_of_itself():
    figure = mixing_sheet([with_shares()], NAMES, columns=4)
    assert sum(bool(axes.images) for axes in figure.axes) == 3  # the mix and its two images
