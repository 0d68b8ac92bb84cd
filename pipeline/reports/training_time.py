"""Training time of a classifier against the same config without mixing.

Separate runs share their machine with whatever else it does. `python -m benchmarks.mixing` takes
the steps of all mixers in turn, and is the less noisy measure of the same ratio.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from classification.config import ClassifierConfig
from classification.mixing import MixingConfig
from evaluate.published.rows import Setting
from pipeline.config import PipelineConfig
from pipeline.graph import fingerprints
from pipeline.run_folder import RunFolder
from pipeline.stages import STAGES
from pipeline.store.ledger import Attempt, last_making
from pipeline.store.store import Store

VANILLA = Setting(MixingConfig(kind="none"))  # its fields are ClassifierConfig's
_LONGEST_NAME = 100 - len("-vanilla")  # of a run that a twin is named after


@dataclass(frozen=True)
class TrainingTime:
    """Of the attempts that made a classifier, interrupted ones and evaluation included."""

    seconds_per_epoch: float | None
    """None if the ledger does not know, or several devices had a part in it."""
    relative_to_vanilla: float | None
    basis: str
    """What the ratio was measured against, or why there is none."""
    unmeasured: bool = False
    """Whether training the twin would measure the ratio."""


def vanilla(scorer: ClassifierConfig) -> ClassifierConfig:
    """The same training without mixing and without the regularisers used instead of it."""
    return scorer.model_copy(update=vars(VANILLA))


def training_time(config: PipelineConfig, content_hash: str, store: Store) -> TrainingTime:
    """The config's training time beside its twin's, both from the ledger.

    `content_hash` is that of the config's data. Two devices are not compared.
    """
    own = last_making(store.ledger.attempts([_fingerprint(config, content_hash)]))
    seconds = _seconds_per_epoch(own, config.scorer.trained_epochs)
    if seconds is None:
        return TrainingTime(None, None, "no ledger line of it, or lines of several devices")
    if Setting.of(config.scorer).is_vanilla:
        return TrainingTime(seconds, 1.0, "this is the vanilla run")
    twin = config.model_copy(update={"scorer": vanilla(config.scorer)})
    other = last_making(store.ledger.attempts([_fingerprint(twin, content_hash)]))
    vanilla_seconds = _seconds_per_epoch(other, config.scorer.trained_epochs)
    if vanilla_seconds is None:
        return TrainingTime(seconds, None, "this store holds no vanilla twin of it", True)
    if own[-1].device != other[-1].device:
        basis = (
            f"not comparable: trained on {own[-1].device}, its vanilla twin {other[-1].run} on "
            f"{other[-1].device}"
        )
        return TrainingTime(seconds, None, basis)
    basis = (
        f"{seconds:.3g} s an epoch, {vanilla_seconds:.3g} s for its vanilla twin "
        f"({other[-1].run}) on the same device"
    )
    return TrainingTime(seconds, seconds / vanilla_seconds, basis)


def devices_of(attempts: Sequence[Attempt]) -> list[str]:
    """The devices that attempts ran on, by name."""
    return sorted({attempt.device for attempt in attempts})


def twin_commands(
    folder: RunFolder, config: PipelineConfig, store: Store, on_cpu: bool
) -> list[str]:
    """The commands that train the vanilla twin of the run in `folder` and report the run again."""
    runs = folder.path.parent
    elsewhere = [] if str(runs) == "runs" else ["--runs", str(runs)]
    train = [str(folder.config_path), "--set", "scorer.mixing={kind: none}"]
    for key, value in vars(VANILLA).items():
        if key != "mixing" and getattr(config.scorer, key) != value:
            train += ["--set", f"scorer.{key}={value:g}"]
    train += ["--name", f"{config.name[:_LONGEST_NAME]}-vanilla"]
    train += ["--device", "cpu" if on_cpu else "cuda"]
    if str(store.root) != "artifacts":
        train += ["--artifacts", str(store.root)]
    commands = (["run", *train, *elsewhere], ["report", folder.path.name, *elsewhere])
    return [shlex.join(["python", "run_pipeline.py", *words]) for words in commands]


def _fingerprint(config: PipelineConfig, content_hash: str) -> str:
    """The scorer's, whatever the config's goal and whether its subset needs one."""
    alone = config.goal_alone.model_copy(update={"goal": "classifier"})
    return fingerprints(STAGES, alone, {"data": content_hash})["scorer"]


def _seconds_per_epoch(making: Sequence[Attempt], epochs: int) -> float | None:
    if len(devices_of(making)) != 1:
        return None
    return sum(attempt.seconds for attempt in making) / epochs
