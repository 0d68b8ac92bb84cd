"""Expected cost of a measure of networks early in training, from a few steps of one of them."""

from classification.classifier import build_scorer
from classification.persistence.arrays import save_array
from classification.persistence.workspace import finished_steps
from classification.training.trainer import to_device
from pipeline.estimates.bench import Bench
from pipeline.estimates.expected import Expected
from pipeline.estimates.training import meter_of
from pipeline.estimates.trial import (
    brief_config,
    epoch_steps,
    kinds_of_epochs,
    try_images,
    try_training,
)
from pipeline.stages.baseline import VALUES, early_recipe
from subsample.early import measure_early


def expect_early(bench: Bench, name: str, seconds: float) -> Expected:
    """Expect the networks that are left to train, and the values of each on some images."""
    config, number = bench.config, len(bench.data.train)
    config = config.model_copy(update={"scorer": early_recipe(config)})
    stage, meter = bench.runner.stages["scorer"], meter_of(bench, "scorer", seconds / 2)
    settings = stage.settings(brief_config("scorer", config))
    context = bench.context("scorer", bench.data, f"{name}-network", settings)
    trial = try_training(stage.run, context, meter, bench.tell)
    training = trial.seconds(
        kinds_of_epochs("scorer", config, epoch_steps("scorer", config, number))
    )
    network = build_scorer(config.scorer.model, bench.data.num_classes, config.seed)
    model = to_device(network, bench.runner.device)

    def run(images: int) -> float:
        part = bench.data.with_train(list(range(images))).in_memory().to(bench.runner.device)
        measure, batch = config.subset.measure, config.scores.batch_size
        return bench.timed(
            lambda: measure_early(measure, model, part, bench.data.normalization, batch)
        )

    values = try_images(run, number, seconds / 2, 16)
    bench.artifacts[name] = bench.stand_in(name, name)
    save_array(bench.root / name / VALUES, bench.by_chance((number,)))
    done = finished_steps(bench.runner.store.workspace(name, bench.runner.keys[name]))
    left = config.subset.early.networks - done
    return Expected(left * (training + values), cut=meter.cut)
