"""A run that nobody stopped, to compare with."""

import pytest

from tests.faults.command_line import CommandLine

CONFIG = """
name: tiny
data:    {kind: digits, classes: 2, images_per_class: 16}
scorer:  {model: resnet8, epochs: 4, batch_size: 16, mixing: {kind: dcutmix, num_images: 3}}
scores:  {draws: 4}
subset:  {measure: cv, fraction: 0.5}
search:  {epochs: 4, warmup_epochs: 2, channels: 4, cells: 3, batch_size: 8}
retrain: {network: cifar, channels: 4, cells: 3, epochs: 4, batch_size: 16}
"""


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="session")
def reference(tmp_path_factory, config):
    """The command line after an uninterrupted run."""
    command = CommandLine(tmp_path_factory.mktemp("reference"), config)
    command.finish()
    return command
