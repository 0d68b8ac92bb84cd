"""A config whose pipeline takes seconds on a CPU, and a place in which tests run such configs."""

import json
from pathlib import Path
from typing import Any

from run_pipeline import main

TINY = """
name: tiny
data:    {kind: digits, classes: 3, images_per_class: 24}
scorer:  {model: resnet8, epochs: 2, batch_size: 16, mixing: {kind: dcutmix, num_images: 3}}
scores:  {draws: 4}
subset:  {measure: cv, fraction: 0.5}
search:  {epochs: 2, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 16}
retrain: {network: cifar, channels: 4, cells: 3, epochs: 2, batch_size: 32}
"""


class Place:
    """A folder for a config, its runs and their artifacts."""

    def __init__(self, folder: Path, config: str = TINY) -> None:
        self.folder, self.config = folder, folder / "tiny.yaml"
        self.config.write_text(config)
        self.places = ["--artifacts", str(folder / "artifacts"), "--runs", str(folder / "runs")]

    def run(
        self, *overrides: str, name: str | None = "tiny", options: Any = (), command: str = "run"
    ) -> int:
        settings = [part for override in overrides for part in ("--set", override)]
        named = [] if name is None else ["--name", name]
        arguments = [command, str(self.config), *named, *settings, *options]
        return main([*arguments, *self.places, "--device", "cpu"])

    def read(self, path: str) -> str:
        """A file below the folder of runs."""
        return (self.folder / "runs" / path).read_text()

    def results(self, name: str = "tiny") -> Any:
        return json.loads(self.read(f"{name}/report/results.json"))

    def report(self, name: str = "tiny") -> str:
        return self.read(f"{name}/report/report.md")

    def artifact(self, stage: str, name: str = "tiny") -> Path:
        key = json.loads(self.read(f"{name}/manifest.json"))["stages"][stage]
        return self.folder / "artifacts" / stage / key
