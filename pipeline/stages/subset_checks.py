"""What the stages that train on a subset alone, probe and ranking, could not do."""

import torch

from classification.acceleration import check_acceleration
from classification.config import SUPERNET
from classification.data.datasets import ImageDataset
from classification.errors import ConfigError
from classification.models import smallest_classifier_input
from evaluate.fidelity import check_fidelity
from pipeline.config import PipelineConfig
from subsample.selection import select


def check_subset_goals(config: PipelineConfig, data: ImageDataset, device: torch.device) -> None:
    """Raise ConfigError, naming the key, for a subset or ranking that could not be trained.

    Other goals pass.
    """
    if config.goal not in ("subset", "ranking"):
        return
    if config.subset.needs_scores or config.subset.needs_baseline:
        data.in_memory()
    if config.goal == "subset":
        _check_probe(config, data, device)
    else:
        check_fidelity(config.fidelity, data, num_kept(config, data))


def num_kept(config: PipelineConfig, data: ImageDataset) -> int:
    """How many images the subset will have: whatever the measure, as many as by chance."""
    by_chance = config.subset.model_copy(update={"measure": "random"})
    return len(select(data.train.labels.numpy(), by_chance, None, config.seed))


def _check_probe(config: PipelineConfig, data: ImageDataset, device: torch.device) -> None:
    probe = config.probed
    if config.probe is None and (probe.weights is not None or probe.model == SUPERNET):
        found = "is loaded" if probe.weights is not None else "is a supernet"
        raise ConfigError(
            f"probe: missing, and the scorer {found}, so it does not say what to train on the "
            "subset; allowed: e.g. {model: resnet9, epochs: 15, schedule: one_cycle}"
        )
    if probe.weights is not None:
        raise ConfigError(
            f"probe.weights: found {str(probe.weights)!r}, which leaves nothing to train; allowed: "
            "none"
        )
    if probe.model == SUPERNET:
        raise ConfigError("probe.model: found 'supernet'; allowed: a classifier")
    if probe.record_losses:
        raise ConfigError("probe.record_losses: found true, which nothing reads; allowed: false")
    check_acceleration("probe", probe.precision, probe.cuda_graph, device)
    probe.mixing.check()
    smallest = smallest_classifier_input(probe.model)
    if data.image_size < smallest:
        raise ConfigError(
            f"data.image_size: {data.image_size} is too small for probe.model {probe.model}; "
            f"allowed: at least {smallest}"
        )
    kept = num_kept(config, data)
    if kept < probe.batch_size:
        whose = "" if config.probe else " (scorer.batch_size, as there is no probe)"
        raise ConfigError(
            f"probe.batch_size: {probe.batch_size}{whose} exceeds the {kept} images that the "
            "subset keeps; allowed: at most that many"
        )
