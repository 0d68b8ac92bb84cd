"""The picture of the README: two photographs under random DCutMix occlusions, as scoring sees them.

`python docs/examples/occlusion.py` writes docs/images/occlusion.jpg. The photographs are
scikit-learn's china.jpg and flower.jpg, both under CC BY 2.0. Its notice names danielbuechele for
both; flower.jpg's links lead to vultilion.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from sklearn.datasets import load_sample_image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from classification.mixing import nest_boxes, sample_fractions  # noqa: E402
from classification.seeding import make_generator  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "occlusion.jpg"
SIDE = 256  # pixels of a crop
CROPS = (  # photograph; left, top, side of a square in it
    ("china.jpg", 60, 20, 330),
    ("flower.jpg", 155, 70, 300),
    ("china.jpg", 400, 140, 240),
    ("flower.jpg", 0, 20, 200),
    ("china.jpg", 330, 120, 200),
)
ANCHORS, DRAWS = (0, 1), 3
NUM_IMAGES, ALPHA, ANCHOR_FRACTION = 3, 2 / 9, 5 / 9  # the defaults of `scores`
COLOURS = ("#0072b2", "#e69f00", "#d55e00")  # of the anchor and its partners


def crops() -> torch.Tensor:
    """uint8 [N, 3, SIDE, SIDE]."""
    found = []
    for name, left, top, side in CROPS:
        photograph = Image.fromarray(load_sample_image(name))
        square = photograph.crop((left, top, left + side, top + side))
        square = square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        found.append(torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8))
    return torch.stack(found).view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2)


def draw(images: torch.Tensor, seed: int = 3) -> Figure:
    """A row per anchor: the photograph, then its mixes with boxes and shares of the pixels."""
    generator = make_generator(seed, "occlusion")
    figure = Figure(figsize=(8, 4.9))
    panels = figure.subplots(len(ANCHORS), DRAWS + 1, squeeze=False)
    figure.subplots_adjust(0.005, 0.065, 0.995, 0.93, wspace=0.04, hspace=0.22)
    for row, anchor in zip(panels, ANCHORS, strict=True):
        others = sample_fractions(ALPHA, (DRAWS, NUM_IMAGES - 1), generator, images.device)
        kept = others.new_full((DRAWS, 1), ANCHOR_FRACTION)
        fractions = torch.cat([kept, (1 - ANCHOR_FRACTION) * others], -1)
        boxes = nest_boxes(fractions, SIDE, SIDE, generator)
        sources = torch.tensor([_sources(anchor, len(images), generator) for _ in range(DRAWS)])
        mixed, shares = boxes.compose(images, sources), boxes.weights().tolist()
        _show(row[0], images[anchor], [1.0])
        for index, panel in enumerate(row[1:]):
            _show(panel, mixed[index], shares[index])
            for k in range(1, NUM_IMAGES):
                sides = (boxes.left, boxes.top, boxes.width, boxes.height)
                left, top, width, height = (float(side[index, k]) for side in sides)
                panel.add_patch(
                    Rectangle((left, top), width, height, fill=False, ec=COLOURS[k], lw=4)
                )
    for panel, title in zip(panels[0], ["image", "draw 1", "draw 2", "draw 3"], strict=True):
        panel.set_title(title, fontsize=16)
    return figure


def _sources(anchor: int, number: int, generator: torch.Generator) -> list[int]:
    """The anchor and its partners, all different."""
    order = torch.randperm(number, generator=generator).tolist()
    return [anchor, *(each for each in order if each != anchor)][:NUM_IMAGES]


def _show(panel: Axes, image: torch.Tensor, shares: Sequence[float]) -> None:
    """The image, and below it a bar of what each source has of its pixels."""
    panel.imshow(image.permute(1, 2, 0).numpy())
    left = 0.0
    for share, colour in zip(shares, COLOURS, strict=False):
        at = (left * SIDE, 1.02 * SIDE)
        panel.add_patch(Rectangle(at, share * SIDE, 0.12 * SIDE, color=colour, clip_on=False))
        if share > 0.2:
            middle = ((left + share / 2) * SIDE, 1.085 * SIDE)
            ink = "black" if colour == COLOURS[1] else "white"
            shown = f"{100 * share:.0f} %"
            panel.text(*middle, shown, color=ink, size=13, ha="center", va="center")
        left += share
    panel.set(xlim=(-0.5, SIDE - 0.5), ylim=(SIDE - 0.5, -0.5))
    panel.set_axis_off()


def main(path: Path = PICTURE) -> None:
    """Write the picture."""
    draw(crops()).savefig(path, dpi=150, facecolor="white", pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
