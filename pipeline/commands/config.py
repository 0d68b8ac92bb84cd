"""The `config` command."""

import sys
from typing import Annotated

import typer

from pipeline.commands.options import ConfigPath, Json, Overrides
from pipeline.config import PipelineConfig, dump_config, load_config
from pipeline.console import print_json


def config(
    config: ConfigPath,
    set_: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="the JSON schema, for editors")] = False,
    json_: Json = False,
) -> None:
    """Print the resolved config: defaults, base files, overrides.

    \b
    Example:
      python run_pipeline.py config configs/quickstart.yaml --set search.epochs=10
    """
    resolved = load_config(config, set_ or [])
    if json_:
        print_json(resolved.model_dump(mode="json"))
    elif schema:
        print_json(PipelineConfig.model_json_schema())
    else:
        sys.stdout.write(dump_config(resolved))
