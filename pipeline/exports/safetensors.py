"""A network's weights as safetensors, with what builds it again and what is known of it."""

from pathlib import Path

from pipeline.exports.card import README, write_card
from pipeline.exports.network import CONFIG, WEIGHTS, NetworkConfig, save_network, trained_network
from pipeline.exports.recorded_run import RecordedRun

FILES = (WEIGHTS, CONFIG, README)


def write_safetensors(run: RecordedRun, folder: Path) -> None:
    """model.safetensors, config.json and README.md, the model card."""
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
