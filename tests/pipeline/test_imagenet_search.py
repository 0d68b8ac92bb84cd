"""PC-DARTS' search on ImageNet, configs/imagenet-search.yaml, on a folder of generated images."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import pcdarts.search
from classification.acceleration import ReplayedStep
from classification.data.loaders import Images
from classification.persistence.workspace import METRICS, Workspace
from pcdarts.genotype import Genotype
from pcdarts.search_config import SearchConfig
from pipeline.config import load_config
from pipeline.graph import build_graph, fingerprints, stage_order
from pipeline.stages import STAGES
from run_pipeline import main
from subsample.selection import Subset
from tests.pcdarts.test_search import CallAgain

CONFIGS = Path(__file__).parents[2] / "configs"
CONTENT = {"data": "images", "target": "images"}
CLASSES, IMAGES = ("ant", "bee", "cat"), 16
TINY = """
name: tiny
data:    {{kind: folder, root: {root}, image_size: 64, storage: files, workers: 0}}
scorer:  {{batch_size: 12}}
subset:  {{measure: random, fraction: 0.5, architecture_fraction: 0.25}}
search:  {{network: imagenet, epochs: 2, warmup_epochs: 0, rate_warmup_epochs: 1, channels: 4,
          cells: 3, batch_size: 12, architecture_learning_rate: 0.1}}
retrain: {{network: imagenet, channels: 4, cells: 3, epochs: 1, warmup_epochs: 0, batch_size: 12}}
"""


class Place:
    """A folder for a config, its artifacts and its run."""

    def __init__(self, folder: Path, root: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.config = folder, folder / "tiny.yaml"
        self.config.write_text(TINY.format(root=root))

    def run(self, *overrides: str) -> int:
        settings = [part for override in overrides for part in ("--set", override)]
        places = ["--artifacts", str(self.folder / "artifacts"), "--runs", str(self.folder / "r")]
        options = ["--device", "cpu", "--until", "search"]
        return main(["run", str(self.config), *settings, *places, *options])

    def made(self, stage: str, name: str) -> Path:
        (path,) = self.folder.glob(f"artifacts/{stage}/*/{name}")
        return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for split, count in (("train", IMAGES), ("val", 2)):
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                colour = (100 * label, 12 * index, 80)
                Image.new("RGB", (70 + index, 64), colour).save(
                    folder / split / name / f"{index:02}.png"
                )
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Place:
    place = Place(tmp_path_factory.mktemp("finished"), root)
    assert place.run() == 0
    return place


def test_the_two_lists_are_disjoint_and_have_as_many_of_each_class(finished: Place) -> None:
    """Half and a quarter of 16 images a class, which are named in order, class by class."""
    subset = Subset.load(finished.made("subset", "subset.json"))
    assert subset.architecture_indices is not None
    assert not set(subset.indices) & set(subset.architecture_indices)
    for indices, each in ((subset.indices, 8), (subset.architecture_indices, 4)):
        assert Counter(index // IMAGES for index in indices) == dict.fromkeys(range(3), each)
    assert subset.class_histogram == dict.fromkeys(CLASSES, 12)


def test_no_image_is_copied(finished: Place) -> None:
    kinds = {path.suffix for path in finished.folder.glob("artifacts/*/*/*")}
    assert kinds <= {".json", ".jsonl"}


def test_a_search_on_files_trains_on_a_sample_and_ranks_all_images(
    root: Path, tmp_path: Path
) -> None:
    place = Place(tmp_path / "sampled", root)
    pruning = "{warmup_fraction: 0.25, after_epochs: 2, rounds: 1, final_fraction: 0.5}"
    changes = (f"search.pruning={pruning}", "search.epochs=3", "search.batch_size=3")
    assert place.run(*changes) == 0
    rows = [json.loads(line) for line in place.made("search", METRICS).read_text().splitlines()]
    # Of 8 images a class for the weights 2, then 4; of 4 for α and β 1, then 2.
    assert [row["images"] for row in rows] == [[6, 3], [6, 3], [12, 6]]


def test_a_stopped_search_ends_in_the_same_genotype(
    finished: Place, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_epoch = pcdarts.search._train_epoch

    def stop_in_the_second(*arguments: object) -> object:
        if arguments[4] == 1:
            raise KeyboardInterrupt
        return train_epoch(*arguments)

    place = Place(tmp_path / "again", root)
    with monkeypatch.context() as patch:
        patch.setattr(pcdarts.search, "_train_epoch", stop_in_the_second)
        assert place.run() == 130
    assert place.run() == 0
    for name in ("genotype.json", "metrics.jsonl"):
        assert place.made("search", name).read_bytes() == finished.made("search", name).read_bytes()
    Genotype.load(place.made("search", "genotype.json"))


def test_steps_on_images_in_files_can_be_replayed(
    finished: Place, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a graph is fed is the batch itself. A captured step stands for one on a CUDA device."""
    made: list[ReplayedStep] = []

    def replayed(steps: Any, *_: Any) -> list[ReplayedStep]:
        made.extend(ReplayedStep(step, CallAgain(), print) for step in steps)
        return made

    monkeypatch.setattr(pcdarts.search, "replayed", replayed)
    monkeypatch.setattr("classification.acceleration._PLAIN_CALLS", 1)
    place = Place(tmp_path, root)
    assert place.run() == 0
    assert [len(step._graphs) for step in made] == [1, 1]
    metrics = (each.made("search", "metrics.jsonl").read_bytes() for each in (place, finished))
    assert len(set(metrics)) == 1


