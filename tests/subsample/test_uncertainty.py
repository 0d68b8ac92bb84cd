"""Properties of the losses under random occlusion, on models whose losses are known by hand."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from classification.data.transforms import Normalization
from classification.errors import DataError, PipelineError
from classification.persistence.workspace import Workspace
from subsample import uncertainty
from subsample.config import ScoresConfig
from subsample.mixes import draw_mixes
from subsample.uncertainty import (
    LOSSES,
    Scores,
    measure_losses,
    mixed_losses,
    summarise,
    write_scores_csv,
)

PLAIN = Normalization((0.0,) * 3, (1.0,) * 3)
LN2 = math.log(2)
# At 32×32 and 5/9 the first box has side round(32 · √(4/9)) = 21, so the anchor keeps
# 1024 - 441 = 583 pixels in every draw.
ANCHOR_AREA = 583 / 1024


class FixedLogits(nn.Module):
    """The same probabilities for every image."""

    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(probabilities).log())

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


class Brightness(nn.Module):
    """Logits (mean brightness, 0)."""

    def forward(self, images: Tensor) -> Tensor:
        level = images.mean((1, 2, 3))
        return torch.stack([level, torch.zeros_like(level)], 1)


def photographs(number: int, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(256, (number, 3, size, size), generator=generator, dtype=torch.uint8)


def small_network() -> nn.Module:
    generator = torch.Generator().manual_seed(6)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 3)
    )
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return network


def measure(
    directory: Path, images: Tensor, labels: list[int], model: nn.Module, **settings: object
) -> np.ndarray:
    return measure_losses(
        model,
        images,
        torch.tensor(labels),
        3,
        PLAIN,
        ScoresConfig(**settings),
        seed=1,
        workspace=Workspace(directory),
    )


def test_losses_of_one_mix_by_hand() -> None:
    # Half of the pixels class 0 at p = 1/2, half class 1 at p = 1/4, in two pieces.
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    labels, weights = torch.tensor([[0, 1, 1]]), torch.tensor([[0.5, 0.25, 0.25]])
    found = {
        kind: mixed_losses(logits, labels, weights, 3, kind).item()
        for kind in ("ce", "kl", "anchor_ce")
    }
    # The mixed label (1/2, 1/2, 0) has entropy ln 2.
    assert found == pytest.approx({"ce": 1.5 * LN2, "kl": 0.5 * LN2, "anchor_ce": LN2})


def test_a_perfect_prediction_has_no_divergence_and_no_negative_one() -> None:
    weights = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0))
    weights = weights / weights.sum(1, keepdim=True)
    labels = torch.arange(3).expand(1000, 3)
    losses = mixed_losses(weights.log(), labels, weights, 3, "kl")
    assert losses.min() >= 0
    assert losses.max() < 1e-5


def test_losses_of_two_images_by_hand(tmp_path: Path) -> None:
    # With two images every partner is the other one, so each draw's label is known.
    losses = measure(tmp_path, photographs(2), [0, 1], FixedLogits(0.5, 0.25, 0.25), draws=4)
    own, other = ANCHOR_AREA, 1 - ANCHOR_AREA
    expected = [[LN2 * (own + 2 * other)] * 4, [LN2 * (2 * own + other)] * 4]
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_the_model_sees_the_mixed_pixels(tmp_path: Path) -> None:
    images = torch.stack([torch.zeros(3, 32, 32), torch.full((3, 32, 32), 255)]).byte()
    losses = measure(tmp_path, images, [0, 0], Brightness(), draws=2, loss="anchor_ce")
    bright = [1 - ANCHOR_AREA, ANCHOR_AREA]  # share of white pixels in each anchor's mixes
    expected = [[math.log1p(math.exp(-level))] * 2 for level in bright]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize("common_draws", [False, True])
def test_a_partner_is_never_the_anchor(common_draws: bool) -> None:
    config = ScoresConfig(draws=200, common_draws=common_draws)
    anchors = torch.arange(3)
    sources = draw_mixes(anchors, photographs(3, 8), config, seed=0, block=0).sources
    assert (sources[..., 0] == anchors[:, None]).all()
    assert (sources[..., 1:] != anchors[:, None, None]).all()


@pytest.mark.parametrize("common_draws", [False, True])
def test_partners_are_uniform_over_the_others(common_draws: bool) -> None:
    config = ScoresConfig(draws=3000, common_draws=common_draws)
    sources = draw_mixes(torch.tensor([2]), photographs(5, 8), config, seed=0, block=0).sources
    share = torch.bincount(sources[0, :, 1:].flatten(), minlength=5) / 6000
    assert share.tolist() == pytest.approx([0.25, 0.25, 0, 0.25, 0.25], abs=0.03)


def test_the_anchor_keeps_its_fraction_and_the_others_share_the_rest() -> None:
    config = ScoresConfig(draws=2000)
    mixes = draw_mixes(torch.tensor([0]), photographs(3), config, seed=0, block=0)
    assert mixes.weights[..., 0].unique().tolist() == pytest.approx([ANCHOR_AREA])
    mean = mixes.weights.mean((0, 1)).tolist()
    assert mean == pytest.approx([5 / 9, 2 / 9, 2 / 9], abs=0.015)


@pytest.mark.parametrize("common_draws", [False, True])
def test_weights_are_the_owners_pixel_counts(common_draws: bool) -> None:
    config = ScoresConfig(draws=5, num_images=4, common_draws=common_draws)
    mixes = draw_mixes(torch.arange(6), photographs(6, 12), config, seed=0, block=0)
    counts = nn.functional.one_hot(mixes.owners.long(), 4).sum((2, 3))
    torch.testing.assert_close(mixes.weights, counts / 144.0)


def test_common_draws_give_every_anchor_the_same_boxes_and_partners() -> None:
    config, images = ScoresConfig(draws=6, common_draws=True), photographs(40, 12)
    first = draw_mixes(torch.arange(20), images, config, seed=0, block=0)
    second = draw_mixes(torch.arange(20, 40), images, config, seed=0, block=1)
    owners = torch.cat([first.owners, second.owners])
    assert (owners == owners[0]).all()
    partners = torch.cat([first.sources, second.sources])[..., 1:]
    usual = partners.mode(0).values
    anchors = torch.arange(40)[:, None, None]
    assert ((partners == usual) | (usual == anchors)).all()


def test_independent_draws_differ_between_anchors_and_blocks() -> None:
    config, images = ScoresConfig(draws=6), photographs(40, 12)
    first = draw_mixes(torch.arange(20), images, config, seed=0, block=0)
    second = draw_mixes(torch.arange(20), images, config, seed=0, block=1)
    assert (first.owners[0] != first.owners[1]).any()
    assert (first.sources != second.sources).any()


@pytest.mark.parametrize("loss", ["ce", "kl", "anchor_ce"])
@pytest.mark.parametrize("common_draws", [False, True])
def test_losses_do_not_depend_on_the_batch_size(
    tmp_path: Path, loss: str, common_draws: bool
) -> None:
    images, labels = photographs(20, 8), [i % 3 for i in range(20)]
    settings = {"loss": loss, "common_draws": common_draws}
    small, large = (
        measure(tmp_path / f"{size}", images, labels, small_network(), batch_size=size, **settings)
        for size in (7, 1024)
    )
    np.testing.assert_allclose(small, large, rtol=1e-4, atol=1e-6)


def test_the_model_scores_in_eval_mode_and_is_left_as_it_was(tmp_path: Path) -> None:
    network = small_network().train()
    network[1].eval()
    modes = [module.training for module in network.modules()]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    images, labels = photographs(6, 8), [0, 1, 2] * 2
    first = measure(tmp_path / "a", images, labels, network)
    second = measure(tmp_path / "b", images, labels, network.eval())
    np.testing.assert_array_equal(first, second)  # Dropout would make them differ
    network = small_network().train()
    network[1].eval()
    measure(tmp_path / "c", images, labels, network)
    assert [module.training for module in network.modules()] == modes
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


def test_other_seeds_draw_other_mixes(tmp_path: Path) -> None:
    images, labels = photographs(6, 8), torch.arange(6) % 3
    first, second = (
        measure_losses(
            small_network(), images, labels, 3, PLAIN, ScoresConfig(), seed, Workspace(directory)
        )
        for seed, directory in ((1, tmp_path / "a"), (2, tmp_path / "b"))
    )
    assert not np.allclose(first, second)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("save_seconds", [0.0, 1e9])
@pytest.mark.parametrize("killed_at", [8, 16, 24])
def test_work_that_was_killed_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int, save_seconds: float
) -> None:
    monkeypatch.setattr(uncertainty, "_BLOCK", 40)  # 8 anchors of 5 draws
    monkeypatch.setattr(uncertainty, "_SAVE_SECONDS", save_seconds)
    images, labels = photographs(30, 8), [i % 3 for i in range(30)]
    measure(tmp_path / "whole", images, labels, small_network(), draws=5)
    scored: list[int] = []

    def kill(done: int, total: int, unit: str, **metrics: float) -> None:
        scored.append(done)
        if done == killed_at:
            raise KilledError

    cut = Workspace(tmp_path / "cut", kill)
    arguments = (small_network(), images, torch.tensor(labels), 3, PLAIN, ScoresConfig(draws=5), 1)
    with pytest.raises(KilledError):
        measure_losses(*arguments, cut)
    torn = np.load(cut.path(LOSSES), mmap_mode="r+")
    torn[killed_at:] = np.nan  # a block half written when the power went
    torn.flush()
    cut.progress = lambda done, *rest, **metrics: scored.append(done)
    measure_losses(*arguments, cut)
    assert cut.path(LOSSES).read_bytes() == (tmp_path / "whole" / LOSSES).read_bytes()
    again = [8, 16, 24, 30]
    resumed = [done for done in again if save_seconds > 0 or done > killed_at]
    assert scored == [done for done in again if done <= killed_at] + resumed


def test_losses_that_rotted_before_work_went_on_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uncertainty, "_BLOCK", 40)
    monkeypatch.setattr(uncertainty, "_SAVE_SECONDS", 0)
    images, labels = photographs(30, 8), [i % 3 for i in range(30)]
    measure(tmp_path / "whole", images, labels, small_network(), draws=5)
    measure(tmp_path / "cut", images, labels, small_network(), draws=5)
    rotten = np.load(tmp_path / "cut" / LOSSES, mmap_mode="r+")
    rotten[3, 2] += 1e-3
    rotten.flush()
    said: list[str] = []
    again = Workspace(tmp_path / "cut", log=said.append)
    arguments = (small_network(), images, torch.tensor(labels), 3, PLAIN, ScoresConfig(draws=5), 1)
    measure_losses(*arguments, again)
    assert again.path(LOSSES).read_bytes() == (tmp_path / "whole" / LOSSES).read_bytes()
    assert len(said) == 1
    assert LOSSES in said[0]


def test_a_workspace_of_other_settings_is_begun_anew(tmp_path: Path) -> None:
    images, labels = photographs(6, 8), [0, 1, 2] * 2
    measure(tmp_path / "used", images, labels, small_network(), loss="kl")
    found = measure(tmp_path / "used", images, labels, small_network())
    fresh = measure(tmp_path / "fresh", images, labels, small_network())
    np.testing.assert_array_equal(found, fresh)


def test_lost_losses_are_measured_again(tmp_path: Path) -> None:
    images, labels = photographs(6, 8), [0, 1, 2] * 2
    whole = measure(tmp_path, images, labels, small_network()).copy()
    (tmp_path / LOSSES).write_bytes((tmp_path / LOSSES).read_bytes()[:-4])
    np.testing.assert_array_equal(measure(tmp_path, images, labels, small_network()), whole)


def test_progress_counts_anchors_and_reports_mixed_images_a_second(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str, float]] = []

    def note(done: int, total: int, unit: str, **metrics: float) -> None:
        seen.append((done, total, unit, metrics["draws_per_second"]))

    arguments = (small_network(), photographs(6, 8), torch.zeros(6).long(), 3, PLAIN)
    measure_losses(*arguments, ScoresConfig(), 0, Workspace(tmp_path, note))
    assert [entry[:3] for entry in seen] == [(6, 6, "image")]
    assert seen[0][3] > 0


def test_a_single_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 training images; allowed: at least 2"):
        measure(tmp_path, photographs(1, 8), [0], small_network())


def test_a_diverged_scorer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="not finite"):
        measure(tmp_path, photographs(4), [0, 1, 2, 0], FixedLogits(math.nan, 0.5, 0.5))


@pytest.mark.parametrize(
    "wrong",
    [
        {"draws": 1},
        {"num_images": 1},
        {"alpha": 0},
        {"alpha": math.nan},
        {"alpha": math.inf},
        {"anchor_fraction": 1},
        {"anchor_fraction": 0},
        {"loss": "hinge"},
        {"cv_floor": -1},
        {"batch_size": 0},
        {"draw": 3},
    ],
)
def test_settings_outside_their_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ScoresConfig(**wrong)


def test_a_share_of_the_anchor_that_is_drawn_instead_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"anchor_fraction\n.*no effect with fraction: diri"):
        ScoresConfig(fraction="dirichlet", anchor_fraction=0.5)
    assert ScoresConfig(fraction="fixed", anchor_fraction=0.5).anchor_fraction == 0.5
    drawn = ScoresConfig(fraction="dirichlet")
    assert ScoresConfig(**drawn.model_dump()) == drawn  # a run's config names every key


@pytest.mark.parametrize(
    "unused",
    [
        {"anchor": "patch"},
        {"fraction": "dirichlet"},
        {"common_draws": True},
        {"box": "middle"},
    ],
)
def test_settings_of_mixes_are_refused_with_recorded_losses(unused: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="source: training, which draws no mixes of its own"):
        ScoresConfig(source="training", **unused)
    recorded = ScoresConfig(source="training")
    assert ScoresConfig(**recorded.model_dump()) == recorded


def test_only_anchor_ce_has_a_floor_by_default() -> None:
    assert [ScoresConfig(loss=loss).floor for loss in ("ce", "kl", "anchor_ce")] == [0, 0, 0.5]
    assert ScoresConfig(loss="anchor_ce", cv_floor=0.0).floor == 0
    assert ScoresConfig(cv_floor=0.25).floor == 0.25


def test_summary_by_hand() -> None:
    losses = np.array([[1, 3], [2, 2], [0, 0]], np.float32)
    root = math.sqrt(2)
    scores = summarise(losses, ScoresConfig())
    np.testing.assert_allclose(scores.mean, [2, 2, 0])
    np.testing.assert_allclose(scores.std, [root, 0, 0])
    np.testing.assert_allclose(scores.cv, [root / 2, 0, 0])
    floored = summarise(losses, ScoresConfig(cv_floor=0.5))
    np.testing.assert_allclose(floored.cv, [root / 2.5, 0, 0])


def test_table_keeps_every_digit(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, 5))
    scores = Scores(*values)
    write_scores_csv(tmp_path / "scores.csv", np.arange(5) % 2, scores)
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["index"], row["label"]) for row in rows] == [
        (str(i), str(i % 2)) for i in range(5)
    ]
    for column, expected in zip(("mean", "std", "cv"), values, strict=True):
        assert [float(row[column]) for row in rows] == expected.tolist()
