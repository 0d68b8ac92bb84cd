import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from classification.errors import PipelineError
from classification.loaders import DeviceLoader
from classification.schedules import cosine_decay
from classification.trainer import Evaluation, evaluate, fit
from classification.training_step import Recipe
from classification.transforms import Augmentation, Normalization
from classification.workspace import Workspace


class Fixed(nn.Module):
    """Logits read off the first pixel: class = pixel value."""

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.bias = nn.Parameter(-1e-6 * torch.arange(num_classes))  # breaks ties in order

    def forward(self, images):
        return 10.0 * F.one_hot(images[:, 0, 0, 0].long(), self.num_classes) + self.bias


class StopError(Exception):
    pass


def identity(images):
    return images.float()


def problem():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 3, 4, 4), dtype=torch.uint8, generator=generator)
    labels = (images.float().mean((1, 2, 3)) > 127).long()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.2))
    return images, labels, model.append(nn.Linear(16, 2))


def train(workspace, epochs=4, learning_rate=0.1, evaluations=None):
    images, labels, model = problem()
    augmentation = Augmentation(Normalization.of(images), crop_padding=1, flip=True)
    recipe = Recipe(
        epochs=epochs,
        learning_rate=learning_rate,
        schedule=cosine_decay(epochs),
        prepare=lambda images, labels, generator: (augmentation(images, generator), labels),
        objective=F.cross_entropy,
        gradient_clip=5.0,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    loader = DeviceLoader(images, labels, 8)
    fit(
        model,
        optimizer,
        loader,
        recipe,
        evaluations or {},
        seed=0,
        purpose="scorer",
        workspace=workspace,
    )
    return model


def test_evaluation_of_known_logits():
    # Six classes; pixel = predicted class. Two of three right; the wrong label is in the top five.
    images = torch.tensor([0, 3, 5], dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    model = Fixed(6).train()
    result = evaluate(model, DeviceLoader(images, torch.tensor([0, 3, 1]), 2), identity)
    right = math.log(math.exp(10) + 5) - 10
    assert result.loss == pytest.approx((2 * right + right + 10) / 3, abs=1e-4)
    assert result.top1_accuracy == pytest.approx(2 / 3)
    assert result.top5_accuracy == pytest.approx(1.0)
    assert model.training


def test_training_lowers_the_loss(tmp_path):
    train(Workspace(tmp_path), epochs=15)
    rows = Workspace(tmp_path).rows()
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert [row["epoch"] for row in rows] == list(range(1, 16))


@pytest.mark.parametrize("stop_at", ["epoch", "step"])
def test_a_stopped_training_ends_as_an_uninterrupted_one(tmp_path, stop_at):
    straight = train(Workspace(tmp_path / "straight"))

    def stop(done, total, unit, **metrics):
        seen.append(unit)
        if unit == stop_at and seen.count(unit) == 2:
            raise StopError

    seen = []
    with pytest.raises(StopError):
        train(Workspace(tmp_path / "stopped", stop))
    resumed = train(Workspace(tmp_path / "stopped"))
    for (name, a), b in zip(
        straight.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    files = [(tmp_path / run / "metrics.jsonl").read_bytes() for run in ("straight", "stopped")]
    assert files[0] == files[1]


def test_evaluations_are_recorded_under_their_names(tmp_path):
    evaluations = {"test": lambda: Evaluation(1.5, 0.25, 0.75)}
    train(Workspace(tmp_path), epochs=1, evaluations=evaluations)
    (row,) = Workspace(tmp_path).rows()
    assert (row["test_loss"], row["test_accuracy"], row["test_top5_accuracy"]) == (1.5, 0.25, 0.75)


def test_a_loss_that_is_not_finite_names_the_setting(tmp_path):
    with pytest.raises(PipelineError, match=r"scorer\.learning_rate"):
        train(Workspace(tmp_path), learning_rate=1e30)
