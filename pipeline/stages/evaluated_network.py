"""The classifier evaluated by robustness and landscape: the scorer or the found network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from classification.errors import ConfigError
from evaluate.retrain_config import RetrainConfig
from pipeline.config import PipelineConfig
from pipeline.graph import Context, StageSettings
from pipeline.stages.retrain import WEIGHTS as NETWORK_WEIGHTS
from pipeline.stages.retrain import retrained_network
from pipeline.stages.scorer import ScorerNetwork

if TYPE_CHECKING:
    from torch import nn

Of = Literal["scorer", "network"]


class EvaluatedNetwork(StageSettings):
    """The evaluated classifier of a run: the field that is not None."""

    scorer: ScorerNetwork | None
    retrain: RetrainConfig | None

    @classmethod
    def choose(cls, config: PipelineConfig, of: Of | None) -> EvaluatedNetwork:
        """Return the classifier requested by `of`; None: the network if a run makes one."""
        if config.goal == "network" and of != "scorer":
            return cls(scorer=None, retrain=config.retrain)
        return cls(scorer=ScorerNetwork.of(config), retrain=None)

    @property
    def of(self) -> Of:
        """Which classifier it is: scorer or network."""
        return "network" if self.scorer is None else "scorer"

    @property
    def architecture(self) -> str:
        """The scorer's model, or "network"."""
        return "network" if self.scorer is None else self.scorer.model

    @property
    def dataset(self) -> str:
        """The name of its training dataset."""
        return "target" if self.scorer is None else "data"

    @property
    def needs(self) -> tuple[str, ...]:
        """Its dataset and the stages that make it."""
        return ("target", "retrain") if self.scorer is None else ("data", "scorer")

    def load(self, context: Context[Any]) -> nn.Module:
        """Load the trained classifier on the device."""
        from classification.models.weights import load_classifier_weights  # slow to import
        from classification.training.trainer import to_device

        if self.scorer is not None:
            return self.scorer.load(context)
        network = self.build(context)
        load_classifier_weights(network, context.input("retrain", NETWORK_WEIGHTS))
        return to_device(network, context.device)

    def build(self, context: Context[Any]) -> nn.Module:
        """Build a classifier of its architecture with random weights, on the CPU."""
        from evaluate.retrain import build_network

        num_classes = context.datasets[self.dataset].num_classes
        if self.scorer is not None:
            return self.scorer.build(num_classes)
        assert self.retrain is not None  # one of the two is given
        genotype, config = retrained_network(self.retrain, context.inputs["retrain"])
        return build_network(genotype, config, num_classes)


def check_evaluated_network(config: PipelineConfig, key: str, of: Of | None) -> None:
    """Raise ConfigError, naming `key`, if it requests a network that the run does not make."""
    if of == "network" and config.goal != "network":
        raise ConfigError(f"{key}: found 'network' with goal {config.goal}; allowed: none, scorer")
