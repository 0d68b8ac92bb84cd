#!/bin/sh
# datasets 5.2.0: images are turned as EXIF says; torchvision, timm and Pillow do not turn them.
#
# Behaviour: the "imagefolder" reader of datasets returns a photograph upright; ImageFolder of
# torchvision 0.27.1 and the reader of timm 1.0.31 return it as it is stored. OpenCV turns it too.
# Seen: an image stored as 8 x 6 with orientation 6: 6 x 8 from datasets and OpenCV 5.0.0, 8 x 6
# from torchvision and timm.
# Who meets it: whoever trains with one reader and tests or deploys with another on photographs.
# Here: data.exif_orientation chooses, and the data summary says how many images it turns.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    datasets==5.2.0 pillow==13.0.0 opencv-python-headless==5.0.0.93 timm==1.0.31 \
    torch==2.12.1 torchvision==0.27.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/cache" venv/bin/python - <<'END'
import pathlib

import cv2
import datasets
import timm.data
from PIL import Image
from torchvision.datasets import ImageFolder

datasets.disable_progress_bars()
orientation = Image.Exif()
orientation[0x0112] = 6
for name in ("a", "b"):
    pathlib.Path("images", name).mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(f"images/{name}/0.jpg", exif=orientation)

turned = cv2.imread("images/a/0.jpg").shape
sizes = {
    "datasets": datasets.load_dataset("imagefolder", data_dir="images")["train"][0]["image"].size,
    "opencv": (turned[1], turned[0]),
    "torchvision": ImageFolder("images")[0][0].size,
    "timm": timm.data.create_dataset("", "images", split="")[0][0].size,
}
print(sizes)
assert sizes["datasets"] == sizes["opencv"] == (6, 8), "datasets or OpenCV changed"
assert sizes["torchvision"] == sizes["timm"] == (8, 6), "torchvision or timm changed"
END
