from pathlib import Path
from typing import Any

import pytest
import torch

from classification.data.datasets import DataConfig, ImageDataset, load_dataset
from classification.errors import ArtifactError, ConfigError, PipelineError
from classification.mixing import MixingConfig
from classification.models.weights import save_classifier_weights
from classification.persistence.checkpoint import State, load_checkpoint, save_checkpoint
from classification.persistence.workspace import METRICS, Workspace, read_metrics
from pcdarts.genotype import Genotype
from pcdarts.search import build_supernet, halve, search
from pcdarts.search_config import SearchConfig
from pcdarts.supernet import Supernet
from pcdarts.warm_up import check_warm_up, load_supernet, warm_up

SMALL = SearchConfig(epochs=4, warmup_epochs=2, channels=4, cells=3, batch_size=8)
CPU = torch.device("cpu")


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset(DataConfig(kind="digits", classes=3, images_per_class=9))


def _workspace(folder: Path, stop_after: int | None = None) -> Workspace:
    """Stops in the epoch after `stop_after`."""
    stopped: list[int] = []

    def progress(done: int, total: int, unit: str, **metrics: float) -> None:
        if stopped:
            raise StopError
        if unit == "epoch" and done == stop_after:
            stopped.append(done)

    return Workspace(folder, progress)


def _warm_up(
    digits: ImageDataset, folder: Path, stop_after: int | None = None, **changes: Any
) -> tuple[Supernet, State]:
    config = SMALL.model_copy(update=changes)
    mixing = MixingConfig(kind="dcutmix", num_images=3)
    workspace = _workspace(folder, stop_after)
    return warm_up(digits, config, mixing, 0.1, "auto", seed=3, device=CPU, workspace=workspace)


def _search(
    digits: ImageDataset, folder: Path, start: State | None, stop_after: int | None = None
) -> Genotype:
    return search(
        halve(digits.train.take(torch.arange(0, 27)), 3),
        3,
        digits.augmentation(),
        SMALL,
        3,
        _workspace(folder, stop_after),
        CPU,
        start,
    )


@pytest.fixture(scope="module")
def warmed(
    digits: ImageDataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Supernet, State, Path]:
    folder = tmp_path_factory.mktemp("warm-up")
    return *_warm_up(digits, folder), folder


def test_the_warm_up_moves_the_weights_and_neither_alphas_nor_betas(
    warmed: tuple[Supernet, State, Path],
) -> None:
    model, _, folder = warmed
    fresh = build_supernet(3, SMALL, 3)
    pairs = zip(model.architecture_parameters(), fresh.architecture_parameters(), strict=True)
    for now, before in pairs:
        assert torch.equal(now, before)
        assert now.grad is None
        assert now.requires_grad
    assert not torch.equal(model.classifier.weight, fresh.classifier.weight)
    rates = [row["learning_rate"] for row in read_metrics(folder)]
    assert rates == pytest.approx([0.1, 0.1 * 0.853553])  # cosine over the search's four epochs


def test_a_killed_warm_up_ends_in_the_same_state(
    digits: ImageDataset, warmed: tuple[Supernet, State, Path], tmp_path: Path
) -> None:
    with pytest.raises(StopError):
        _warm_up(digits, tmp_path, stop_after=1)
    _, state = _warm_up(digits, tmp_path)
    save_checkpoint(tmp_path / "resumed", state)
    save_checkpoint(tmp_path / "whole", warmed[1])
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_gradient_mixers_serve_a_supernet(digits: ImageDataset, tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"warmup_epochs": 1})
    fresh = build_supernet(3, config, 3)
    model, _ = warm_up(
        digits,
        config,
        MixingConfig(kind="puzzlemix"),
        0.0,
        "off",
        seed=3,
        device=CPU,
        workspace=Workspace(tmp_path),
    )
    assert torch.equal(model.alphas_normal, fresh.alphas_normal)


def test_a_warm_up_that_diverges_names_the_searchs_rate(
    digits: ImageDataset, tmp_path: Path
) -> None:
    with pytest.raises(PipelineError, match=r"search\.learning_rate: the loss is"):
        _warm_up(digits, tmp_path, learning_rate=1e38)


