"""Learning curves of a run's stages, and why training losses can be above the others."""

from collections.abc import Mapping
from pathlib import Path

from classification.data.datasets import ImageDataset
from classification.persistence.workspace import read_metrics
from evaluate.figures.training import learning_curves
from pipeline.config import PipelineConfig
from pipeline.reports.picture import Picture
from pipeline.store.store import Artifact

_CURVES = {
    "scorer": "Scorer: training with image mixing",
    "search": "Search: supernet weights and architecture",
    "retrain": "Retraining the found network",
}


def explain_losses(
    config: PipelineConfig, artifacts: Mapping[str, Artifact], evaluated: str
) -> str:
    """Return why training losses can be above those of the images that are `evaluated`."""
    trained = [name for name in ("scorer", "retrain") if name in artifacts]
    mixed = [name for name in trained if getattr(config, name).mixing.kind != "none"]
    weight = config.retrain.auxiliary_weight
    also = f" ({' and '.join(mixed)}: also mixed)" if mixed else ""
    head = f", that of retrain with {weight:g} × the auxiliary head's loss added" if weight else ""
    return (
        f"Training losses are of augmented images{also}{head}; {evaluated} losses are of "
        "unmodified images without this, so they can be lower."
    )


def draw_curves(
    folder: Path,
    config: PipelineConfig,
    artifacts: Mapping[str, Artifact],
    datasets: Mapping[str, ImageDataset],
) -> list[Picture]:
    """Draw the learning curves of the stages that train in epochs."""
    weights = {"retrain": config.retrain.auxiliary_weight}
    rows = {name: read_metrics(artifacts[name].path) for name in _CURVES if name in artifacts}
    return [
        Picture.save(
            folder,
            name,
            learning_curves(
                each,
                _CURVES[name],
                weights.get(name, 0.0),
                datasets["target" if name == "retrain" else "data"].evaluated,
            ),
            _CURVES[name],
        )
        for name, each in rows.items()
        if each
    ]
