import pytest
import torch
from PIL import Image

from classification.datasets import DataConfig, load_dataset
from classification.errors import ConfigError, DataError
from classification.files import ImageFiles
from classification.seeding import make_generator

CPU = torch.device("cpu")


@pytest.fixture
def root(tmp_path):
    """Two classes of plain grey images of different shapes; the grey value names the image."""
    for split, count in (("train", 3), ("val", 2)):
        for label, name in enumerate(("ant", "bee")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                value = 40 * (label * count + index)
                shape = (90 + 10 * index, 70)
                Image.new("L", shape, value).save(folder / f"{index}.png")
    return tmp_path


def load(root, **settings):
    config = DataConfig(kind="folder", root=root, storage="files", image_size=32, workers=0)
    return load_dataset(config.model_copy(update=settings))


def epoch(files, seed=0, training=True, batch_size=4):
    generator = make_generator(seed, "order") if training else None
    return list(files.loader(batch_size, CPU, training).epoch(generator))


def test_evaluation_shows_every_file_in_order_at_its_size(root):
    data = load(root)
    batches = epoch(data.test, training=False, batch_size=3)
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert images.dtype == torch.uint8
    assert images.shape == (4, 3, 32, 32)
    assert labels.tolist() == [0, 0, 1, 1]
    assert images[:, 0, 16, 16].tolist() == [0, 40, 80, 120]


def test_a_training_epoch_shows_every_image_once(root):
    batches = epoch(load(root).train)
    assert [len(labels) for _, labels in batches] == [4, 2]
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_repeats_whatever_the_number_of_workers(root, workers):
    gradient = Image.linear_gradient("L")
    for path in root.glob("train/*/*.png"):
        gradient.save(path)
    reference = epoch(load(root).train)
    again = epoch(load(root, workers=workers).train)
    for (images, labels), (same_images, same_labels) in zip(reference, again, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
    others = epoch(load(root).train, seed=1)
    assert not torch.equal(reference[0][0], others[0][0])


def test_the_content_hash_heeds_names_sizes_and_image_size(root):
    hashes = {load(root).content_hash, load(root, image_size=48).content_hash}
    (root / "train" / "ant" / "0.png").rename(root / "train" / "ant" / "9.png")
    hashes.add(load(root).content_hash)
    Image.new("L", (300, 300), 7).save(root / "train" / "ant" / "9.png")
    hashes.add(load(root).content_hash)
    assert len(hashes) == 4


def test_a_truncated_file_is_named_when_its_turn_comes(root):
    path = root / "train" / "bee" / "1.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"bee/1\.png"):
        epoch(load(root).train)


def test_large_folders_stay_in_files_unless_told_otherwise(root):
    settings = {"kind": "folder", "root": root}
    assert DataConfig(**settings, image_size=224).in_files
    assert not DataConfig(**settings, image_size=64).in_files
    assert not DataConfig(**settings, image_size=224, storage="memory").in_files
    assert isinstance(load(root).train, ImageFiles)


def test_images_in_files_are_no_source_for_scores_and_search(root):
    with pytest.raises(ConfigError, match=r"data\.storage"):
        load(root).in_memory()


def test_take_keeps_paths_and_labels_together(root):
    taken = load(root).train.take(torch.tensor([5, 0]))
    assert [path.as_posix() for path in taken.paths] == ["train/bee/2.png", "train/ant/0.png"]
    assert taken.labels.tolist() == [1, 0]


def test_images_are_mirrored_only_where_they_may_be(root):
    gradient = Image.linear_gradient("L").rotate(90)
    for path in root.glob("train/*/*.png"):
        gradient.save(path)
    rising = []
    for flip in (True, False):
        train = load(root, flip=flip).train
        images = torch.cat([batch for seed in range(4) for batch, _ in epoch(train, seed)])
        rows = images[:, 0, 16].float()
        rising.append({bool(row[0] < row[-1]) for row in rows})
    assert len(rising[1]) == 1
    assert rising[0] == {True, False}
