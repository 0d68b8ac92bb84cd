"""Exports a network as a folder for the Hugging Face Hub: timm's files, and a full model card.

With `hf-hub:` and `local-dir:` timm builds only registered architectures, and a found network is
none of timm's. So the folder contains the module that registers it, which is imported first.
"""

import shlex
from pathlib import Path

from evaluate.figures.style import save_figure
from pcdarts.drawing import describe_genotype, draw_genotype
from pcdarts.genotype import Genotype
from pipeline.exports.card import README, write_card
from pipeline.exports.network import CONFIG, trained_network
from pipeline.exports.recorded_run import RecordedRun
from pipeline.exports.timm import files_of as files_of_timm
from pipeline.exports.timm import model_name, write_model

CELLS = "cells.png"
ACCOUNT = "YOU"
"""Stands for the user's account in the card and in the command."""


def files_of(run: str) -> tuple[str, ...]:
    """Return the names of the files in the folder."""
    return *files_of_timm(run), CELLS


def write_hub(run: RecordedRun, folder: Path) -> None:
    """Write timm's files, a picture of the cells if a search found them, and the model card."""
    trained = trained_network(run)
    write_model(run, trained, folder)
    words = ""
    if trained.config.genotype is not None:
        genotype = Genotype.from_dict(trained.config.genotype, CONFIG)
        save_figure(draw_genotype(genotype), folder / CELLS)
        words = describe_genotype(genotype)
    name = run.config.name
    values = {
        "model": model_name(name),
        "repository": f"{ACCOUNT}/{name}",
        "cells": words and CELLS,
        "words": words,
        "kind": getattr(run.config, "target" if trained.stage == "retrain" else "data").kind,
    }
    write_card(run, trained, folder, "hub", values)


def upload_command(run: str, folder: Path) -> str:
    """Return a line that tells how to publish the folder; this program uploads nothing."""
    return (
        f"to publish it, choose a licence in {folder / README}, then: "
        f"hf upload {ACCOUNT}/{run} {shlex.quote(str(folder))} . --exclude '*.pyc'"
    )
