"""One box in place of other images: where it lies, what it hides, and what the scorer sees."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from classification.data.transforms import Normalization
from classification.errors import ConfigError
from subsample.boxes import box_corners, box_size
from subsample.config import ScoresConfig
from subsample.mixes import compose_mixes, draw_mixes
from subsample.uncertainty import score_mixes
from subsample.visibility import measure_visibility


def images(number: int, side: int = 32) -> torch.Tensor:
    return torch.zeros(number, 3, side, side, dtype=torch.uint8)


def test_places_on_five_pixels_are_those_counted_by_hand() -> None:
    # A quarter of 5×5 is a box of 2×2 (√0.25 · 5 = 2.5, rounded to even), the middle pixel 2, 2.
    config = {"anchor_fraction": 0.75}
    assert box_size(ScoresConfig(**config, box="middle"), 5, 5) == (2, 2)
    middle = box_corners(ScoresConfig(**config, box="middle"), 5, 5)
    assert middle.tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    anywhere = box_corners(ScoresConfig(**config, box="anywhere"), 5, 5)
    assert len(anywhere) == 25
    edges = box_corners(ScoresConfig(**config, box="edges"), 5, 5)
    assert len(edges) == 25 - 4
    assert not {*map(tuple, edges.tolist())} & {*map(tuple, middle.tolist())}


def test_a_middle_box_is_where_the_largest_box_of_a_mix_is() -> None:
    """At 5/9 on 32 pixels a box has 21 a side, 12 places in each direction, and the central 10×10
    are never seen: the numbers of docs/method.md for the canvas."""
    assert len(box_corners(ScoresConfig(box="middle"), 32, 32)) == 12 * 12
    found = measure_visibility(images(60), ScoresConfig(box="middle", draws=100), seed=0)
    assert (found.seen == 0).sum() == 10 * 10
    assert found.mean == found.smallest == found.largest == 1 - (21 / 32) ** 2


def test_the_same_share_is_hidden_wherever_the_box_is() -> None:
    anywhere = measure_visibility(images(60), ScoresConfig(box="anywhere", draws=100), seed=0)
    edges = measure_visibility(images(60), ScoresConfig(box="edges", draws=100), seed=0)
    assert anywhere.smallest == anywhere.largest == edges.smallest == 1 - (21 / 32) ** 2
    # Each pixel is hidden equally often: 6,000 draws, so at most 5 standard errors of 0.0064.
    assert (anywhere.seen - anywhere.mean).abs().max() < 5 * 0.0064
    assert (edges.seen[15:17, 15:17] == 1).all()
    assert edges.seen[0, 0] < anywhere.mean


def test_the_box_has_the_mean_colour_and_the_label_is_the_anchors() -> None:
    pixels = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).view(2, 3, 8, 8)
    config = ScoresConfig(box="middle", draws=5)
    normalization = Normalization((0.2, 0.4, 0.6), (0.5, 0.5, 0.5))
    mixes = draw_mixes(torch.arange(2), pixels, config, seed=0, block=0)
    assert mixes.sources.tolist() == [[[0]] * 5, [[1]] * 5]
    assert (mixes.weights == 1).all()
    ((sources, owners, _),) = mixes.split(10)
    mixed = compose_mixes(pixels, sources, owners, normalization)
    hidden = owners[:, None].expand(-1, 3, -1, -1) == 1
    assert hidden[0, 0].sum() == 5 * 5  # √(4/9) · 8 = 5.3
    assert (mixed[~hidden] == pixels[sources[:, 0]][~hidden]).all()
    for channel, value in enumerate((51, 102, 153)):
        assert (mixed[:, channel][owners == 1] == value).all()
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    losses = score_mixes(model, pixels, torch.tensor([0, 1]), 2, normalization, config, mixes)
    logits = model(normalization(mixed))
    expected = nn.functional.cross_entropy(logits, sources[:, 0], reduction="none")
    torch.testing.assert_close(losses.flatten(), expected)


def test_common_draws_give_every_image_the_same_boxes() -> None:
    config = ScoresConfig(box="anywhere", draws=7, common_draws=True)
    owners = draw_mixes(torch.arange(3), images(3, 8), config, seed=0, block=0).owners
    assert torch.equal(owners[0], owners[2])
    assert not torch.equal(owners[0, 0], owners[0, 1])


def test_a_box_implies_the_loss_of_its_label_and_its_floor() -> None:
    config = ScoresConfig(box="edges")
    assert (config.loss, config.floor) == ("anchor_ce", 0.5)
    assert ScoresConfig(**config.model_dump()) == config


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"loss": "ce"}, "cannot be used with loss: ce; allowed: no box, or no loss"),
        ({"anchor": "patch"}, "cannot be used with anchor: patch"),
        ({"fraction": "dirichlet"}, "cannot be used with fraction: dirichlet"),
        ({"num_images": 4}, "cannot be used with num_images: 4"),
        ({"alpha": 1.0}, "cannot be used with alpha: 1.0"),
        ({"box": "corner"}, "'middle', 'edges' or 'anywhere'"),
    ],
)
def test_settings_of_other_images_are_refused_beside_a_box(setting, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ScoresConfig(**{"box": "middle"} | setting)


def test_a_box_cannot_be_scored_by_losses_of_the_training() -> None:
    for loss in ({}, {"loss": "ce"}):  # the implied loss is not blamed
        with pytest.raises(
            ValidationError, match=r"1 validation error .*\nbox\n.*source: training"
        ):
            ScoresConfig(box="middle", source="training", **loss)


@pytest.mark.parametrize(
    ("place", "fraction", "places"),
    [
        ("middle", 0.99, 0),  # a box of 1×1 hides one of the central 2×2 pixels
        ("edges", 0.2, 0),  # 7 of 8 pixels a side leave less than the central two
    ],
)
def test_a_box_without_two_places_is_refused_in_one_line(place, fraction, places: int) -> None:
    config = ScoresConfig(box=place, anchor_fraction=fraction)
    with pytest.raises(ConfigError, match=f"with {place}: found {places}; allowed: at least 2"):
        box_corners(config, 8, 8)


@pytest.mark.parametrize("place", ["middle", "edges", "anywhere"])
@pytest.mark.parametrize(("fraction", "size"), [(0.01, "8×8"), (0.999, "0×0")])
def test_a_box_that_hides_all_or_nothing_is_refused(place, fraction, size: str) -> None:
    config = ScoresConfig(box=place, anchor_fraction=fraction)
    with pytest.raises(
        ConfigError, match=f"a box of {size} pixels on 8×8, the same at every place"
    ):
        box_corners(config, 8, 8)