def test_alpha_moves_on_images_in_files(finished: Place) -> None:
    lines = finished.made("search", "metrics.jsonl").read_text().splitlines()
    first, second = (torch.tensor(json.loads(line)["alphas"]["normal"]) for line in lines)
    assert (second - first).abs().max() > 0.01


@pytest.mark.parametrize("strength", [None, 0.4])
def test_the_search_crops_and_flips_without_a_jitter_of_colours(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strength: float | None
) -> None:
    """As published. Each file has one colour, which no crop and no flip changes."""
    seen: list[torch.Tensor] = []

    def look(parts: tuple[Images, Images], *_: object) -> Genotype:
        for part in parts:
            loader = part.loader(12, torch.device("cpu"), training=True)
            seen.extend(images for images, _ in loader.batches(torch.Generator()))
        raise KeyboardInterrupt

    monkeypatch.setattr(pcdarts.search, "search", look)
    assert Place(tmp_path, root).run(*[f"search.colour_jitter={strength}"] * bool(strength)) == 130
    colours = set(map(tuple, torch.cat(seen)[:, :, 32, 32].tolist()))
    drawn = {(100 * label, 12 * index, 80) for label in range(3) for index in range(IMAGES)}
    assert (colours <= drawn) == (strength is None)


def test_alpha_and_beta_are_clipped_as_the_weights_are_on_imagenet_alone() -> None:
    """PC-DARTS' train_search_imagenet.py clips both; its architect.py for CIFAR clips neither."""
    published = SearchConfig(network="imagenet")
    assert (published.gradient_clip, published.architecture_gradient_clip) == (5, 5)
    assert SearchConfig().architecture_gradient_clip is None


def test_the_search_passes_its_clip_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[object] = []

    def architect(*settings: object) -> object:
        given.extend(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(pcdarts.search, "Architect", architect)
    config = SearchConfig(channels=4, cells=3, architecture_gradient_clip=2.5)
    unused: Any = None
    place, cpu = Workspace(tmp_path), torch.device("cpu")
    with pytest.raises(KeyboardInterrupt):
        pcdarts.search.search((unused, unused), 3, unused, config, 0, place, cpu)
    assert given[-1] == 2.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "subset.fraction=0.9",
            "subset.architecture_fraction: found 0.25; its sum with fraction 0.9",
        ),
        (
            "subset.measure=full",
            "subset.architecture_fraction: found 0.25; cannot be used with measure: full",
        ),
        (
            "data.image_size=63",
            "data.image_size: 63 pixels are too few for the supernet's imagenet",
        ),
        ("search.batch_size=13", "search.batch_size: 13 exceeds the 12 images for α and β"),
        (
            "data.images_per_class=2",
            "subset.architecture_fraction: 0.25 finds none of the 2 images",
        ),
        ("subset.measure=cv", "data.storage: found files"),
        ("subset.measure=k_center", "data.storage: found files"),
    ],
)
def test_what_could_not_be_is_refused_by_its_key(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    settings = [override, "subset.fraction=0.75"] if "per_class" in override else [override]
    assert Place(tmp_path, root).run(*settings) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("artifacts/*/*/*.json"))


def test_the_recipe_is_the_published_search_and_scores_nothing() -> None:
    config = load_config(CONFIGS / "imagenet-search.yaml")
    assert config.search == SearchConfig(network="imagenet")
    assert (config.subset.fraction, config.subset.architecture_fraction) == (0.1, 0.025)
    assert (config.data.image_size, config.data.in_files) == (224, True)
    order = stage_order(build_graph(STAGES, config), STAGES)
    assert order == ["subset", "search", "retrain"]
    header = (CONFIGS / "imagenet-search.yaml").read_text()
    assert "python run_pipeline.py run configs/imagenet-search.yaml" in header
    assert "not yet run" in header


def test_two_lists_are_another_subset_and_depend_on_the_seed() -> None:
    def keys(*overrides: str) -> tuple[str, str]:
        config = load_config(CONFIGS / "quickstart.yaml", overrides)
        made = fingerprints(STAGES, config, CONTENT)
        return made["subset"], made["search"]

    listed = keys("subset.architecture_fraction=0.1")
    assert listed[0] != keys()[0]
    assert listed != keys("subset.architecture_fraction=0.1", "seed=1")
    assert keys("search.rate_warmup_epochs=1")[1] != keys()[1]
