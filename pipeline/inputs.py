"""The datasets of a config, and the checks before anything runs."""

from collections.abc import Callable, Sequence

import torch

from classification.data.datasets import DataConfig, ImageDataset, load_dataset
from pipeline.config import PipelineConfig
from pipeline.graph import build_graph, stage_order
from pipeline.stages import STAGES

_OF_SCORER = ("scores", "baseline")  # stages that use what the scorer's training recorded


def load_datasets(
    config: PipelineConfig, load: Callable[[DataConfig, str], ImageDataset] = load_dataset
) -> dict[str, ImageDataset]:
    """Data, and the target where a stage reads it, by `load`; read once if they are the same.

    Where no stage reads `data`, because the genotype is given, the target takes its place.
    """
    graph = build_graph(STAGES, config)
    if "data" not in graph:
        target = load(config.target, "target")
        return {"data": target, "target": target}
    data = load(config.data, "data")
    if "target" not in graph:
        return {"data": data}
    same = config.target == config.data
    return {"data": data, "target": data if same else load(config.target, "target")}


def check_inputs(
    config: PipelineConfig,
    datasets: dict[str, ImageDataset],
    device: torch.device,
    stages: Sequence[str] | None = None,
) -> None:
    """Refuse, before anything starts, what one of the stages, by default all of the config's, could
    not do.

    With the scorer, the stages that use it are checked too: what it has not recorded cannot be had
    without training it again.
    """
    order = stage_order(build_graph(STAGES, config), STAGES)
    for name in order:
        of_scorer = name in _OF_SCORER and stages is not None and "scorer" in stages
        if stages is None or name in stages or of_scorer:
            STAGES[name].check(config, datasets, device)
