"""Estimates the hours and memory of a run on the current device, in a bounded time.

The inputs of a stage come from the store or, if not made yet, are placeholders of the same size: a
briefly trained scorer, random losses and random networks. All files are written to a temporary
folder: the store, its ledger and the runs are only read.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from pipeline.device import device_kind
from pipeline.estimates import SECONDS
from pipeline.estimates.architectures import expect_contest, expect_ranking
from pipeline.estimates.bench import Bench
from pipeline.estimates.clock import idle_clock, waited
from pipeline.estimates.early import expect_early
from pipeline.estimates.expected import Expected, RunEstimate, StageEstimate
from pipeline.estimates.passes import (
    expect_landscape,
    expect_robustness,
    expect_run,
    expect_scores,
)
from pipeline.estimates.training import expect_retraining, expect_training
from pipeline.estimates.trial import batch_size, trains
from pipeline.estimates.width import describe_channels, expect_width
from pipeline.failure import failure_of
from pipeline.runner import Runner, Selection, Step
from pipeline.stages.search import SEARCHES, stages_of_search
from pipeline.stages.width import chosen_width
from pipeline.store.ledger import Cost
from pipeline.store.stopwatch import peak_memory
from subsample.measures import OF_EARLY

Way = Callable[[Bench, str, float], Expected]
# The function that tries a stage, and its part of the time. Other stages are not estimated.
_WAYS: dict[str, tuple[Way, float]] = {
    "scorer": (expect_training, 2),
    "scores": (expect_scores, 1),
    "baseline": (expect_scores, 1),
    "subset": (expect_run, 0.1),
    **dict.fromkeys(SEARCHES, (expect_training, 3)),
    "genotype": (expect_run, 0.1),
    "contest": (expect_contest, 5),
    "width": (expect_width, 1),
    "retrain": (expect_retraining, 5),
    "probe": (expect_training, 2),
    "ranking": (expect_ranking, 5),
    "robustness": (expect_robustness, 2),
    "landscape": (expect_landscape, 2),
}
_LEAST = 0.02  # seconds for a stage


def estimate(
    runner: Runner,
    seconds: float = SECONDS,
    clock: Callable[[], float] = idle_clock,
    only: Collection[str] | None = None,
    force: str | None = None,
    show: Callable[[str], None] = lambda stage: None,
) -> RunEstimate:
    """Try every stage that the runner would run with `--force` of that stage, or those of `only`,
    for about `seconds` in all; `clock` times steps. `show` is called with the stage's name as the
    work advances.

    Raises PipelineError for failures that would end the run too, such as too little GPU memory.
    """
    begun, idle, timed = time.perf_counter(), waited(), clock()
    complete = runner.plan(Selection(force=force))
    plan = [step for step in complete if only is None or step.stage in only]
    with TemporaryDirectory(prefix="estimate-") as folder:
        bench = Bench(runner, Path(folder), clock)
        for step in complete:
            if step.action == "reuse":
                artifact = runner.store.find(step.stage, step.fingerprint)
                assert artifact is not None  # the plan has just found it
                bench.artifacts[step.stage] = artifact
        stages: list[StageEstimate] = []
        for number, step in enumerate(plan):
            passed = time.perf_counter() - begun
            # Seconds of `clock`, of which a busy machine gives fewer.
            pace = min(1.0, (clock() - timed) / passed) if stages else 1.0
            part = max(_LEAST, pace * _part(plan[number:], seconds - passed))
            bench.tell = partial(show, step.stage)
            stages.append(_estimate(bench, step, part))
    elapsed = time.perf_counter() - begun
    share = (waited() - idle) / elapsed
    held = replace(runner.attempt(runner.order[0]), seconds=3600.0).device_hours
    return RunEstimate(tuple(stages), share, stages_of_search(runner.config), held)


def _part(plan: list[Step], left: float) -> float:
    """Return the first step's part of the seconds that are left."""
    parts = [
        _WAYS[each.stage][1] for each in plan if each.action != "reuse" and each.stage in _WAYS
    ]
    if not parts:
        return 0.0
    return max(_LEAST, left * parts[0] / sum(parts))


def _estimate(bench: Bench, step: Step, seconds: float) -> StageEstimate:
    """Return the expected cost of the step's stage, tried for `seconds` of the bench's clock; its
    output is kept for later stages."""
    name, runner = step.stage, bench.runner
    if step.action == "reuse":
        cost = Cost.of(runner.store.ledger.attempts([step.fingerprint]))
        note = f"made for {cost}"
        if name == "width":
            note = f"{note}, {describe_channels([chosen_width(bench.artifacts[name])['channels']])}"
        return StageEstimate(name, step.action, 0.0, note=note)
    if name not in _WAYS:
        return StageEstimate(name, step.action, None, note="this command does not try it")
    if runner.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(runner.device)
    try:
        bench.tell()
        found = _way(bench, name)(bench, name, seconds)
    except Exception as error:
        section, attempt = runner.stages[name].section_of(bench.config), runner.attempt(name)
        problem = failure_of(error, name, section, attempt, bench.config, bench.root)
        if problem is None or problem is error:
            raise
        raise problem from error
    attempt = runner.attempt(name)
    hours, low, high = (
        None if each is None else replace(attempt, seconds=each).device_hours
        for each in (found.seconds, found.low, found.high)
    )
    memory = _peak_memory(bench, name)
    batch = None if found.cut is None else batch_size(name, bench.config)
    return StageEstimate(name, step.action, hours, low, high, memory, found.note, found.cut, batch)


def _way(bench: Bench, name: str) -> Way:
    loaded = name == "scorer" and not trains(name, bench.config)
    if name == "baseline" and bench.config.subset.measure in OF_EARLY:
        return expect_early
    return expect_run if loaded else _WAYS[name][0]


def _peak_memory(bench: Bench, stage: str) -> int:
    kind = device_kind(bench.runner.device)
    peak = peak_memory(kind)
    if kind == "gpu" and stage in ("scores", "baseline"):
        peak += bench.data.in_memory().images.nbytes  # the run keeps all images on the GPU
    return peak
