"""Training time of a classifier against the same config without mixing.

Separate runs on a shared machine are a noisy measure. `python -m benchmarks.mixing` measures the
same ratio with interleaved steps of all mixers.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from classification.config import ClassifierConfig
from classification.durations import format_duration
from classification.mixing import MixingConfig
from evaluate.published.rows import Setting
from pipeline.config import PipelineConfig
from pipeline.graph import fingerprints
from pipeline.run_folder import RunFolder
from pipeline.stages import STAGES
from pipeline.store.ledger import Attempt, last_making
from pipeline.store.store import Store

VANILLA = Setting(MixingConfig(kind="none"))  # its fields are ClassifierConfig's
_LONGEST_NAME = 100 - len("-vanilla")  # of a run's name in its twin's name


@dataclass(frozen=True)
class TrainingTime:
    """Training time of a classifier, including interrupted attempts and evaluation."""

    seconds_per_epoch: float | None
    """None if it is not in the ledger, or if several devices were used."""
    relative_to_vanilla: float | None
    basis: str
    """The reference of the ratio, or the reason that there is none."""
    unmeasured: bool = False
    """Whether training the vanilla twin would give the ratio."""


def vanilla(scorer: ClassifierConfig) -> ClassifierConfig:
    """Return the same training without mixing and regularisers."""
    return scorer.model_copy(update=vars(VANILLA))


def training_time(config: PipelineConfig, content_hash: str, store: Store) -> TrainingTime:
    """Compare the config's training time with its vanilla twin's, both from the ledger.

    `content_hash` is that of the config's data. Different devices are not compared.
    """
    trained, vanilla_twin = compared_fingerprints(config, content_hash)
    own = last_making(store.ledger.attempts([trained]))
    seconds = _seconds_per_epoch(own, config.scorer.trained_epochs)
    if seconds is None:
        return TrainingTime(None, None, "not in the ledger, or trained on several devices")
    if Setting.of(config.scorer).is_vanilla:
        return TrainingTime(seconds, 1.0, "this is the vanilla run")
    other = last_making(store.ledger.attempts([vanilla_twin]))
    vanilla_seconds = _seconds_per_epoch(other, config.scorer.trained_epochs)
    if vanilla_seconds is None:
        return TrainingTime(seconds, None, "the store has no vanilla twin of this run", True)
    if own[-1].device != other[-1].device:
        basis = (
            f"not comparable: trained on {own[-1].device}, its vanilla twin {other[-1].run} on "
            f"{other[-1].device}"
        )
        return TrainingTime(seconds, None, basis)
    basis = (
        f"{format_duration(seconds)} per epoch, {format_duration(vanilla_seconds)} for its vanilla "
        f"twin ({other[-1].run}) on the same device"
    )
    return TrainingTime(seconds, seconds / vanilla_seconds, basis)


def compared_fingerprints(config: PipelineConfig, content_hash: str) -> tuple[str, str]:
    """Return the fingerprints of the config's training and of its vanilla twin's."""
    twin = config.model_copy(update={"scorer": vanilla(config.scorer)})
    return _fingerprint(config, content_hash), _fingerprint(twin, content_hash)


def devices_of(attempts: Sequence[Attempt]) -> list[str]:
    """Return the names of the devices of attempts, sorted."""
    return sorted({attempt.device for attempt in attempts})


def twin_commands(
    folder: RunFolder, config: PipelineConfig, store: Store, on_cpu: bool
) -> list[str]:
    """Return the commands that train the vanilla twin of the run and write its report again."""
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
    """Return the scorer's fingerprint, independent of the config's goal and subset."""
    alone = config.goal_alone.model_copy(update={"goal": "classifier"})
    return fingerprints(STAGES, alone, {"data": content_hash})["scorer"]


def _seconds_per_epoch(making: Sequence[Attempt], epochs: int) -> float | None:
    if len(devices_of(making)) != 1:
        return None
    return sum(attempt.seconds for attempt in making) / epochs
