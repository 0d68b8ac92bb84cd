import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from classification.acceleration import ReplayedStep
from classification.data.loaders import ImageSet
from classification.data.strata import split_halves
from classification.data.transforms import Augmentation, Normalization
from classification.errors import PipelineError
from classification.persistence.workspace import METRICS, Workspace, read_metrics
from pcdarts.genotype import Genotype
from pcdarts.search import halve, search
from pcdarts.search_config import SearchConfig

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "epochs": 4,
    "warmup_epochs": 1,
    "channels": 4,
    "cells": 3,
    "batch_size": 8,
    "architecture_learning_rate": 0.1,  # so that two epochs change the genotype
}


class _KilledError(Exception):
    pass


def _search(
    directory: Path, kill_after: int | None = None, kill_at_step: int | None = None, **changes: Any
) -> Genotype:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (27, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(27) % 3
    augmentation = Augmentation(Normalization.of(images), crop_padding=1)

    def progress(done: int, total: int, unit: str, **metrics: float) -> None:
        # In the middle of the epoch after the last one that is saved.
        if kill_after is not None and unit == "epoch" and done == kill_after:
            killing.append(done)
        elif killing and unit == "step":
            raise _KilledError
        elif unit == "step":
            steps.append(done)
            if len(steps) == kill_at_step:
                raise _KilledError

    killing: list[int] = []
    steps: list[int] = []  # of this call
    workspace = Workspace(directory, progress)
    config = SearchConfig(**SMALL | changes)
    parts = halve(ImageSet(images, labels), 7)
    return search(parts, 3, augmentation, config, 7, workspace, CPU)


def _digest(directory: Path) -> str:
    """Of the last state: weights, α, β, BatchNorm's statistics and both optimizers."""
    with safe_open(directory / "checkpoint-000004.safetensors", framework="pt") as file:
        return file.metadata()["sha256"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Genotype, Path]:
    directory = tmp_path_factory.mktemp("search")
    return _search(directory), directory


def test_a_killed_search_resumes_bit_for_bit(
    uninterrupted: tuple[Genotype, Path], tmp_path: Path
) -> None:
    genotype, directory = uninterrupted
    with pytest.raises(_KilledError):
        _search(tmp_path, kill_after=2)
    assert _search(tmp_path) == genotype
    assert (tmp_path / METRICS).read_bytes() == (directory / METRICS).read_bytes()
    assert _digest(tmp_path) == _digest(directory)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_search_killed_within_every_epoch_ends_in_the_same_bytes(
    steps: int, tmp_path: Path
) -> None:
    """Four steps an epoch on three architecture batches, first in the warm-up, then after it."""
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 4}
    genotype = _search(tmp_path / "straight", **settings)
    kills = 0
    while True:
        try:
            # Killed before the last of these steps could be saved.
            resumed = _search(
                tmp_path / "killed", kill_at_step=steps + 1, checkpoint_steps=steps, **settings
            )
            break
        except _KilledError:
            kills += 1
    assert kills == {1: 7, 3: 3}[steps]
    assert resumed == genotype
    for name in (METRICS, "checkpoint-000001.safetensors", "checkpoint-000002.safetensors"):
        one, other = (tmp_path / run / name for run in ("straight", "killed"))
        assert one.read_bytes() == other.read_bytes()


class CallAgain:
    """Stands in for a CUDA device: replays a captured step by calling it on the captured places."""

    def run(self, step: Any, inputs: Any) -> None:
        step(*inputs)

    def capture(self, step: Any, inputs: Any) -> Any:
        return lambda: step(*inputs)


