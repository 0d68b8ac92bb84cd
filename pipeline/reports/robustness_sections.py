"""Report sections on robustness and the loss landscape.

Their cost is reported separately and is not part of the totals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from classification.data.layout import evaluated_name
from classification.persistence.untrusted_files import read_object
from evaluate.figures.landscape import landscape_figures, split_name
from evaluate.figures.robustness import robustness_curves
from evaluate.landscape.mean import RISE, half_width, sharpness
from evaluate.robustness.measure import describe_attack, describe_epsilon, named_attacks
from pipeline.config import PipelineConfig
from pipeline.graph import build_graph
from pipeline.reports.page import cost_row
from pipeline.reports.picture import Picture
from pipeline.reports.results import hours_of
from pipeline.reports.training_time import devices_of
from pipeline.stages import STAGES, landscape, robustness
from pipeline.store.ledger import Cost
from pipeline.store.store import Artifact, Store

Artifacts = Mapping[str, Artifact]
Results = dict[str, Any]
Columns = dict[str, list[str]]

AUPR, TOP1 = "AUPR (%)", "top-1 accuracy (%)"
Key = tuple[str, str]  # a part of the tables, and a column in it
# Rows by the keys of a result's `shift`, and the field of the value.
SHIFT: dict[str, tuple[Key, str]] = {
    "imagenet_a": (("ImageNet-A", TOP1), "top1_accuracy"),
    "imagenet_o": (("ImageNet-O", AUPR), "aupr"),
    "out_of_distribution": (("other dataset", AUPR), "aupr"),
}

_APART = "not part of the totals"


def goal_artifacts(config: PipelineConfig, artifacts: Artifacts) -> dict[str, Artifact]:
    """Return the artifacts of the run's goal, without robustness, landscape and stages that only
    these need, such as an attacked scorer of a run with a random subset."""
    wanted = set(build_graph(STAGES, config.goal_alone))
    return {name: artifact for name, artifact in artifacts.items() if name in wanted}


def collect_sections(artifacts: Artifacts, store: Store) -> Results:
    """Collect the results and cost of each section of the run, for results.json."""
    found = {}
    for name in filter(artifacts.__contains__, _COLLECT):
        attempts = store.ledger.attempts([artifacts[name].fingerprint])
        cost = Cost.of(attempts)
        found[name] = _COLLECT[name](artifacts[name]) | {
            "device": "; ".join(devices_of(attempts)),
            "cost": {"unit": cost.unit, "hours": hours_of(cost), "attempts": len(attempts)},
        }
    return found


def show_sections(
    folder: Path, config: PipelineConfig, artifacts: Artifacts, store: Store, results: Results
) -> dict[str, Any]:
    """Return the rows of the cost table and the sections for the templates, from `results`, which
    include `collect_sections`. Write the pictures into `folder`."""
    goal, rows, sections = goal_artifacts(config, artifacts), [], []
    for name, artifact in artifacts.items():
        if name in goal:
            continue
        attempts = store.ledger.attempts([artifact.fingerprint])
        cost, row = Cost.of(attempts), cost_row(name, attempts, config.name, [_APART])
        rows.append(row)
        if name in _SHOW:
            of_network = results[name]["of"] == "network"
            evaluated = evaluated_name(config.target if of_network else config.data)
            text, *tables = _SHOW[name](results[name], evaluated)
            title = _TITLES[name]
            pictures = [
                Picture.save(folder, file, figure, f"{title}: {file}")
                for file, figure in _DRAW[name](artifact, evaluated).items()
            ]
            sections.append(Section(name, title, text, tables, pictures, str(cost)))
    links = [(section.anchor, section.title) for section in sections]
    return {"cost_rows": rows, "sections": sections, "links": links}


@dataclass(frozen=True)
class Section:
    """A section of a report; tables are columns by title, the first one with row names."""

    anchor: str
    title: str
    text: str
    tables: Sequence[Columns]
    pictures: Sequence[Picture]
    cost: str


def _collect_robustness(artifact: Artifact) -> Results:
    settings = artifact.manifest["settings"]["robustness"]
    attack = {key: settings[key] for key in ("step", "steps", "restarts")}
    return read_object(artifact.path / robustness.RESULT) | attack


def _collect_landscape(artifact: Artifact) -> Results:
    found = read_object(artifact.path / landscape.RESULT)
    kept = ("of", "images", "split", "batch_norm", "trained", "hessian")
    return {key: found[key] for key in kept} | {
        "half_width": half_width(found),
        "noise": {
            "sigmas": found["noise"]["sigmas"] if found["noise"] else [],
            "rises": sharpness(found),
        },
    }


def _draw_robustness(artifact: Artifact, evaluated: str) -> Mapping[str, Figure]:
    return {"robustness": robustness_curves(read_object(artifact.path / robustness.RESULT))}


def _draw_landscape(artifact: Artifact, evaluated: str) -> Mapping[str, Figure]:
    result = read_object(artifact.path / landscape.RESULT)
    return landscape_figures({result["architecture"]: result}, evaluated)


def _show_robustness(found: Results, evaluated: str) -> tuple[str, *tuple[Columns, ...]]:
    starts = f"{found['restarts']} random start{'s' if found['restarts'] > 1 else ''}"
    attacks = named_attacks(found)
    columns = {
        "attack": [f"{describe_attack(n, found['steps'])}, {source}" for source, n in attacks],
        "clean": [_percent(found["clean"]["accuracy"]) for _ in attacks],
    }
    for place, point in enumerate(next(iter(attacks.values()))["curve"]):
        columns[f"ε = {describe_epsilon(point['epsilon'])}"] = [
            _percent(attack["curve"][place]["accuracy"]) for attack in attacks.values()
        ]
    text = (
        f"Top-1 accuracy in percent of the {found['of']} under L∞ attacks, on {found['images']:,} "
        f"{evaluated} images. PGD takes {found['steps']} steps of "
        f"{describe_epsilon(found['step'])} from {starts}."
    )
    if not found["shift"]:
        return text, columns
    shifts = [(*SHIFT[name], shift) for name, shift in found["shift"].items()]
    elsewhere = {
        "distribution shift": [f"{part}, {what}" for (part, what), _, _ in shifts],
        "measured": [_percent(shift[field]) for _, field, shift in shifts],
        "by chance": [f"{chance_aupr(s):.2f}" if "aupr" in s else "–" for _, _, s in shifts],
    }
    return text, columns, elsewhere


def _show_landscape(found: Results, evaluated: str) -> tuple[str, Columns]:
    trained, hessian, width = found["trained"], found["hessian"], found["half_width"]
    rows = {
        "loss at the trained weights": _nats(trained["loss"]),
        "top-1 accuracy": f"{_percent(trained['accuracy'])} %",
        f"α at which the loss has risen by {RISE:g} nat": "outside the line"
        if width is None
        else f"{width:.3f}",
    }
    for sigma, rise in zip(found["noise"]["sigmas"], found["noise"]["rises"], strict=True):
        rows[f"rise of the loss under noise of σ = {sigma:g}"] = _nats(rise)
    if hessian and hessian["eigenvalues"]:
        values = ", ".join(f"{value:.4g}" for value in hessian["eigenvalues"])
        rows["top eigenvalues of the Hessian"] = values
    if hessian and hessian["trace"] is not None:
        error = hessian["trace_error"]
        spread = "" if error is None else f" ± {error:.2g} (standard error)"
        rows["trace of the Hessian"] = f"{hessian['trace']:.4g}{spread}"
    split = split_name(found, evaluated)
    text = (
        f"Loss around the weights of the {found['of']}, on {found['images']:,} {split} images; "
        f"BatchNorm in {found['batch_norm']}. α is the step along a random "
        "filter-normalised direction."
    )
    return text, {"the landscape": list(rows), "value": list(rows.values())}


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _nats(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3f} nats"


_COLLECT = {"robustness": _collect_robustness, "landscape": _collect_landscape}
_SHOW = {"robustness": _show_robustness, "landscape": _show_landscape}
_DRAW = {"robustness": _draw_robustness, "landscape": _draw_landscape}
_TITLES = {"robustness": "Robustness", "landscape": "Loss landscape"}


def chance_aupr(shift: Mapping[str, Any]) -> float:
    """Return the AUPR of random scores, percent."""
    return float(100 * shift["images"] / (shift["images"] + shift["known_images"]))
