"""Our own source cut down to what a class needs."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from classification.models import MODELS, build_classifier
from pcdarts.genotype import Genotype
from pcdarts.network import ImageNetNetwork
from pcdarts.published_genotypes import GENOTYPES
from pipeline.exports.standalone import standalone_source


def run(classes: list[type], name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the cut source defines, run as a module of its own."""
    source = standalone_source(classes)
    text = "\n".join(source.imports) + "\n\n" + source.body
    assert not [line for line in text.splitlines() if line.startswith("from classification")]
    module = type(sys)(name)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look their module up
    exec(compile(text, name, "exec"), module.__dict__)
    return module.__dict__


# PyramidNet-200 is PyramidNet-110 with other numbers, and takes seconds.
@pytest.mark.parametrize("name", sorted(set(MODELS) - {"pyramidnet200"}))
def test_every_classifier_stands_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        ours = build_classifier(name, 10)
        defined = run([type(ours)], f"alone_{name}", monkeypatch)
        arguments = MODELS[name].arguments
        alone = defined[type(ours).__name__](*arguments, 10)
        shapes = {key: value.shape for key, value in ours.state_dict().items()}
        assert {key: value.shape for key, value in alone.state_dict().items()} == shapes
        assert alone(torch.empty(2, 3, 64, 64)).shape == (2, 10)


def test_a_network_of_cells_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    genotype = GENOTYPES["pcdarts_imagenet"]
    ours = ImageNetNetwork(genotype, 5, channels=4, cells=3, auxiliary=False).eval()
    defined = run([ImageNetNetwork, Genotype], "alone_cells", monkeypatch)
    read = defined["Genotype"].from_dict(genotype.to_dict())
    alone = defined["ImageNetNetwork"](read, 5, channels=4, cells=3, auxiliary=False).eval()
    alone.load_state_dict(ours.state_dict())
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(alone(images)[0], ours(images)[0])


def write_modules(folder: Path, monkeypatch: pytest.MonkeyPatch, **sources: str) -> None:
    monkeypatch.syspath_prepend(folder)
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)


def test_what_is_not_mentioned_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "import os\nimport json\n\n# Why two.\nTWO = 2\nTHREE = 3\n\n\n"
    body = "class Kept:\n    number = TWO\n    text = json.dumps(number)\n"
    write_modules(tmp_path, monkeypatch, cut_here=head + body)
    import cut_here  # type: ignore[import-not-found]

    source = standalone_source([cut_here.Kept])
    assert source.imports == ("import json",)
    assert source.body == (
        "# Why two.\nTWO = 2\n\n\nclass Kept:\n    number = TWO\n    text = json.dumps(number)"
    )


def test_one_name_with_two_meanings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_modules(
        tmp_path,
        monkeypatch,
        cut_first="SIZE = 1\n\n\nclass First:\n    size = SIZE\n",
        cut_second="SIZE = 2\n\n\nclass Second:\n    size = SIZE\n",
    )
    import cut_first  # type: ignore[import-not-found]
    import cut_second  # type: ignore[import-not-found]

    with pytest.raises(ValueError, match="SIZE has different meanings in cut_first and cut_second"):
        standalone_source([cut_first.First, cut_second.Second])
