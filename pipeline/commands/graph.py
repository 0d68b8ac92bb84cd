"""The `graph` command."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import ConfigPath, Overrides
from pipeline.config import load_config
from pipeline.graph import build_graph, stage_order
from pipeline.stages import STAGES


def graph(
    config: ConfigPath,
    set_: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="also draw it: .png, .svg or .pdf")
    ] = None,
) -> None:
    """Print the stages of a config and what each needs.

    \b
    Example:
      python run_pipeline.py graph configs/quickstart.yaml -o graph.png
    """
    drawn = build_graph(STAGES, load_config(config, set_ or []))
    for stage in [*stage_order(drawn, STAGES), "report"]:
        print(f"{stage:8} ← {', '.join(sorted(drawn.predecessors(stage)))}")
    if output is not None:
        from evaluate.figures.stages import stage_graph  # slow to import
        from evaluate.figures.style import save_figure

        save_figure(stage_graph(drawn, None), output)
        print(output)
