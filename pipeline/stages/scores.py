"""Scores: the loss of every training image under M random mixes, and what it says of them."""

import json

from classification.checkpoint import write_atomically
from classification.classifier import load_scorer
from classification.trainer import place
from pipeline.graph import Context, Stage
from pipeline.stages.scorer import WEIGHTS
from subsample.reliability import reliability_warning, split_half_reliability
from subsample.uncertainty import measure_losses, summarise, write_scores_csv

LOSSES, TABLE, RELIABILITY = "losses.npy", "scores.csv", "reliability.json"


def run(context: Context) -> None:
    """Data, scorer → losses.npy [N, M], scores.csv, reliability.json."""
    config = context.config
    data = context.datasets["data"]
    train = data.in_memory().to(context.device)
    model = load_scorer(config.scorer, data.num_classes, context.input("scorer", WEIGHTS))
    losses = measure_losses(
        place(model, context.device),
        train.images,
        train.labels,
        data.num_classes,
        data.normalization,
        config.scores,
        config.seed,
        context.workspace,
    )
    scores = summarise(losses, config.scores)
    labels = data.train.labels.numpy()
    write_scores_csv(context.workspace.path(TABLE), labels, scores)
    reliability = split_half_reliability(losses, config.scores)
    warning = reliability_warning(reliability, config.scores)
    if warning:
        context.say(f"warning: {warning}")
    record = {
        "correlation": reliability.correlation,
        "spearman_brown": reliability.spearman_brown,
        "warning": warning,
    }
    write_atomically(context.workspace.path(RELIABILITY), json.dumps(record, indent=1) + "\n")


STAGE = Stage(
    "scores",
    1,
    lambda config: ("data", "scorer"),
    lambda config: {
        "scores": config.scores.model_dump(mode="json", exclude={"batch_size"}),
        "seed": config.seed,
    },
    run,
)
