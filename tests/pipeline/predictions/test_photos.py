"""Images to predict: what is found, what is passed over, and what is said of it."""

from pathlib import Path

import pytest
from PIL import Image

from pipeline.predictions.photos import find_labelled, find_photos


def write(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)


def test_a_link_to_itself_is_passed_over_or_named_as_an_image(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    for name in ("loop", "loop.png"):
        (tmp_path / name).symlink_to(tmp_path / name)
    found = find_photos([tmp_path])
    assert [file.name for file in found.files] == ["a.png", "loop.png"]
    assert found.notes == ["passed over: 1 file (no ending 1)"]


def test_all_that_is_beside_the_labelled_images_is_noted(tmp_path: Path) -> None:
    write(tmp_path / "ant" / "a.png", tmp_path / "bee" / "images" / "b.png")
    assert find_labelled(tmp_path, ["ant", "bee"]).notes == []
    write(tmp_path / "loose.png", tmp_path / "ant" / "inner" / "c.png")
    write(tmp_path / "ant" / "images" / "d.png")
    found = find_labelled(tmp_path, ["ant", "bee"])
    assert [file.name for file in found.files] == ["a.png", "b.png"]
    assert found.labels == [0, 1]
    assert found.notes == [
        "passed over: 2 folders in class folders",
        "passed over: images outside of class folders: loose.png",
    ]


@pytest.mark.parametrize("folders", [(), ("images",)])
def test_a_flat_folder_says_which_folders_it_passes_over(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    flat = tmp_path / "val"
    write(flat / "a.png")
    for name in folders:
        (flat / name).mkdir()
    (tmp_path / "val.txt").write_text("a.png ant\n")
    assert find_labelled(flat, ["ant", "bee"], tmp_path / "val.txt").notes == []
    write(flat / "other" / "b.png")
    found = find_labelled(flat, ["ant", "bee"], tmp_path / "val.txt")
    assert found.labels == [0]
    (note,) = found.notes
    assert note.startswith("passed over: the folders ")
    assert "other" in note
