"""How a stage of a study is made, in whatever process: what went wrong comes back as a line."""

from functools import cache
from pathlib import Path

import torch

from classification.datasets import DataConfig, ImageDataset, load_dataset
from classification.errors import InterruptedRunError, PipelineError
from pipeline.config import PipelineConfig
from pipeline.console import Console
from pipeline.inputs import load_datasets
from pipeline.runner import Runner, Selection
from pipeline.stages import STAGES
from pipeline.store.store import Store
from pipeline.studies.tasks import Task


@cache
def load_once(config: DataConfig, key: str) -> ImageDataset:
    """The images of a config, read once a process: cells of a study share them."""
    return load_dataset(config, key)


def datasets_of(config: PipelineConfig) -> dict[str, ImageDataset]:
    """What a cell's stages read."""
    return load_datasets(config, load_once)


def make(task: Task, device: str, artifacts: Path, console: Console) -> str | None:
    """Make a task's stage. Returns what went wrong, in a line, or None.

    Raises InterruptedRunError when the person stops it; anything else ends this task alone.
    """
    try:
        runner = Runner(
            STAGES,
            task.config,
            datasets_of(task.config),
            Store(artifacts),
            torch.device(device),
            console,
        )
        runner.run(Selection(only=task.stage))
    except InterruptedRunError:
        raise
    except PipelineError as error:
        return in_a_line(error)
    except Exception as error:  # a bug, or a device that failed, must not end the other cells
        return f"{type(error).__name__}: {in_a_line(error)}"
    return None


def in_a_line(error: BaseException) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())
