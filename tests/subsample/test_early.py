"""EL2N and GraNd early in training: gradients by hand and by autograd, means, resuming."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classification.classifier import build_scorer, train_classifier
from classification.config import ClassifierConfig
from classification.data.datasets import DataConfig, ImageDataset, load_dataset
from classification.data.transforms import Normalization
from classification.errors import PipelineError
from classification.persistence.workspace import Workspace
from classification.seeds import derive_seed
from subsample.baselines import el2n
from subsample.early import early_values, grand

PLAIN = Normalization((0.0,) * 3, (1.0,) * 3)
CPU = torch.device("cpu")
RECIPE = ClassifierConfig(model="resnet8", epochs=9, stop_epoch=2, batch_size=20, test_every=2)


class Linear(nn.Module):
    """Logits [B, 2] of the three mean colours, with weights of 0."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(images.mean((2, 3)))


def test_gradients_by_hand() -> None:
    # Both probabilities are 1/2, so the errors are (±1/2, ∓1/2). The gradient of the weights is
    # their product with the colours, that of the bias they: length √(1/2) · √(|colours|² + 1).
    images = torch.tensor([[0, 0, 0], [255, 0, 0], [255, 255, 255]], dtype=torch.uint8)
    images = images[:, :, None, None].expand(3, 3, 2, 2)
    found = grand(Linear(), images, torch.tensor([0, 1, 0]), PLAIN)
    assert found.tolist() == pytest.approx([math.sqrt(0.5), 1.0, math.sqrt(2.0)])


def photographs(number: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (number, 3, 16, 16), generator=generator).byte()


@pytest.mark.parametrize("name", ["resnet8", "resnet9"])
def test_gradients_are_those_of_one_image_at_a_time(name: str) -> None:
    model, images, labels = build_scorer(name, 4, seed=0), photographs(3), torch.tensor([0, 3, 1])
    found = grand(model, images, labels, PLAIN, batch_size=2)
    assert model.training
    model.eval()
    for value, image, label in zip(found, images, labels, strict=True):
        loss = F.cross_entropy(model(PLAIN(image[None])), label[None])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        length = torch.cat([each.flatten().double() for each in gradients]).norm()
        assert float(value) == pytest.approx(float(length), rel=1e-4)


def test_gradients_of_a_network_that_diverged_are_refused() -> None:
    model = Linear()
    nn.init.constant_(model.fc.bias, math.nan)
    with pytest.raises(PipelineError, match="grand got gradients that are not finite"):
        grand(model, photographs(2), torch.tensor([0, 1]), PLAIN)
    with pytest.raises(ValueError, match="labels"):
        grand(model, photographs(2), torch.tensor([0]), PLAIN)


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset(DataConfig(kind="digits", classes=3, images_per_class=20))


def measure(data: ImageDataset, folder: Path, stop_after: int | None = None) -> Tensor:
    """EL2N of two networks of two epochs; stop at the first progress after that epoch of all."""
    stopped = False

    def progress(done: int, total: int, unit: str, **metrics: float) -> None:
        nonlocal stopped
        if stopped:
            raise StopError
        stopped = unit == "epoch" and done == stop_after
        assert unit == "step" or total == 4

    workspace = Workspace(folder, progress)
    return early_values("el2n_early", data, RECIPE, 2, seed=0, device=CPU, workspace=workspace)


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def values(digits: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    return measure(digits, tmp_path_factory.mktemp("early"))


def test_the_value_is_the_mean_over_networks_of_other_seeds(digits, values, tmp_path) -> None:
    own = []
    for index in range(2):
        model = train_classifier(
            digits,
            RECIPE,
            seed=derive_seed(0, "early", index),
            device=CPU,
            workspace=Workspace(tmp_path / str(index)),
        )
        own.append(el2n(model, digits.train.images, digits.train.labels, digits.normalization))
    assert not torch.equal(own[0], own[1])
    torch.testing.assert_close(values, (own[0] + own[1]) / 2)


@pytest.mark.parametrize("epoch", [1, 3])
def test_stopped_work_ends_bit_for_bit(digits, values, tmp_path, epoch: int) -> None:
    with pytest.raises(StopError):
        measure(digits, tmp_path, stop_after=epoch)
    assert torch.equal(measure(digits, tmp_path), values)
    assert not list(tmp_path.glob("network-*"))
