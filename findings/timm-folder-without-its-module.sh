#!/bin/sh
# timm 1.0.31: a folder or repository of an unregistered network cannot be loaded by its name.
#
# Behaviour: create_model("local-dir:FOLDER") and "hf-hub:" look up the architecture of config.json
# among the registered functions; no module of the folder is imported. The weights are read only
# with pretrained=True, and only by functions that call build_model_with_cfg. A function that
# builds the network itself returns random weights, and nothing is logged.
# Seen: "Unknown model (found)" with found.py in the folder; after registration, random weights
# from the plain function with pretrained=True, the saved ones through build_model_with_cfg, random
# ones without pretrained=True.
# Who meets it: whoever publishes a network of their own, for example a found one, as timm's files.
# Here: export --as timm and --as hub write a module that registers the network through
# build_model_with_cfg, and the model card says to import it first.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    timm==1.0.31 torch==2.12.1 torchvision==0.27.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import json
import pathlib

import timm
import torch
from timm.models import build_model_with_cfg, register_model
from timm.models.resnet import BasicBlock, ResNet

SHAPE = {"block": BasicBlock, "layers": (1, 1, 1, 1)}
saved = ResNet(num_classes=7, **SHAPE)
saved.pretrained_cfg = timm.create_model("resnet18").pretrained_cfg
timm.models.save_for_hf(saved, "folder", safe_serialization=True)
config = json.loads(pathlib.Path("folder/config.json").read_text())
pathlib.Path("folder/config.json").write_text(json.dumps(config | {"architecture": "found"}))
pathlib.Path("folder/found.py").write_text("raise SystemExit('the module was imported')\n")


def same(**options):
    loaded = timm.create_model("local-dir:folder", **options)
    return torch.equal(loaded.fc.weight, saved.fc.weight)


try:
    same(pretrained=True)
except RuntimeError as error:
    message = str(error)


@register_model
def found(pretrained=False, **options):
    return ResNet(num_classes=7, **SHAPE)


plain = same(pretrained=True)


@register_model
def found(pretrained=False, **options):
    return build_model_with_cfg(ResNet, "found", pretrained, **SHAPE, **options)


built, default = same(pretrained=True), same()
print(message, plain, built, default)
assert message == "Unknown model (found)", "the unregistered network changed"
assert (plain, built, default) == (False, True, False), "the loaded weights changed"
END
