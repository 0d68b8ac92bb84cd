"""The trained classifier that stages beside a run's goal look at: its scorer, or its network."""

from typing import Literal

from torch import nn

from classification.errors import ConfigError
from classification.models.weights import load_classifier_weights
from classification.training.trainer import to_device
from evaluate.retrain import build_network
from pcdarts.genotype import Genotype
from pipeline.config import PipelineConfig
from pipeline.graph import Context
from pipeline.stages.retrain import WEIGHTS as NETWORK_WEIGHTS
from pipeline.stages.scorer import load_trained
from pipeline.stages.search import GENOTYPE

Trained = Literal["scorer", "network"]


def trained_of(config: PipelineConfig, of: Trained | None) -> Trained:
    """Which of a run's classifiers `of` asks for; the network only where a run makes one."""
    return "network" if config.goal == "network" and of != "scorer" else "scorer"


def dataset_of(trained: Trained) -> str:
    """The name of the images that it was trained on."""
    return "target" if trained == "network" else "data"


def needs_of(trained: Trained) -> tuple[str, ...]:
    """The images, and the stages that it is made by."""
    return ("target", "search", "retrain") if trained == "network" else ("data", "scorer")


def load_classifier(context: Context, trained: Trained) -> nn.Module:
    """The classifier, on the device."""
    if trained == "scorer":
        return load_trained(context)
    network = untrained_network(context)
    load_classifier_weights(network, context.input("retrain", NETWORK_WEIGHTS))
    return to_device(network, context.device)


def untrained_network(context: Context) -> nn.Module:
    """The network that the run's search found, its weights drawn anew, on the CPU."""
    genotype = Genotype.load(context.input("search", GENOTYPE))
    num_classes = context.datasets["target"].num_classes
    return build_network(genotype, context.config.retrain, num_classes)


def check_of(config: PipelineConfig, key: str, of: Trained | None) -> None:
    """Raise ConfigError, naming `key`, if it asks for a network that the run does not make."""
    if of == "network" and config.goal != "network":
        raise ConfigError(
            f"{key}: found 'network' where the goal is a {config.goal}; allowed: none, scorer"
        )