def test_replayed_steps_lead_to_the_same_bits(
    uninterrupted: tuple[Genotype, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches of the weight half and two of the other an epoch, the last ones smaller."""
    made: list[ReplayedStep] = []

    def replayed(steps: Any, *_: Any) -> Any:
        made.extend(ReplayedStep(step, CallAgain(), print) for step in steps)
        return made

    monkeypatch.setattr("pcdarts.search.replayed", replayed)
    monkeypatch.setattr("classification.acceleration._PLAIN_CALLS", 1)
    genotype, directory = uninterrupted
    assert _search(tmp_path) == genotype
    assert _digest(tmp_path) == _digest(directory)
    assert [len(step._graphs) for step in made] == [2, 2]


def test_a_finished_search_returns_its_genotype_again(
    uninterrupted: tuple[Genotype, Path],
) -> None:
    genotype, directory = uninterrupted
    before = (directory / METRICS).read_bytes()
    assert _search(directory) == genotype
    assert (directory / METRICS).read_bytes() == before


def test_the_genotype_is_that_after_the_last_update(uninterrupted: tuple[Genotype, Path]) -> None:
    genotype, directory = uninterrupted
    assert Genotype.from_dict(read_metrics(directory)[-1]["genotype"]) == genotype


def test_alpha_and_beta_stand_still_in_the_warmup_only(
    uninterrupted: tuple[Genotype, Path],
) -> None:
    rows = read_metrics(uninterrupted[1])
    assert [row["warmup"] for row in rows] == [True, False, False, False]
    assert [row["architecture_loss"] is None for row in rows] == [True, False, False, False]
    start = torch.tensor(rows[0]["alphas"]["normal"])
    assert start.abs().max() < 0.01
    moved = (torch.tensor(rows[1]["alphas"]["normal"]) - start).abs()
    assert moved.min() > 0
    assert rows[2]["betas"] != rows[1]["betas"]


def test_rows_are_plain_json_with_what_the_report_needs(
    uninterrupted: tuple[Genotype, Path],
) -> None:
    row = read_metrics(uninterrupted[1])[0]
    assert row["entropy"]["reduce"]["alphas"] == pytest.approx(math.log(8), abs=1e-4)
    assert row["skip_connections"].keys() == {"normal", "reduce"}
    assert row["warnings"] == []
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_progress_is_told_of_every_epoch_and_step(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    images, labels = torch.zeros(16, 3, 8, 8, dtype=torch.uint8), torch.arange(16) % 2
    augmentation = Augmentation(Normalization((0.5,) * 3, (0.5,) * 3), crop_padding=1)
    config = SearchConfig(**SMALL | {"epochs": 1, "warmup_epochs": 0, "batch_size": 4})
    workspace = Workspace(tmp_path, lambda done, total, unit, **_: seen.append((done, total, unit)))
    search(halve(ImageSet(images, labels), 0), 2, augmentation, config, 0, workspace, CPU)
    assert seen == [(1, 2, "step"), (2, 2, "step"), (1, 1, "epoch")]


def test_a_diverging_search_stops_with_its_epoch(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"search\.learning_rate: .* in epoch 1 at 1e\+38"):
        _search(tmp_path, learning_rate=1e38)


def test_halves_are_equal_in_size_and_in_every_class() -> None:
    labels = torch.tensor([0] * 7 + [1] * 5 + [2] * 4 + [3] * 9)
    halves = split_halves(labels, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(halves).tolist()) == list(range(25))
    assert [len(half) for half in halves] == [13, 12]
    first, second = (torch.bincount(labels[half]) for half in halves)
    assert first.tolist() == [4, 2, 2, 5]  # the spare images of odd classes go in turn
    assert second.tolist() == [3, 3, 2, 4]


def test_halves_are_shuffled_and_follow_from_the_generator() -> None:
    labels = torch.arange(200) // 20
    first, _ = split_halves(labels, torch.Generator().manual_seed(0))
    again, _ = split_halves(labels, torch.Generator().manual_seed(0))
    other, _ = split_halves(labels, torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    assert set(first.tolist()) != set(other.tolist())
    assert len(labels[first[:20]].unique()) > 5


def test_lists_of_their_own_need_not_be_equal(tmp_path: Path) -> None:
    """An epoch is one pass over the weights' images, whatever the others are."""
    images = ImageSet(torch.zeros(24, 3, 8, 8, dtype=torch.uint8), torch.arange(24) % 2)
    parts = images.take(torch.arange(18)), images.take(torch.arange(18, 24))
    augmentation = Augmentation(Normalization((0.5,) * 3, (0.5,) * 3), crop_padding=1)
    config = SearchConfig(**SMALL | {"epochs": 1, "warmup_epochs": 0, "batch_size": 6})
    steps: list[int] = []

    def progress(done: int, total: int, unit: str, **_: float) -> None:
        steps.extend([total] if unit == "step" else [])

    search(parts, 2, augmentation, config, 0, Workspace(tmp_path, progress), CPU)
    assert steps == [3, 3, 3]
