"""The classification recipes: what their headers promise is what their overrides train."""

import re
import shlex
from pathlib import Path

import pytest

from evaluate.published.error_rates import PUBLISHED_TABLES
from evaluate.published.rows import Setting
from pipeline.config import load_config
from pipeline.graph import fingerprints
from pipeline.stages import STAGES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "classification"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
PUBLISHED = [
    path for path in CONFIGS if path.stem != "cifar100-small" and "official" not in path.stem
]
CELL = re.compile(r"#   (.+?)(?: \(([\d.]+)(?:; ([\d.]+)×?)?\))? +(--set .*)")


def names(paths):
    return [path.stem for path in paths]


def header(path):
    return [line for line in path.read_text().splitlines() if line.startswith("#")]


def cells(path):
    """(label, error, second figure, overrides) of every cell that the header lists."""
    for match in filter(None, (CELL.fullmatch(line) for line in header(path))):
        label, error, other, options = match.groups()
        words = shlex.split(options)
        assert set(words[::2]) == {"--set"}
        yield label, error and float(error), other and float(other), words[1::2]


def tables(config):
    dataset = "imagenet" if config.data.kind == "folder" else config.data.kind
    found = [t for t in PUBLISHED_TABLES if (t.model, t.dataset) == (config.scorer.model, dataset)]
    assert found
    return found


@pytest.mark.parametrize("path", CONFIGS, ids=names(CONFIGS))
def test_every_recipe_trains_a_classifier_under_a_name_of_its_own(path):
    config = load_config(path)
    assert config.goal == "classifier"
    assert config.name.startswith(path.stem)
    command = f"python run_pipeline.py run {path.relative_to(ROOT)}"
    assert any(command in line for line in header(path))
    # What to expect of it: measured here and where to read it, or that nobody has run it yet.
    assert any("not yet run" in line or "docs/results.md" in line for line in header(path))


@pytest.mark.parametrize("path", PUBLISHED, ids=names(PUBLISHED))
def test_every_published_cell_is_an_override_that_trains_it(path):
    listed = []
    for label, error, other, overrides in cells(path):
        config = load_config(path, overrides)
        setting = Setting.of(config.scorer)
        rows = [row for table in tables(config) if (row := table.row_of(setting))]
        assert rows, label
        row = next(row for row in rows if row.top1_error == error)
        assert other in (None, row.top5_error, row.training_time)
        assert config.scorer.epochs == 300
        listed.append((row.method, error))
        words = re.sub(r"[^a-z]", "", label.removeprefix("+ ").split(",")[0].lower())
        assert words in re.sub(r"[^a-z]", "", row.method.lower()) or setting.is_vanilla
    rows = [row for table in tables(load_config(path)) for row in table.rows]
    assert sorted(listed) == sorted((row.method, row.top1_error) for row in rows if row.setting)
    left_out = " ".join(line for line in header(path) if "Left out" in line)
    for row in rows:
        if row.setting is None:
            assert f"{row.method.removeprefix('+ ')} ({row.top1_error:.2f}" in left_out


@pytest.mark.parametrize("path", PUBLISHED, ids=names(PUBLISHED))
def test_as_it_stands_a_recipe_is_the_cell_whose_error_it_expects(path):
    config = load_config(path)
    rows = [table.row_of(Setting.of(config.scorer)) for table in tables(config)]
    (row,) = filter(None, rows)
    expected = next(line for line in header(path) if "expected" in line)
    assert f"the paper gives {row.top1_error:.2f} %" in expected


def test_the_small_recipe_lists_the_six_mixers_of_table_3():
    path = FOLDER / "cifar100-small.yaml"
    kinds = [load_config(path, overrides).scorer.mixing.kind for _, _, _, overrides in cells(path)]
    assert kinds == [
        *("none", "mixup", "manifold_mixup", "cutmix", "dmixup", "dcutmix", "saliency_dcutmix"),
    ]


@pytest.mark.parametrize(
    ("stem", "learning_rate", "batch_size", "steps"),
    [
        ("cifar100-pyramidnet110", 0.25, 64, [150, 225]),
        ("cifar100-pyramidnet200", 0.25, 64, [150, 225]),
        ("cifar10-pyramidnet200", 0.25, 64, [150, 225]),
        ("cifar100-preact_resnet18", 0.2, 100, [100, 200]),
        ("cifar100-wrn16_8", 0.2, 100, [100, 200]),
        ("cifar100-resnext29_4_24", 0.2, 100, [100, 200]),
        ("imagenet-resnet50", 0.1, 256, [75, 150, 225]),
    ],
)
def test_budgets_and_rates_are_the_published_ones(stem, learning_rate, batch_size, steps):
    scorer = load_config(FOLDER / f"{stem}.yaml").scorer
    assert (scorer.learning_rate, scorer.batch_size) == (learning_rate, batch_size)
    assert (scorer.momentum, scorer.weight_decay, scorer.schedule) == (0.9, 1e-4, "step")
    schedule = scorer.make_schedule()
    changes = [e for e in range(1, scorer.epochs) if schedule(e) < 0.5 * schedule(e - 1)]
    assert changes == steps
    assert schedule(scorer.epochs - 1) == pytest.approx(0.1 ** len(steps))


@pytest.mark.parametrize(
    "stem", ["cifar100-pyramidnet110", "cifar100-pyramidnet200", "cifar10-pyramidnet200"]
)
def test_the_authors_own_setting_differs_in_weight_decay_and_steps_alone(stem):
    yun, authors = (load_config(FOLDER / f"{stem}{end}.yaml").scorer for end in ("", "-official"))
    assert (authors.weight_decay, authors.milestones) == (4e-5, (0.75, 0.9))
    changed = {"weight_decay": yun.weight_decay, "milestones": yun.milestones}
    assert authors.model_copy(update=changed) == yun


def test_images_are_cropped_as_published():
    padding = {"preact_resnet18": 2, "wrn16_8": 2, "resnext29_4_24": 2}
    for path in CONFIGS:
        config = load_config(path)
        assert config.data.crop_padding == padding.get(config.scorer.model)  # None: 4 at 32×32
    imagenet = load_config(FOLDER / "imagenet-resnet50.yaml").data
    assert (imagenet.image_size, imagenet.in_files, imagenet.lighting) == (224, True, 0.1)


def test_the_authors_pyramidnet_110_is_the_scorer_of_the_papers_pipeline():
    content = {"data": "images", "target": "images"}
    paths = FOLDER / "cifar100-pyramidnet110-official.yaml", ROOT / "configs" / "cifar100.yaml"
    alone, pipeline = (fingerprints(STAGES, load_config(path), content) for path in paths)
    assert alone == {"scorer": pipeline["scorer"]}
