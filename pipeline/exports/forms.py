"""The export forms by name: the stage that each needs, and the files that it writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import PipelineConfig
from pipeline.exports import genotype, hub, onnx, subset, timm
from pipeline.exports.card import README, write_card
from pipeline.exports.network import (
    CONFIG,
    WEIGHTS,
    NetworkConfig,
    network_stage,
    save_network,
    trained_network,
)
from pipeline.exports.recorded_run import RecordedRun
from pipeline.stages.genotype import genotype_stage


@dataclass(frozen=True)
class Form:
    """`stage` returns the stage that a run must have finished, None if its config has none.

    `files` returns the names in the folder that `write` creates, given the run's name; it is None
    if `write` creates a file, whose name ends in `suffix`. `packages` come with an extra. `advice`
    returns a line about the output, given the run's name.
    """

    stage: Callable[[PipelineConfig], str | None]
    write: Callable[[RecordedRun, Path], None]
    files: Callable[[str], Sequence[str]] | None
    suffix: str = ""
    packages: tuple[str, ...] = ()
    advice: Callable[[str, Path], str] | None = None


def write_safetensors(run: RecordedRun, folder: Path) -> None:
    """Write model.safetensors, config.json and README.md, the model card."""
    trained = trained_network(run)
    folder.mkdir()
    save_network(trained, folder)
    (folder / CONFIG).write_text(trained.config.to_json(), encoding="utf-8")
    keys = {
        key: field.description
        for key, field in NetworkConfig.model_fields.items()
        if getattr(trained.config, key) is not None
    }
    write_card(run, trained, folder, "safetensors", {"keys": keys})


FORMS = {
    "subset": Form(lambda _: "subset", subset.write_subset, lambda _: subset.FILES),
    "genotype": Form(genotype_stage, genotype.write_genotype, lambda _: genotype.FILES),
    "onnx": Form(network_stage, onnx.write_onnx, None, onnx.SUFFIX, onnx.PACKAGES),
    "safetensors": Form(network_stage, write_safetensors, lambda _: (WEIGHTS, CONFIG, README)),
    "timm": Form(network_stage, timm.write_timm, timm.files_of),
    "hub": Form(network_stage, hub.write_hub, hub.files_of, advice=hub.upload_command),
}
