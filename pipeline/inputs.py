"""What a config's stages read, and what they could not do with it."""

from collections.abc import Callable

import torch

from classification.acceleration import check_acceleration
from classification.classifier import check_scorer
from classification.config import SUPERNET
from classification.data.datasets import DataConfig, ImageDataset, load_dataset
from classification.errors import ConfigError
from evaluate.retrain import check_retrain
from pcdarts.search_config import check_search
from pcdarts.warm_up import check_warm_up
from pipeline.config import PipelineConfig
from pipeline.graph import build_graph
from pipeline.stages import STAGES
from pipeline.stages.baseline import OF_FEATURES
from pipeline.stages.landscape import check_landscape_stage
from pipeline.stages.robustness import check_robustness
from pipeline.stages.subset_checks import check_subset_goals
from subsample.selection import check_selection, select_parts


def load_datasets(
    config: PipelineConfig, load: Callable[[DataConfig, str], ImageDataset] = load_dataset
) -> dict[str, ImageDataset]:
    """Data, and the target where a stage reads it, by `load`; read once if they are the same."""
    data = load(config.data, "data")
    if "target" not in build_graph(STAGES, config):
        return {"data": data}
    same = config.target == config.data
    return {"data": data, "target": data if same else load(config.target, "target")}


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
        if config.subset.needs_scores or config.subset.needs_baseline:
            datasets["data"].in_memory()
    if "retrain" in stages:
        check_acceleration("retrain", config.retrain.precision, "auto", device)
    if config.goal == "classifier" and scorer.weights is not None:
        raise ConfigError(
            f"scorer.weights: found {str(scorer.weights)!r}, which leaves nothing to train; "
            "allowed: none where the goal is a classifier"
        )
    if "scorer" in stages:
        check_scorer(scorer, datasets["data"])
    if scorer.model == SUPERNET and "scorer" in stages:
        _check_supernet(config, datasets["data"], device)
    if scores.source == "training" and "scores" in stages:
        _check_record(config)
    check_subset_goals(config, datasets["data"], device)
    if "search" in stages:
        _check_network(config, datasets["data"], datasets["target"])
    check_robustness(config, datasets)
    check_landscape_stage(config)


def _check_supernet(config: PipelineConfig, data: ImageDataset, device: torch.device) -> None:
    check_acceleration("search", config.search.precision, "auto", device)
    if config.goal == "classifier":
        raise ConfigError(
            "scorer.model: found 'supernet', which is no classifier to report on; allowed: a "
            "classifier where the goal is one"
        )
    if config.subset.measure in OF_FEATURES:
        raise ConfigError(
            f"subset.measure: found {config.subset.measure!r}, which looks at a classifier's last "
            "layer; allowed: any other with scorer.model supernet"
        )
    check_warm_up(config.search, data)


def _check_record(config: PipelineConfig) -> None:
    """Whether the scorer's training records what the scores are to be taken from."""
    scorer, draws = config.scorer, config.scores.draws
    if not scorer.record_losses:
        raise ConfigError(
            "scores.source: found 'training', but the scorer records no losses; allowed: pass, or "
            "scorer.record_losses true"
        )
    if scorer.trained_epochs < draws:
        raise ConfigError(
            f"scores.draws: found {draws}, but the scorer trains for {scorer.trained_epochs} "
            "epochs; allowed: at most that many with scores.source training"
        )


def _check_network(config: PipelineConfig, data: ImageDataset, target: ImageDataset) -> None:
    labels = data.train.labels
    check_selection(labels.numpy(), config.subset, data.classes)
    # Whatever the measure, it keeps as many images of each class as chance does.
    by_chance = config.subset.model_copy(update={"measure": "random"})
    kept, beside = select_parts(labels.numpy(), by_chance, None, config.seed)
    check_search(
        labels[torch.from_numpy(kept)],
        config.search,
        data.image_size,
        None if beside is None else labels[torch.from_numpy(beside)],
    )
    check_retrain(config.retrain, target)
