"""What a config's stages read, and what they could not do with it."""

import torch

from classification.acceleration import check_acceleration
from classification.classifier import check_scorer
from classification.datasets import ImageDataset, load_dataset
from classification.errors import ConfigError
from evaluate.retrain import check_retrain
from pcdarts.search import check_search
from pipeline.config import PipelineConfig
from pipeline.graph import build_graph
from pipeline.stages import STAGES
from subsample.selection import check_selection, select


def load_datasets(config: PipelineConfig) -> dict[str, ImageDataset]:
    """Data, and the target where a stage reads it; read once if they are the same."""
    data = load_dataset(config.data, "data")
    if "target" not in build_graph(STAGES, config):
        return {"data": data}
    same = config.target == config.data
    return {"data": data, "target": data if same else load_dataset(config.target, "target")}


def check_inputs(
    config: PipelineConfig, datasets: dict[str, ImageDataset], device: torch.device
) -> None:
    """Refuse, before anything starts, what one of the stages could not do."""
    scorer, scores, search = config.scorer, config.scores, config.search
    stages = build_graph(STAGES, config)
    if "scorer" in stages:
        check_acceleration("scorer", scorer.precision, scorer.cuda_graph, device)
    if "scores" in stages:
        check_acceleration("scores", scores.precision, "auto", device)
    if "search" in stages:
        check_acceleration("search", search.precision, search.cuda_graph, device)
        datasets["data"].in_memory()
    if config.goal == "classifier" and scorer.weights is not None:
        raise ConfigError(
            f"scorer.weights: found {str(scorer.weights)!r}, which leaves nothing to train; "
            "allowed: none where the goal is a classifier"
        )
    if "scorer" in stages:
        check_scorer(scorer, datasets["data"])
    if "search" in stages:
        _check_network(config, datasets["data"], datasets["target"])


def _check_network(config: PipelineConfig, data: ImageDataset, target: ImageDataset) -> None:
    labels = data.in_memory().labels.numpy()
    check_selection(labels, config.subset, data.classes)
    # Whatever the measure, it keeps as many images of each class as chance does.
    by_chance = config.subset.model_copy(update={"measure": "random"})
    kept = torch.from_numpy(select(labels, by_chance, None, config.seed))
    check_search(data.train.labels[kept], config.search, data.image_size)
    check_retrain(config.retrain, target)
