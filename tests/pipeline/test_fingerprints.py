"""Every setting is either seen by a stage, and so fingerprinted, or marked as without effect."""

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
from PIL import Image
from pydantic import Field, ValidationError

from classification.data.config import DataConfig
from classification.mixing import MixingConfig
from classification.settings import WITHOUT_EFFECT, effective_settings, part_of
from evaluate.landscape.config import LandscapeConfig
from evaluate.retrain import RetrainConfig
from pcdarts.search_config import SearchConfig, SupernetConfig
from pipeline.config import Goal, PipelineConfig
from tests.pipeline.every_setting import Leaf, leaves, observe, problems

EXEMPT = {
    "name": "of the run's folder; artifacts are shared by runs of any name",
    "goal": "decides which stages run, and nothing of what one makes (tested below)",
    "fidelity.training.validation_fraction": "any but 0 is refused (tested below)",
    "contest.training.validation_fraction": "any but 0 is refused (tested with the contest)",
}

SHIFTS = ("imagenet_a", "imagenet_o")
CLASSES = ("ant", "bee", "cat")


def folder(root: Path, lines: int, flat: bool = False) -> Path:
    """Three classes of three training images and a test image, in folders or a flat val/."""
    for index, name in enumerate(CLASSES):
        for number in range(4):
            split = "train" if number < 3 else "val"
            parent = root / "val" if flat and split == "val" else root / split / name
            parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((16, 16, 3), 20 * index + 5 * number, np.uint8)
            pixels[:lines] += np.arange(16, dtype=np.uint8)[:, None]  # another size on disk, too
            Image.fromarray(pixels).save(parent / f"{name}{number}.png")
    return root


