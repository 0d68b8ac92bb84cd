"""Crops of two photographs as an image folder, for the pictures of docs/method.md.

The photographs are scikit-learn's china.jpg and flower.jpg, as in occlusion.py, both under CC BY
2.0. Each class is a region of one of them, and its images are random crops of that region: enough
for pictures, too little variety for results. These commands draw the pictures:

    python docs/examples/photographs.py     # .data/photographs/{train,val}/<class>/*.png
    python run_pipeline.py run docs/examples/photographs.yaml   # .../report/gallery.png
    python run_pipeline.py show docs/examples/photographs.yaml --set data.image_size=120 \\
        --mixer dcutmix --mixer saliency_dcutmix -o mixes.png
"""

import random
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_image

FOLDER = Path(".data/photographs")
SIDE = 120  # pixels of an image
SMALLEST, LARGEST = 70, 150  # pixels of a crop's side
NUMBERS = {"train": 64, "val": 16}  # images of each class
REGIONS = {  # class: photograph; left, top, right, bottom
    "dahlia": ("flower.jpg", (165, 80, 450, 365)),
    "lake": ("china.jpg", (345, 120, 560, 285)),
    "leaves": ("flower.jpg", (0, 40, 180, 427)),
    "pavilion": ("china.jpg", (75, 30, 355, 390)),
    "trees": ("china.jpg", (325, 260, 640, 427)),
}


def main(folder: Path = FOLDER) -> None:
    """Write the crops. They are the same in every call."""
    draw = random.Random(0)
    for name, (file, (left, top, right, bottom)) in REGIONS.items():
        photograph = Image.fromarray(load_sample_image(file))
        for split, number in NUMBERS.items():
            target = folder / split / name
            target.mkdir(parents=True, exist_ok=True)
            for index in range(number):
                side = draw.randint(SMALLEST, min(LARGEST, right - left, bottom - top))
                x, y = draw.randint(left, right - side), draw.randint(top, bottom - side)
                crop = photograph.crop((x, y, x + side, y + side))
                crop = crop.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                crop.save(target / f"{index:02}.png")


if __name__ == "__main__":
    main()
