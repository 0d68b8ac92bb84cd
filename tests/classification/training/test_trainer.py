import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from classification.data.loaders import ImageSet
from classification.data.transforms import Augmentation, Normalization
from classification.errors import PipelineError
from classification.persistence.checkpoint import load_checkpoint, save_checkpoint
from classification.persistence.workspace import Workspace
from classification.training.schedules import cosine_decay
from classification.training.step import Recipe
from classification.training.trainer import Evaluation, evaluate, fit

CPU = torch.device("cpu")


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


def train(workspace, epochs=4, learning_rate=0.1, evaluations=None, model=None, **settings):
    images, labels, default = problem()
    model = default if model is None else model
    augmentation = Augmentation(Normalization.of(images), crop_padding=1, flip=True)
    recipe = Recipe(
        epochs=epochs,
        learning_rate=learning_rate,
        schedule=cosine_decay(epochs),
        prepare=lambda images, labels, generator: (augmentation(images, generator), labels),
        objective=F.cross_entropy,
        gradient_clip=5.0,
        **settings,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    loader = ImageSet(images, labels).loader(8, CPU, training=True)
    fit(
        model,
        optimizer,
        loader,
        recipe,
        evaluations or {},
        seed=0,
        stream="scorer",
        workspace=workspace,
    )
    return model


def test_evaluation_of_known_logits():
    # Six classes; pixel = predicted class. Two of three right; the wrong label is in the top five.
    images = torch.tensor([0, 3, 5], dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    model = Fixed(6).train()
    loader = ImageSet(images, torch.tensor([0, 3, 1])).loader(2, CPU, training=False)
    result = evaluate(model, loader, identity)
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


def stopped_at(step, seen):
    """Progress that stops the training at its `step`-th step, counted from 1 over all epochs."""

    def stop(done, total, unit, **metrics):
        if unit == "step":
            seen.append(done)
            if len(seen) == step:
                raise StopError

    return stop


@pytest.mark.parametrize("damaged", [False, True])
def test_a_training_stopped_within_an_epoch_sees_no_image_of_it_twice(tmp_path, damaged):
    # Three steps an epoch and a checkpoint after each: stopped in the last step of epoch 2.
    straight = train(Workspace(tmp_path / "straight"))
    place, seen = tmp_path / "stopped", []
    with pytest.raises(StopError):
        train(Workspace(place, stopped_at(6, seen)), checkpoint_steps=1)
    newest = place / "checkpoint-000001-000002.safetensors"
    assert newest.exists()
    if damaged:
        newest.write_bytes(newest.read_bytes()[:100])
    again = []
    resumed = train(Workspace(place, stopped_at(99, again)), checkpoint_steps=1)
    assert again[0] == (2 if damaged else 3)
    for (name, a), b in zip(
        straight.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    files = [(tmp_path / run / "metrics.jsonl").read_bytes() for run in ("straight", "stopped")]
    assert files[0] == files[1]


def test_checkpoints_within_an_epoch_leave_those_of_whole_epochs(tmp_path):
    with pytest.raises(StopError):
        train(Workspace(tmp_path, stopped_at(9, [])), checkpoint_steps=1)
    kept = sorted(path.stem for path in tmp_path.glob("checkpoint-*"))
    assert kept == [
        "checkpoint-000001",
        "checkpoint-000002",
        "checkpoint-000002-000001",
        "checkpoint-000002-000002",
    ]


def test_a_training_that_another_number_of_processes_began_goes_on_from_whole_epochs(tmp_path):
    with pytest.raises(StopError):
        train(Workspace(tmp_path, stopped_at(6, [])), checkpoint_steps=1)
    path = tmp_path / "checkpoint-000001-000002.safetensors"
    state = load_checkpoint(path)
    state["state"]["within"]["randomness"] *= 2
    save_checkpoint(path, state)
    again = []
    train(Workspace(tmp_path, stopped_at(99, again)), checkpoint_steps=1)
    assert again[:3] == [1, 2, 3]


def test_gradients_of_parts_add_up_to_those_of_the_batch(tmp_path):
    # Without BatchNorm, which sees a part at a time, and without dropout.
    def train_in(name, **settings):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        return train(Workspace(tmp_path / name), epochs=2, model=model, **settings)

    whole, parts = train_in("whole"), train_in("parts", device_batch_size=3)
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)
    for one, other in zip(
        *(Workspace(tmp_path / n).rows() for n in ("whole", "parts")), strict=True
    ):
        assert one == pytest.approx(other, rel=1e-5)


def test_an_average_follows_the_weights_and_survives_a_stop(tmp_path):
    def averaged(workspace):
        model = problem()[2]
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
        train(workspace, model=model, average=average, checkpoint_steps=1)
        return model, average.module

    model, average = averaged(Workspace(tmp_path / "straight"))
    assert not torch.equal(model[0].weight, average[0].weight)
    with pytest.raises(StopError):
        averaged(Workspace(tmp_path / "stopped", stopped_at(8, [])))
    _, again = averaged(Workspace(tmp_path / "stopped"))
    for (name, a), b in zip(average.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_evaluations_are_recorded_under_their_names(tmp_path):
    evaluations = {"test": lambda: Evaluation(1.5, 0.25, 0.75)}
    train(Workspace(tmp_path), epochs=1, evaluations=evaluations)
    (row,) = Workspace(tmp_path).rows()
    assert (row["test_loss"], row["test_accuracy"], row["test_top5_accuracy"]) == (1.5, 0.25, 0.75)


def test_a_loss_that_is_not_finite_names_the_setting(tmp_path):
    with pytest.raises(PipelineError, match=r"scorer\.learning_rate"):
        train(Workspace(tmp_path), learning_rate=1e30)