def transparent(root: Path) -> Path:
    """Three classes of four training images, half transparent, turned by EXIF; none held out."""
    on_a_side = Image.Exif()
    on_a_side[0x0112] = 6
    for index, name in enumerate(CLASSES):
        (root / "train" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((16, 16, 4), 20 * index + 5 * number, np.uint8)
            pixels[:8, :, 0] = 200
            path = root / "train" / name / f"{number}.png"
            Image.fromarray(pixels).save(path, exif=on_a_side)
    return root


def labels(path: Path, *names: str) -> Path:
    path.write_text(
        "".join(f"{image}3.png\t{n}\n" for image, n in zip(CLASSES, names, strict=True))
    )
    return path


def wordnet(root: Path, size: int) -> Path:
    for number in range(200):
        (root / f"n{number:08}").mkdir(parents=True)
        (root / f"n{number:08}" / "image.png").write_bytes(bytes(size))
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("settings")
    for name, lines in (("a", 0), ("b", 8)):
        folder(place / name, lines)
        folder(place / f"flat-{name}", lines, flat=True)
        wordnet(place / f"wordnet-{name}", 1 + lines)
        (place / f"{name}.safetensors").write_bytes(bytes(1 + lines))
    transparent(place / "held-out")
    labels(place / "labels-a.txt", "ant", "bee", "cat")
    labels(place / "labels-b.txt", "bee", "ant", "cat")
    return place


@pytest.fixture(scope="module")
def paths(place: Path) -> list[Path]:
    return sorted(place.iterdir())


@pytest.fixture(scope="module")
def bases(place: Path) -> dict[str, dict[str, Any]]:
    """Configs in one or another of which each field is used."""
    plain, other = ({"kind": "folder", "root": place / name} for name in ("a", "b"))
    sized = plain | {"image_size": 16}
    files = sized | {"storage": "files"}
    flat = {"kind": "folder", "root": place / "flat-a", "val_labels": place / "labels-a.txt"}
    held_out = {"kind": "folder", "root": place / "held-out", "hold_out": 0.3}
    dcutmix, cutout = {"kind": "dcutmix"}, {"kind": "cutout"}
    regularised = {"drop_block": 0.1, "label_smoothing": 0.1, "stochastic_depth": 0.1}
    contest = {"restarts": 2, "published": ["darts_v1", "darts_v2"]}
    probe, brief = {"model": "resnet8", "epochs": 10}, {"network": "cifar"}
    weighted = {"class_weights": "effective"}

    statistics = {"mean": (0.1, 0.2, 0.3), "std": (0.2, 0.3, 0.4)}
    normalised = {"weights": place / "a.safetensors", "normalization": statistics}

    def attacked(images: dict[str, Any], **shift: Path) -> dict[str, Any]:
        shown = shift | {"out_of_distribution": images}
        attacks = {"substitutes": [normalised], "shift": shown}
        return {"data": images, "robustness": attacks, "landscape": {}}

    values: dict[str, dict[str, Any]] = {
        "network": {"target": other, "retrain": {"mixing": dcutmix}},
        "cutout": {"scorer": {"mixing": cutout}, "retrain": {"mixing": cutout}},
        "weighted": {"scorer": weighted, "retrain": weighted, "contest": {"training": weighted}},
        "weighted probe": {"goal": "subset", "probe": probe | weighted},
        "weighted ranking": {"goal": "ranking", "fidelity": {"training": weighted}},
        "classifier": {"goal": "classifier", "scorer": regularised},
        "supernet": {"scorer": {"model": "supernet"}},
        "loaded": {"scorer": {"weights": place / "a.safetensors"}},
        "normalised": {"scorer": normalised},
        "probe, normalised": {"goal": "subset", "probe": probe | normalised},
        "dropout": {"subset": {"measure": "mc_dropout"}},
        "dynamics": {
            "scorer": {"record_dynamics": True},
            "subset": {"measure": "forgetting"},
        },
        "box": {"scores": {"box": "middle"}},
        "early": {"subset": {"measure": "grand"}},
        "stratified": {"subset": {"measure": "el2n", "order": "ccs"}},
        "drawn": {"subset": {"measure": "entropy", "order": "p1"}},
        "recorded": {"scorer": {"record_losses": True}, "scores": {"source": "training"}},
        "two lists": {"subset": {"measure": "random", "architecture_fraction": 0.1}},
        "imported": {"subset": {"indices": place / "labels-a.txt"}},
        "scores from a file": {"scores": {"file": place / "labels-a.txt"}},
        "subset": {"goal": "subset", "probe": probe | {"mixing": dcutmix}},
        "subset, cutout": {"goal": "subset", "probe": probe | {"mixing": cutout}},
        "ranking": {"goal": "ranking", "fidelity": {"training": brief | {"mixing": dcutmix}}},
        "ranking, cutout": {"goal": "ranking", "fidelity": {"training": {"mixing": cutout}}},
        "contest": {"target": other, "contest": contest | {"training": {"mixing": dcutmix}}},
        "contest, cutout": {"contest": contest | {"training": {"mixing": cutout}}},
        "imagenet": {"search": {"network": "imagenet"}, "retrain": {"network": "imagenet"}},
        "pruned": {"search": {"pruning": {}}},
        "given": {"genotype": "darts_v1"},
        "budget": {"budget": {"parameters": 90, "multiply_adds": 90, "latency": "5ms"}},
        "budgets": {
            "budget": [
                {"parameters": 80},
                {"parameters": 90, "multiply_adds": 9, "latency": "5ms"},
            ],
            "contest": contest,
        },
        "held out": {"data": held_out, "target": held_out},
        "attacked": attacked(plain),
        "attacked, held out": attacked(held_out),
        "attacked scorer": attacked(sized) | {"goal": "classifier"},
        "strange images": attacked(plain, **dict.fromkeys(SHIFTS, place / "wordnet-a")),
        "attacked, files": attacked(files),
        "attacked, flat": attacked(flat),
    }
    return {name: {"name": "x", "data": plain} | own for name, own in values.items()}


def walked(root: type[PipelineConfig]) -> list[Leaf]:
    return [leaf for leaf in leaves(root) if str(leaf) not in EXEMPT]


def test_every_setting_is_seen_by_a_stage_or_marked_as_without_effect(bases, paths):
    assert not problems(PipelineConfig, bases, paths, walked(PipelineConfig))


class _ForgetfulRun(PipelineConfig):
    forgotten: int = 0


class _ForgetfulData(DataConfig):
    rotation: float = 0.0


class _RotatedRun(PipelineConfig):
    data: _ForgetfulData


class _ForgetfulLandscape(LandscapeConfig):
    contours: bool = False


class _ContouredRun(PipelineConfig):
    landscape: _ForgetfulLandscape | None = None


class _ForgetfulSearch(SearchConfig):
    patience: int = 3


class _PatientRun(PipelineConfig):
    search: _ForgetfulSearch = Field(default_factory=_ForgetfulSearch)


class _ForgetfulRetraining(RetrainConfig):
    warm_restarts: Literal["on", "off"] = "off"


class _RestartedRun(PipelineConfig):
    retrain: _ForgetfulRetraining = Field(
        default_factory=lambda: _ForgetfulRetraining.model_validate({})
    )


@pytest.mark.parametrize(
    ("root", "path"),
    [
        (_ForgetfulRun, "forgotten"),
        (_RotatedRun, "data.rotation"),
        (_ContouredRun, "landscape.contours"),
    ],
)
def test_a_new_setting_that_no_stage_sees_is_found(bases, paths, root, path):
    before = {str(leaf) for leaf in leaves(PipelineConfig)}
    new = [leaf for leaf in leaves(root) if str(leaf) not in before]
    complaint = f"{path}: no stage sees it, and it is not marked as without effect"
    assert problems(root, bases, paths, new) == [complaint]


@pytest.mark.parametrize("root", [_PatientRun, _RestartedRun])
def test_a_new_setting_of_a_config_that_a_stage_takes_whole_counts_by_itself(bases, paths, root):
    before = {str(leaf) for leaf in leaves(PipelineConfig)}
    new = [leaf for leaf in leaves(root) if str(leaf) not in before]
    assert len(new) == 1
    assert not problems(root, bases, paths, new)


def test_a_setting_that_is_marked_and_counts_is_found(bases, paths):
    class MarkedRun(PipelineConfig):
        seed: int = Field(0, ge=0, json_schema_extra=WITHOUT_EFFECT)

    (seed,) = [leaf for leaf in leaves(MarkedRun) if str(leaf) == "seed"]
    (found,) = problems(MarkedRun, bases, paths, [seed])
    assert found.startswith("seed: marked as without effect, yet it counts in network")


def test_the_goal_decides_which_stages_run_and_nothing_of_what_they_make(bases):
    for values in bases.values():
        of_goal = {
            goal: observe(PipelineConfig.model_validate(values | {"goal": goal}))
            for goal in get_args(Goal)
        }
        assert len({frozenset(made) for made in of_goal.values()}) == len(of_goal)
        beside = {"robustness", "landscape"}  # of the network where the goal is one
        for made in of_goal.values():
            for other in of_goal.values():
                shared = (made.keys() & other.keys()) - beside
                assert {s: made[s] for s in shared} == {s: other[s] for s in shared}


def test_the_name_is_in_no_fingerprint(bases):
    for values in bases.values():
        one, other = (PipelineConfig.model_validate(values | {"name": n}) for n in "xy")
        assert observe(one) == observe(other)


def test_a_ranking_holds_nothing_out(bases):
    fidelity = {"training": {"validation_fraction": 0.1}}
    with pytest.raises(ValidationError, match="allowed: 0"):
        PipelineConfig.model_validate(bases["ranking"] | {"fidelity": fidelity})


def test_effective_settings_leave_out_marked_fields_of_nested_models_too():
    class Inner(MixingConfig):
        workers: int = Field(4, json_schema_extra=WITHOUT_EFFECT)

    class Outer(PipelineConfig):
        parts: tuple[Inner, ...] = (Inner(),)

    config = Outer.model_validate({"name": "x", "data": {"kind": "folder", "root": Path("a")}})
    found = effective_settings(config)
    assert found["parts"] == [MixingConfig().model_dump()]
    assert found["data"]["root"] == "a"
    assert "workers" not in found["data"]


def test_a_part_of_a_config_is_what_its_base_class_declares():
    config = SearchConfig(network="imagenet", epochs=60, architecture_learning_rate=1e-3)
    part = part_of(config, SupernetConfig)
    assert type(part) is SupernetConfig
    assert part.model_dump().items() <= config.model_dump().items()
    assert not hasattr(part, "architecture_learning_rate")