def test_a_search_goes_on_from_the_warm_ups_state(
    digits: ImageDataset,
    warmed: tuple[Supernet, State, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights, momenta, α and β, and the learning rate are those after two of four epochs."""
    seen: dict[str, Any] = {}

    def look(steps: Any, *_: Any) -> Any:
        seen["model"] = {key: value.clone() for key, value in steps.model.state_dict().items()}
        seen["optimizer"] = steps.optimizer
        seen["momentum"] = next(iter(steps.optimizer.state.values()))["momentum_buffer"].clone()
        raise StopError

    monkeypatch.setattr("pcdarts.search._train_epoch", look)
    with pytest.raises(StopError):
        _search(digits, tmp_path, warmed[1])
    for name, value in warmed[1]["model"].items():
        assert torch.equal(seen["model"][name], value), name
    assert torch.equal(seen["momentum"], warmed[1]["optimizer"]["state"][0]["momentum_buffer"])
    assert seen["optimizer"].param_groups[0]["lr"].item() == pytest.approx(0.05)


def test_its_rows_begin_after_the_warm_up_and_all_move_alphas(
    digits: ImageDataset, warmed: tuple[Supernet, State, Path], tmp_path: Path
) -> None:
    _search(digits, tmp_path, warmed[1])
    rows = read_metrics(tmp_path)
    assert [row["epoch"] for row in rows] == [3, 4]
    assert not any(row["warmup"] for row in rows)
    fresh = build_supernet(3, SMALL, 3)
    assert torch.tensor(rows[0]["alphas"]["normal"]).ne(fresh.alphas_normal).all()


def test_a_killed_search_from_a_warm_start_ends_in_the_same_bytes(
    digits: ImageDataset, warmed: tuple[Supernet, State, Path], tmp_path: Path
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    genotype = _search(digits, whole, warmed[1])
    with pytest.raises(StopError):
        _search(digits, part, warmed[1], stop_after=1)
    assert _search(digits, part, warmed[1]) == genotype
    for name in (METRICS, "checkpoint-000002.safetensors"):
        assert (part / name).read_bytes() == (whole / name).read_bytes()


def test_a_search_from_a_warm_start_resumes_within_its_first_epoch(
    digits: ImageDataset, warmed: tuple[Supernet, State, Path], tmp_path: Path
) -> None:
    steps: list[int] = []

    def stop_at_the_second(done: int, total: int, unit: str, **metrics: float) -> None:
        steps.append(done)
        if len(steps) == 2:
            raise StopError

    parts = halve(digits.train.take(torch.arange(0, 27)), 3)
    config = SMALL.model_copy(update={"checkpoint_steps": 1})
    settings = (parts, 3, digits.augmentation(), config, 3)
    straight = search(*settings, Workspace(tmp_path / "straight"), CPU, warmed[1])
    stopped = Workspace(tmp_path / "stopped", stop_at_the_second)
    with pytest.raises(StopError):
        search(*settings, stopped, CPU, warmed[1])
    assert search(*settings, stopped, CPU, warmed[1]) == straight
    assert steps[:3] == [1, 2, 2]  # the first step is not done again
    for name in (METRICS, "checkpoint-000002.safetensors"):
        one, other = (tmp_path / run / name for run in ("straight", "stopped"))
        assert one.read_bytes() == other.read_bytes()


def test_the_start_survives_its_file(
    digits: ImageDataset, warmed: tuple[Supernet, State, Path], tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "start", warmed[1])
    for name, start in (("a", warmed[1]), ("b", load_checkpoint(tmp_path / "start"))):
        _search(digits, tmp_path / name, start)
    assert (tmp_path / "a" / METRICS).read_bytes() == (tmp_path / "b" / METRICS).read_bytes()


def test_a_saved_supernet_loads_to_the_same_logits(
    digits: ImageDataset, warmed: tuple[Supernet, State, Path], tmp_path: Path
) -> None:
    save_classifier_weights(warmed[0], tmp_path / "s.safetensors")
    loaded = load_supernet(SMALL, 3, tmp_path / "s.safetensors")
    images = digits.normalization(digits.in_memory().images[:8])
    assert torch.allclose(warmed[0].eval()(images), loaded.eval()(images), atol=1e-5)
    with pytest.raises(ArtifactError, match="3 classes"):
        load_supernet(SMALL, 4, tmp_path / "s.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_epochs": 0}, r"search\.warmup_epochs: found 0"),
        ({"batch_size": 28}, r"search\.batch_size: 28 exceeds the 27 training images"),
    ],
)
def test_a_warm_up_that_cannot_be_is_refused(
    digits: ImageDataset, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_warm_up(SMALL.model_copy(update=changes), digits)
    check_warm_up(SMALL, digits)
