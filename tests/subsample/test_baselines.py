"""Monte-Carlo dropout, EL2N and features, on logits known by hand and on small networks."""

import math
from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from classification.data.transforms import Normalization
from classification.errors import ConfigError, DataError, PipelineError
from classification.models import build_classifier
from classification.models.network import Classifier
from classification.seeding import seeded
from subsample.baselines import (
    dropout_uncertainty,
    el2n,
    error_lengths,
    extract_features,
    prediction_entropy,
    predictive_uncertainty,
)
from subsample.measures import DropoutConfig

PLAIN = Normalization((0.0,) * 3, (1.0,) * 3)
LN2 = math.log(2)
Measure = Callable[[Classifier, Tensor, int], Tensor]


class Colours(Classifier):
    """A linear layer on the three mean colours."""

    def __init__(self, weight: list[list[float]]) -> None:
        super().__init__()
        self.fc = nn.Linear(3, len(weight), bias=False)
        self.fc.weight.data = torch.tensor(weight)

    def features(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        return ()

    @property
    def residual_ends(self) -> list[nn.Module]:
        return []


def photographs(number: int, size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(256, (number, 3, size, size), generator=generator, dtype=torch.uint8)


class Small(Classifier):
    """A convolution of six channels, and what acts otherwise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5))
        self.fc = nn.Linear(6, 4)

    def features(self, images: Tensor) -> Tensor:
        return self.body(images).amax((2, 3))

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        return (self.body,)

    @property
    def residual_ends(self) -> list[nn.Module]:
        return []


def network() -> Classifier:
    with seeded(0, "test"):
        return Small().eval()


def labels_of(images: Tensor) -> Tensor:
    """A class that goes with the image, wherever it stands."""
    return images[:, 0, 0, 0].long() % 4


MEASURES: dict[str, Measure] = {
    "entropy": lambda model, images, size: dropout_uncertainty(
        model, images, PLAIN, DropoutConfig(uncertainty="entropy", passes=8), 1, size
    ),
    "mutual information": lambda model, images, size: dropout_uncertainty(
        model, images, PLAIN, DropoutConfig(passes=8), 1, size
    ),
    "el2n": lambda model, images, size: el2n(model, images, labels_of(images), PLAIN, size),
    "prediction": lambda model, images, size: prediction_entropy(model, images, PLAIN, size),
    "features": lambda model, images, size: extract_features(model, images, PLAIN, size),
}


def entropy(*probabilities: float) -> float:
    return -sum(p * math.log(p) for p in probabilities if p)


@pytest.mark.parametrize(
    ("passes", "whole", "mutual"),
    [
        ([(0.5, 0.5), (0.5, 0.5)], LN2, 0),
        ([(1 - 1e-30, 1e-30), (1e-30, 1 - 1e-30)], LN2, LN2),
        ([(0.75, 0.25), (0.25, 0.75)], LN2, LN2 - entropy(0.75, 0.25)),
        ([(1 - 1e-30, 1e-30), (0.5, 0.5)], entropy(0.75, 0.25), entropy(0.75, 0.25) - LN2 / 2),
    ],
)
def test_uncertainty_of_two_passes_by_hand(
    passes: list[tuple[float, float]], whole: float, mutual: float
) -> None:
    logits = torch.tensor(passes).log()[:, None]  # [T, 1, L]
    assert predictive_uncertainty(logits, "entropy").item() == pytest.approx(whole)
    found = predictive_uncertainty(logits, "mutual_information").item()
    assert found == pytest.approx(mutual, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("label", "expected"), [(0, math.sqrt(0.375)), (1, math.sqrt(0.875)), (2, math.sqrt(0.875))]
)
def test_error_length_by_hand(label: int, expected: float) -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    assert error_lengths(logits, torch.tensor([label])).item() == pytest.approx(expected)


def test_error_length_lies_between_0_and_root_2() -> None:
    logits = torch.tensor([[1000.0, 0.0]]).expand(2, -1)
    lengths = error_lengths(logits, torch.tensor([0, 1])).tolist()
    assert lengths == pytest.approx([0, math.sqrt(2)])


def test_images_that_the_model_is_sure_of_are_told_apart() -> None:
    # Float32 holds no probability between 1 - 6e-8 and 1; here 1 - p is 2e-9 and 4e-11.
    logits = torch.tensor([[20.0, 0.0], [24.0, 0.0]])
    lengths = error_lengths(logits, torch.tensor([0, 0])).tolist()
    expected = [math.sqrt(2) * math.exp(-20), math.sqrt(2) * math.exp(-24)]
    assert lengths == pytest.approx(expected, rel=1e-4)
    surprises = predictive_uncertainty(logits[None], "entropy").tolist()
    assert surprises == pytest.approx([21 * math.exp(-20), 25 * math.exp(-24)], rel=1e-4)


def test_el2n_of_the_model_by_hand() -> None:
    # White images have colours (1, 1, 1): the logits are ln 2 and 0, the probabilities 2/3 and 1/3.
    model = Colours([[LN2, 0, 0], [0, 0, 0]])
    images = torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    lengths = el2n(model, images, torch.tensor([0, 1]), PLAIN).tolist()
    assert lengths == pytest.approx([math.sqrt(2) / 3, math.sqrt(8) / 3])


def test_entropy_of_the_model_by_hand() -> None:
    # Black images have the probabilities 1/2 and 1/2, white ones 2/3 and 1/3.
    model = Colours([[LN2, 0, 0], [0, 0, 0]])
    images = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 4, 4)
    found = prediction_entropy(model, images, PLAIN).tolist()
    assert found == pytest.approx([LN2, entropy(2 / 3, 1 / 3)])


def test_dropout_of_one_feature_by_hand() -> None:
    # Half of the passes drop the only feature that counts: probabilities (1/2, 1/2). The others
    # double it: (1, 0).
    model = Colours([[100.0, 0, 0], [0, 0, 0]])
    images = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)

    def measure(uncertainty: str) -> float:
        config = DropoutConfig(uncertainty=uncertainty, passes=4000)
        return dropout_uncertainty(model, images, PLAIN, config, seed=0).item()

    whole = entropy(0.75, 0.25)
    assert measure("entropy") == pytest.approx(whole, abs=0.03)
    assert measure("mutual_information") == pytest.approx(whole - LN2 / 2, abs=0.03)


def test_kept_features_are_scaled_up() -> None:
    # One pass at a rate of 3/4: of logits (ln 2, 0), what is kept becomes (4 · ln 2, 0).
    model = Colours([[LN2, 0, 0], [0, 0, 0]])
    images = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    config = DropoutConfig(uncertainty="entropy", rate=0.75, passes=1)
    found = {
        round(dropout_uncertainty(model, images, PLAIN, config, seed).item(), 5)
        for seed in range(40)
    }
    assert sorted(found) == pytest.approx([entropy(16 / 17, 1 / 17), LN2], abs=1e-5)


@pytest.mark.parametrize("name", ["resnet8", "resnet9"])  # the latter scales its logits
def test_without_dropout_the_entropy_is_the_prediction_s_and_nothing_is_mutual(name: str) -> None:
    with seeded(0, "test"):
        model = build_classifier(name, 4).eval()
    images = photographs(6)
    with torch.inference_mode():
        probabilities = model(PLAIN(images)).softmax(1)
    for passes in (1, 3):
        config = DropoutConfig(uncertainty="entropy", rate=0.0, passes=passes)
        found = dropout_uncertainty(model, images, PLAIN, config, seed=0)
        expected = torch.special.entr(probabilities).sum(1)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        # Settings that are refused, since nothing is mutual without dropout.
        config = DropoutConfig.model_construct(
            uncertainty="mutual_information", rate=0.0, passes=passes
        )
        assert dropout_uncertainty(model, images, PLAIN, config, seed=0).max() < 1e-12


def test_features_are_what_the_linear_layer_sees() -> None:
    model, images = network(), photographs(6)
    features = extract_features(model, images, PLAIN)
    assert features.dtype == torch.float32
    with torch.inference_mode():
        torch.testing.assert_close(model.fc(features), model(PLAIN(images)))


@pytest.mark.parametrize("name", MEASURES)
def test_results_do_not_depend_on_the_batch_size(name: str) -> None:
    model, images = network(), photographs(20)
    whole = MEASURES[name](model, images, 64)
    assert whole.shape[0] == 20
    assert whole.dtype == torch.float32
    for size in (1, 7, 20):
        found = MEASURES[name](model, images, size)
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_permuted_images_give_permuted_results(name: str) -> None:
    model, images = network(), photographs(20)
    shuffle = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    whole = MEASURES[name](model, images, 7)
    assert not torch.allclose(whole[shuffle], whole)
    found = MEASURES[name](model, images[shuffle], 7)
    torch.testing.assert_close(found, whole[shuffle], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_duplicates_measure_the_same_and_one_image_will_do(name: str) -> None:
    model, images = network(), photographs(3)
    found = MEASURES[name](model, images[[0, 1, 0, 2, 0]], 2)
    alone = MEASURES[name](model, images[:1], 2)
    torch.testing.assert_close(found[[0, 2, 4]], alone.expand_as(found[[0, 2, 4]]))


@pytest.mark.parametrize("name", MEASURES)
def test_the_model_is_left_as_it_was(name: str) -> None:
    model, images = network(), photographs(6)
    expected = MEASURES[name](model, images, 4)
    model.train().fc.eval()
    modes = [module.training for module in model.modules()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.testing.assert_close(MEASURES[name](model, images, 4), expected)
    assert [module.training for module in model.modules()] == modes
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    assert model(PLAIN(images)).shape == (6, 4)  # and not T times as many


@pytest.mark.parametrize("name", MEASURES)
def test_a_diverged_scorer_is_refused_and_left_as_it_was(name: str) -> None:
    model = network().train()
    for parameter in model.parameters():
        parameter.data.fill_(math.nan)
    with pytest.raises(PipelineError, match="not finite"):
        MEASURES[name](model, photographs(4), 2)
    assert model.training
    assert model(PLAIN(photographs(2))).shape == (2, 4)


def test_dropout_follows_the_seed() -> None:
    model, images, config = network(), photographs(6), DropoutConfig(passes=5)
    first, again, other = (
        dropout_uncertainty(model, images, PLAIN, config, seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_progress_counts_images() -> None:
    seen: list[tuple[int, int, str]] = []

    def note(done: int, total: int, unit: str, **metrics: float) -> None:
        seen.append((done, total, unit))

    extract_features(network(), photographs(5), PLAIN, 2, note)
    assert seen == [(2, 5, "image"), (4, 5, "image"), (5, 5, "image")]


@pytest.mark.parametrize("name", MEASURES)
def test_a_batch_size_below_one_and_no_images_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"subset\.batch_size: found 0; allowed: 1 or more"):
        MEASURES[name](network(), photographs(2), 0)
    with pytest.raises(DataError, match="0 training images"):
        MEASURES[name](network(), photographs(0), 2)


def test_labels_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="labels"):
        el2n(network(), photographs(3), torch.zeros(2).long(), PLAIN)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 1},
        {"rate": -0.1},
        {"rate": math.nan},
        {"passes": 0},
        {"uncertainty": "variance"},
        {"draws": 3},
    ],
)
def test_settings_outside_their_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DropoutConfig(**wrong)
