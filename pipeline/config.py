"""PipelineConfig: every stage's settings in one model; YAML files, base files, overrides.

A mapping can extend another file with `base:`, a path relative to its own file; its keys win.
`scores` can extend named settings in the same way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from classification.config import ClassifierConfig
from classification.data.config import DataConfig
from classification.errors import ConfigError
from evaluate.budget import BudgetConfig
from evaluate.contest_config import ContestConfig
from evaluate.fidelity_config import FidelityConfig
from evaluate.landscape.config import LandscapeConfig
from evaluate.retrain_config import RetrainConfig
from evaluate.robustness.config import RobustnessConfig
from pcdarts.search_config import SearchConfig
from pipeline.documents import Document, check_values, dump_values, kind_of, parse_value
from pipeline.validation import describe_invalid
from subsample.config import NAMED, RECOMMENDED, Scores, ScoresFromAnywhereConfig
from subsample.measures import OF_EARLY
from subsample.subset_config import SubsetConfig

Goal = Literal["network", "classifier", "subset", "ranking"]

_MAX_BASES = 8


class PipelineConfig(BaseModel, frozen=True, extra="forbid"):
    """All settings of a run."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="name of the folder in runs/"
    )
    goal: Goal = Field(
        "network",
        description="what the run produces: network, found by the search and retrained; "
        "classifier, only the scorer, with a separate report; subset, with a classifier trained "
        "only on it; or ranking, of random architectures trained on the subset, which the fidelity "
        "command compares with the ranking on all images",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of all random numbers")
    data: DataConfig = Field(description="images to score and to search on")
    target: DataConfig = Field(description="images to retrain the found network on; data if absent")
    scorer: ClassifierConfig = Field(default_factory=ClassifierConfig)
    scores: Scores = Field(
        default_factory=ScoresFromAnywhereConfig,
        description="how the training images are scored, or a file of scores; recommended stands "
        f"for {', '.join(f'{key}: {value}' for key, value in RECOMMENDED.items())}, and a mapping "
        "with base: recommended changes some of these",
    )
    subset: SubsetConfig = Field(default_factory=SubsetConfig, validate_default=True)
    search: SearchConfig = Field(default_factory=SearchConfig)
    contest: ContestConfig | None = Field(
        None,
        description="found genotypes against random and published ones, briefly trained; the best "
        "is retrained. If absent, the search's genotype is retrained",
    )
    genotype: str | None = Field(
        None,
        min_length=1,
        description="genotype to retrain in place of a search: darts_v1, darts_v2, "
        "pcdarts_cifar10, pcdarts_imagenet, or a file with our JSON or the tuple of a DARTS-family "
        "repository; neither scorer nor search then runs",
    )
    budget: BudgetConfig | tuple[BudgetConfig, ...] | None = Field(
        None,
        description="limits of the network that is retrained; none if absent. A contest takes a "
        "list too: each budget has a winner, and that of the first is retrained",
    )
    retrain: RetrainConfig = Field(default_factory=lambda: RetrainConfig.model_validate({}))
    probe: ClassifierConfig | None = Field(
        None, description="classifier to evaluate a subset with; like the scorer if absent"
    )
    probes: int = Field(
        1,
        gt=0,
        le=100,
        description="times the probe is trained, with seeds derived from the seed; the error is "
        "the mean",
    )
    fidelity: FidelityConfig = Field(
        default_factory=FidelityConfig,
        description="architectures to rank, and their training",
    )
    robustness: RobustnessConfig | None = Field(
        None,
        description="attacks and distribution shift on the trained classifier; skipped if absent",
    )
    landscape: LandscapeConfig | None = Field(
        None, description="loss around the trained classifier's weights; skipped if absent"
    )

    @model_validator(mode="before")
    @classmethod
    def _target_is_data(cls, values: Any) -> Any:
        if isinstance(values, dict) and "data" in values:
            return {"target": values["data"]} | values
        return values

    @model_validator(mode="before")
    @classmethod
    def _file_implies_the_measure(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        scores, subset = values.get("scores"), values.get("subset")
        if not isinstance(scores, dict) or scores.get("file") is None:
            return values
        if subset is None or (isinstance(subset, dict) and not {"measure", "indices"} & {*subset}):
            return values | {"subset": {**(subset or {}), "measure": "score"}}
        return values

    @field_validator("subset")
    @classmethod
    def _early_is_a_tenth(cls, subset: SubsetConfig, info: ValidationInfo) -> SubsetConfig:
        given = subset.early.epoch is not None or subset.measure not in OF_EARLY
        if given or "scorer" not in info.data:
            return subset
        epoch = -(-info.data["scorer"].epochs // 10)  # a float cannot hold every number
        early = subset.early.model_copy(update={"epoch": epoch})
        return subset.model_copy(update={"early": early})

    @model_validator(mode="after")
    def _measure_fits_the_scores(self) -> "PipelineConfig":
        file, subset = self.scores.file, self.subset
        if subset.needs_file and file is None:
            raise ValueError(f"subset.measure {subset.measure} needs scores.file, which is not set")
        if subset.needs_scores and file is not None:
            raise ValueError(
                f"subset.measure {subset.measure} needs losses; scores.file holds other scores; "
                "allowed with it: score, score_low"
            )
        return self

    @field_validator("budget", mode="wrap")
    @classmethod
    def _one_budget_or_several(cls, value: Any, union: ValidatorFunctionWrapHandler) -> Any:
        """Read a mapping, or a list; a list of one budget is that budget. `union` is not asked: it
        would report an invalid value once for each of its kinds."""
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            return BudgetConfig.model_validate(value)
        budgets = TypeAdapter(tuple[BudgetConfig, ...]).validate_python(value)
        if not budgets or len(set(budgets)) < len(budgets):
            problem = "two equal budgets" if budgets else "an empty list"
            raise ValueError(f"{problem}; allowed: a budget, or a list of different ones")
        return budgets[0] if len(budgets) == 1 else budgets

    @model_validator(mode="after")
    def _several_budgets_have_a_contest(self) -> "PipelineConfig":
        if len(self.budgets) > 1 and self.contest is None:
            raise ValueError(
                f"budget: found a list of {len(self.budgets)} without a contest; allowed: one "
                "budget, or a contest, in which each has a winner"
            )
        return self

    @model_validator(mode="after")
    def _genotype_is_given_or_found(self) -> "PipelineConfig":
        if self.genotype is not None and self.contest is not None:
            raise ValueError(
                "genotype: found together with contest, which chooses the genotype; allowed: one "
                "of the two (contest.published takes published names)"
            )
        return self

    @property
    def budgets(self) -> tuple[BudgetConfig, ...]:
        """The budgets of the config, none, one or several."""
        if self.budget is None:
            return ()
        return self.budget if isinstance(self.budget, tuple) else (self.budget,)

    @property
    def goal_alone(self) -> "PipelineConfig":
        """The same config without robustness and landscape."""
        return self.model_copy(update={"robustness": None, "landscape": None})

    @property
    def probed(self) -> ClassifierConfig:
        """The classifier to evaluate a subset with."""
        if self.probe is not None:
            return self.probe
        return self.scorer.model_copy(update={"record_losses": False, "record_dynamics": False})


def load_config(
    path: Path,
    overrides: Sequence[str] = (),
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> PipelineConfig:
    """Read YAML, apply `settings` (dotted key → value), then `KEY=VALUE` overrides; validate.

    Raises ConfigError in one line: the file, the key, what was found, what is allowed.
    """
    values = _read(path, depth=0)
    for key, value in (settings or {}).items():
        _set(values, key, value, key)
    for override in overrides:
        _override(values, override)
    if name is not None:
        values["name"] = name
    values.setdefault("name", path.stem)
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe_invalid(error, PipelineConfig)}") from error


def dump_config(config: PipelineConfig) -> str:
    """Return the resolved config as YAML that `load_config` reads back to the same value."""
    return dump_values(config.model_dump(mode="json"))


def flatten(values: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Flatten nested values; their keys are joined by `separator`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            below = flatten(value, separator)
            flat |= {f"{key}{separator}{name}": inner for name, inner in below.items()}
        else:
            flat[key] = value
    return flat


def _read(path: Path, depth: int) -> dict[str, Any]:
    if depth > _MAX_BASES:
        raise ConfigError(f"{path}: `base` links more than {_MAX_BASES} files; is there a cycle?")
    return _resolve_bases(Document.read(path).values, path, depth)


def _resolve_bases(
    values: dict[str, Any], path: Path, depth: int, section: str = ""
) -> dict[str, Any]:
    base = values.get("base")
    named = section == "scores" and isinstance(base, str) and base in NAMED  # for the validation
    resolved = {
        key: _resolve_bases(value, path, depth, key) if isinstance(value, dict) else value
        for key, value in values.items()
        if key != "base" or named
    }
    if "base" not in values or named:
        return resolved
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: found {base!r}, allowed: a file's path")
    return _merge(_read(path.parent / base, depth + 1), resolved)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = _extensible(key, below.get(key))
        both = isinstance(value, dict) and isinstance(under, dict) and "base" not in value
        merged[key] = _merge(under, value) if both else value
    return merged


def _extensible(key: str, value: Any) -> Any:
    """Return the name of some scores as a mapping that extends it; other values as they are."""
    return {"base": value} if key == "scores" and isinstance(value, str) else value


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not all(key.strip().split(".")):
        raise ConfigError(f"--set {override}: found no KEY=VALUE; allowed: e.g. search.epochs=10")
    try:
        value = parse_value(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from error
    try:
        check_values(value, key.strip())
    except ConfigError as error:
        raise ConfigError(f"--set {error}") from error
    _set(values, key.strip(), value, f"--set {override}")


def _set(values: dict[str, Any], key: str, value: Any, origin: str) -> None:
    """Set a dotted key, creating the mappings on its path."""
    *parts, last = key.split(".")
    for part in parts:
        inner = values[part] = _extensible(part, values.get(part, {}))
        if not isinstance(inner, dict):
            raise ConfigError(f"{origin}: {part} holds {kind_of(inner)}, not a mapping")
        values = inner
    values[last] = value
