#!/bin/sh
# Pillow 13.0.0: a gray image of 16 bits turned into 8 bits is clipped, not scaled.
#
# Behaviour: Image.convert("L") and convert("RGB") of mode I;16 cut every value above 255 to 255,
# so that X-ray, microscope and depth images become almost white, without a warning. torchvision's
# and timm's loaders call convert("RGB") on every image. A PNG of 16 bits a colour is scaled
# instead.
# Seen: 0, 255, 256, 1000, 65535 become 0, 255, 255, 255, 255.
# Who meets it: whoever trains on folders of such images with torchvision's ImageFolder.
# Here: deep images are scaled by the bits that they use (classification/data/depth.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    pillow==13.0.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import io

import numpy as np
from PIL import Image

values = np.array([[0, 255, 256, 1000, 65535]], np.uint16)
file = io.BytesIO()
Image.fromarray(values).save(file, "PNG")
image = Image.open(file)
gray = np.asarray(image.convert("L"))[0].tolist()
colour = np.asarray(image.convert("RGB"))[0, :, 0].tolist()
print(image.mode, gray, colour)
assert image.mode == "I;16", "the mode changed"
assert gray == colour == [0, 255, 255, 255, 255], "the values are no longer clipped"
END
