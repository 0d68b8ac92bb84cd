"""What a reader needs to make the run again: command, config, seed, versions, devices."""

from dataclasses import dataclass
from typing import Any

from pipeline.config import PipelineConfig, dump_config
from pipeline.run_folder import RunFolder


@dataclass(frozen=True)
class Provenance:
    """`facts` are (what, value); `stages` (stage, fingerprint); `config` is YAML."""

    facts: list[tuple[str, str]]
    stages: list[tuple[str, str]]
    config: str


def provenance(folder: RunFolder, config: PipelineConfig, results: dict[str, Any]) -> Provenance:
    """Of a run, from its folder and its results."""
    manifest = folder.manifest()
    facts = [
        ("command", f"python run_pipeline.py run {folder.config_path} --name {config.name}"),
        ("seed", str(config.seed)),
        ("device of what stands", results["device"]),
        ("device of the last call", str(manifest.get("device", "not recorded"))),
        ("software", results["software"]),
        ("artifacts", str(manifest.get("artifacts", "not recorded"))),
    ]
    return Provenance(facts, list(manifest["stages"].items()), dump_config(config))
