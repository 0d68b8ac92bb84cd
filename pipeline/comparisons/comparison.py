"""Comparison of robustness, landscapes or contests: which runs are comparable, how they differ.

These are determined from the artifacts: the images, the settings of the stage, and those of all
stages that the classifier depends on. Runs that differ only in the seed form one contender.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from classification.data.config import DataConfig
from classification.data.layout import common_name, evaluated_name
from classification.errors import ArtifactError, ConfigError
from classification.persistence.untrusted_files import read_object
from evaluate.published.rows import Setting
from pipeline.config import PipelineConfig, flatten
from pipeline.reports.seed_groups import group_by_setting, varied
from pipeline.reports.subset_names import name_subset
from pipeline.run_folder import RunFolder
from pipeline.store.ledger import Cost
from pipeline.store.store import Store, store_of

_CONTESTANTS = {"restarts", "last_epochs", "random", "published", "rounds", "share_kept"}
_NEUTRAL = {"contest": _CONTESTANTS}
"""Settings of a stage that do not change what is measured, if not `batch_size`: contestants are
compared after the first round, in which the training alone counts."""


@dataclass(frozen=True)
class ComparedRun:
    """The result of one run's stage."""

    config: PipelineConfig
    result: Mapping[str, Any]
    settings: Mapping[str, Any]
    """Settings of the stage, from its artifact's manifest."""
    lineage: Mapping[str, Any]
    """Settings, without the seed, of each stage that the classifier depends on."""
    images: str
    """Content hash of the images that it was trained and measured on."""
    cost: Cost

    @property
    def data(self) -> DataConfig:
        """The settings of these images."""
        return self.config.target if self.result["of"] == "network" else self.config.data

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def seed(self) -> int:
        return self.config.seed


@dataclass(frozen=True)
class Contender:
    """The runs of one setting, which differ only in their seeds."""

    label: str
    entries: tuple[ComparedRun, ...]

    @property
    def is_vanilla(self) -> bool:
        """Whether it is a classifier trained without mixing and regularisers."""
        first = self.entries[0]
        scorer = first.config.scorer
        trained = first.result["of"] == "scorer" and scorer.weights is None
        return trained and Setting.of(scorer).is_vanilla


@dataclass(frozen=True)
class Comparison:
    """Contenders in the order of the command line."""

    stage: str
    contenders: tuple[Contender, ...]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings of the stage, the same for all."""
        return _comparable_settings(self.stage, self._first)

    @property
    def title(self) -> str:
        """Names of the models and of their common images."""
        what = {_model_of(e) for contender in self.contenders for e in contender.entries}
        return f"{', '.join(sorted(what))} on {_describe_images(self._first)}"

    @property
    def evaluated(self) -> str:
        """The usual name of the images that the classifiers are evaluated on."""
        return common_name(
            evaluated_name(entry.data)
            for contender in self.contenders
            for entry in contender.entries
        )

    @property
    def baseline(self) -> Contender | None:
        """The vanilla classifier from which differences are taken; None if there are several, or
        several models."""
        models = {_model_of(contender.entries[0]) for contender in self.contenders}
        found = [contender for contender in self.contenders if contender.is_vanilla]
        return found[0] if len(found) == len(models) == 1 else None

    @property
    def _first(self) -> ComparedRun:
        return self.contenders[0].entries[0]


def gather(
    stage: str, result: str, folders: Sequence[RunFolder], artifacts: Path | None
) -> Comparison:
    """Collect the results of `stage` in each of the runs, from its file `result`.

    `artifacts` is the store, or None for that of each run. Raises ConfigError if runs are not
    comparable, and ArtifactError, with the command to run, if a run lacks the stage.
    """
    entries = [_read(stage, result, folder, artifacts) for folder in folders]
    _check_comparable(stage, entries)
    groups = group_by_setting(
        entries, lambda e: [e.result["of"], e.lineage], lambda e: (e.name, e.seed)
    )
    return Comparison(stage, _label(list(groups.values())))


def _read(stage: str, result: str, folder: RunFolder, artifacts: Path | None) -> ComparedRun:
    manifest, config = folder.manifest(), folder.config()
    store = store_of(manifest, artifacts)
    key = manifest["stages"].get(stage)
    artifact = store.find(stage, key) if key else None
    if artifact is None:
        wanted = [] if key else ["--set", f"{stage}={{}}"]
        raise ArtifactError(
            f"RUN: {folder.path.name} has no {stage} yet; run: "
            f"{folder.run_command(store.root, *wanted)}"
        )
    inputs = artifact.manifest["inputs"]
    return ComparedRun(
        config,
        {"of": "network"} | read_object(artifact.path / result),  # as contestants are
        artifact.manifest["settings"],
        _lineage(store, inputs),
        next(value["content_hash"] for value in inputs.values() if "content_hash" in value),
        Cost.of(store.ledger.attempts([artifact.fingerprint])),
    )


def _lineage(store: Store, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of all stages that an artifact with these inputs depends on."""
    found: dict[str, Any] = {}
    for stage, value in inputs.items():
        if "fingerprint" in value:
            manifest = store.manifest(stage, value["fingerprint"])
            found |= _lineage(store, manifest["inputs"])
            # Without the seed and an earlier stage's settings that this one repeats.
            repeated = {"seed", *manifest["inputs"]}
            settings = {k: v for k, v in manifest["settings"].items() if k not in repeated}
            own = settings.pop(stage, {})  # the stage's own config
            found[stage] = own | settings
        else:
            found[f"images of {stage}"] = value["content_hash"]
    return found


