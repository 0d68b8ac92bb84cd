"""The `config` command."""

import json
import sys
from typing import Annotated

import typer

from pipeline.commands.options import ConfigPath, Overrides
from pipeline.config import PipelineConfig, dump_config, load_config


def config(
    config: ConfigPath,
    set_: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="the JSON schema, for editors")] = False,
) -> None:
    """Print the resolved config.

    Defaults, base files and overrides applied.

    \b
    Example:
      python run_pipeline.py config configs/quickstart.yaml --set search.epochs=10
    """
    resolved = load_config(config, set_ or [])
    if schema:
        print(json.dumps(PipelineConfig.model_json_schema(), indent=1))
    else:
        sys.stdout.write(dump_config(resolved))
