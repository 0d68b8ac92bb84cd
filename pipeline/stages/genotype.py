"""Genotype: one that is given, in place of the search; and which genotype a run retrains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from classification.settings import WITHOUT_EFFECT
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.search import GENOTYPE
from pipeline.store.store import file_digest

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset
    from pcdarts.genotype import Genotype


class GivenGenotype(StageSettings):
    """A published genotype, identified by its name, or a file, by its digest."""

    identity: str
    genotype: str = Field(json_schema_extra=WITHOUT_EFFECT)


def run(context: Context[GivenGenotype]) -> None:
    """→ genotype.json."""
    from pcdarts.genotype_files import find_genotype  # slow to import

    find_genotype(context.settings.genotype).save(context.workspace.path(GENOTYPE))


def settings(config: PipelineConfig) -> GivenGenotype:
    """Return the settings of the stage."""
    given = str(config.genotype)
    path = Path(given)
    return GivenGenotype(identity=file_digest(path) if path.is_file() else given, genotype=given)


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject what is neither a published name nor a genotype of this search space."""
    from pcdarts.genotype_files import find_genotype  # slow to import

    find_genotype(str(config.genotype))


def genotype_stage(config: PipelineConfig) -> str:
    """Return the stage whose genotype a run retrains."""
    if config.genotype is not None:
        return "genotype"
    return "search" if config.contest is None else "contest"


def load_genotype(context: Context[Any]) -> Genotype:
    """Read the genotype to retrain: the contest's winner, the given one, or the only search's."""
    from pcdarts.genotype import Genotype

    stages = ("contest", "genotype", "search")
    stage = next(name for name in stages if name in context.inputs)
    return Genotype.load(context.input(stage, GENOTYPE))


STAGE = Stage("genotype", 1, lambda config: (), settings, check, run)