def _check_comparable(stage: str, entries: Sequence[ComparedRun]) -> None:
    first = entries[0]
    for other in entries[1:]:
        if other.images != first.images:
            raise ConfigError(
                f"RUN: {first.name} and {other.name} have different images "
                f"({_describe_images(first)}; {_describe_images(other)}); allowed: the same"
            )
        for key, mine, theirs in _differences(stage, first, other):
            raise ConfigError(
                f"RUN: {first.name} has {stage}.{key} {mine} and {other.name} {theirs}; allowed: "
                f"runs of the same {stage} settings"
            )


def _differences(
    stage: str, first: ComparedRun, other: ComparedRun
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the settings that make two results incomparable: key, and both values. Settings of
    shifted images count only if both have them."""
    mine, theirs = (_comparable_settings(stage, entry) for entry in (first, other))
    yield from ((key, v, theirs.get(key)) for key, v in mine.items() if v != theirs.get(key))
    mine, theirs = (entry.settings.get("shift", {}) for entry in (first, other))
    for key in sorted(mine.keys() & theirs.keys()):
        if None not in (mine[key], theirs[key]) and mine[key] != theirs[key]:
            yield f"shift.{key}", mine[key], theirs[key]


def _comparable_settings(stage: str, entry: ComparedRun) -> dict[str, Any]:
    neutral = _NEUTRAL.get(stage, {"batch_size"})
    own = {key: value for key, value in entry.settings[stage].items() if key not in neutral}
    budgets = ("budget", "more_budgets")  # of a contest
    return own | {key: entry.settings[key] for key in budgets if entry.settings.get(key)}


def _label(groups: Sequence[tuple[ComparedRun, ...]]) -> tuple[Contender, ...]:
    """Label contenders by their differences: the model if there are several, then mixing or
    subset, then, if these are equal, other settings."""
    firsts = [group[0] for group in groups]
    several = len({_model_of(first) for first in firsts}) > 1
    names = [", ".join([_model_of(first)] * several + [_describe(first)]) for first in firsts]
    labels = []
    for name, first in zip(names, firsts, strict=True):
        alike = [f for n, f in zip(names, firsts, strict=True) if n == name]
        others = varied([flatten(each.lineage) for each in alike])
        rest = others[next(i for i, each in enumerate(alike) if each is first)]
        labels.append(f"{name}, {rest}" if rest else name)
    return tuple(Contender(*each) for each in zip(labels, groups, strict=True))


def _model_of(entry: ComparedRun) -> str:
    return "PC-DARTS network" if entry.result["of"] == "network" else entry.config.scorer.model


def _describe(entry: ComparedRun) -> str:
    config = entry.config
    if entry.result["of"] == "scorer":
        weights = config.scorer.weights
        return f"loaded from {weights}" if weights else Setting.of(config.scorer).describe()
    series = name_subset(config.subset.measure, config.subset.order)
    return f"searched on {series}, fraction t = {config.subset.fraction:g}"


def _describe_images(entry: ComparedRun) -> str:
    data = entry.data
    name = data.kind if data.root is None or data.kind != "folder" else data.root.name
    classes = "" if data.classes is None else f", {data.classes} classes"
    return f"{name}{classes}"
