"""Accuracy under attack and distribution shift (Jeong et al. 2023, Tables 4 and 5).

White-box attacks use the classifier itself; gray-box and black-box attacks transfer from a
substitute of the same or another architecture. Accuracy under attack is the fraction of all
attacked images that are classified correctly, including images that were wrong before the attack.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from classification.data.loaders import Images
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator
from evaluate.robustness.attacks import Attacker, PixelModel, untouched
from evaluate.robustness.config import AttackConfig, Kind
from evaluate.robustness.distribution_shift import Measure

_CPU = torch.device("cpu")  # ART takes images from here


@dataclass(frozen=True)
class Source:
    """A model on which adversarial images are made, and its relation to the classifier."""

    kind: Kind
    architecture: str
    model: PixelModel


def choose_images(images: Images, number: int | None, seed: int) -> Images:
    """Draw `number` of `images` without replacement; return all for None or if there are fewer."""
    if number is None or number >= len(images):
        return images
    order = torch.randperm(len(images), generator=make_generator(seed, "robustness-images"))
    return images.take(order[:number].sort().values)


def measure_robustness(
    sources: Sequence[Source],
    images: Images,
    num_classes: int,
    config: AttackConfig,
    measures: Mapping[str, Measure],
    *,
    seed: int,
    workspace: Workspace,
) -> dict[str, Any]:
    """Attack the first of `sources`, the classifier itself, with images made on each of them.

    Returns `images`, `clean` {accuracy, correct}, `attacks`, a list of {kind, architecture, attack,
    curve: [{epsilon, accuracy, correct, images}]}, and `shift`, the results of `measures`. Resumes
    from the workspace after any batch and any of `measures`, with the same result. The models are
    on one device and are restored afterwards; memory does not grow with the number of images.
    """
    target = sources[0].model
    loader = images.loader(config.batch_size, _CPU, training=False)
    identity = {"config": config.model_dump(mode="json"), "seed": seed}
    done, state = workspace.resume()
    if done and state != identity:  # from other settings
        workspace.discard_checkpoints()
        done, _ = workspace.resume()
    started, first = time.perf_counter(), done
    with ExitStack() as stack:
        for source in sources:
            stack.enter_context(untouched(source.model))
        attackers = [Attacker(s.model, num_classes, images.image_size) for s in sources]
        for index, (batch, labels) in enumerate(loader.batches(first=done), done):
            row = _attack_batch(target, attackers, batch.float() / 255, labels, config, seed, index)
            workspace.save(index + 1, identity, row)
            seen = min((index + 1) * config.batch_size, len(images))
            rate = (seen - first * config.batch_size) / (time.perf_counter() - started)
            workspace.progress(seen, len(images), "image", images_per_second=rate)
        for number, (name, measure) in enumerate(measures.items(), len(loader) + 1):
            if number > done:
                workspace.save(number, identity, {"shift": name, **measure()})
                workspace.progress(number - len(loader), len(measures), "shift")
    return _summarise(workspace.rows(), sources, config)


def named_attacks(result: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the attacks in a result of `measure_robustness` by source and name, such as
    ("white-box", "pgd") or ("gray-box from resnet8", "pgd"). Equal sources are numbered.
    """
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for attack in result["attacks"]:
        substitute = "" if attack["kind"] == "white-box" else f" from {attack['architecture']}"
        source, number = attack["kind"] + substitute, 2
        while (source, attack["attack"]) in found:
            source = f"{attack['kind']}{substitute} ({number})"
            number += 1
        found[source, attack["attack"]] = attack
    return found


def describe_attack(name: str, steps: int) -> str:
    """Return a name such as FGSM or PGD-10."""
    return f"PGD-{steps}" if name == "pgd" else name.upper()


def describe_epsilon(epsilon: float) -> str:
    """Return ε as a text such as 8/255."""
    return f"{255 * epsilon:.4g}/255"


def _attack_batch(
    target: PixelModel,
    attackers: Sequence[Attacker],
    pixels: Tensor,
    labels: Tensor,
    config: AttackConfig,
    seed: int,
    index: int,
) -> dict[str, Any]:
    """Count the images that the target classifies correctly: clean, and by source, attack and ε."""

    def correct(shown: Tensor) -> int:
        return int((target.predict(shown) == labels).sum())

    attacked = [
        {
            name: [
                correct(attacker.attack(pixels, labels, config.attack(name, epsilon), seed, *place))
                for epsilon in config.epsilons
            ]
            for name in config.attacks
        }
        for attacker, place in ((a, (index, number)) for number, a in enumerate(attackers))
    ]
    return {"images": len(labels), "clean": correct(pixels), "attacked": attacked}


def _summarise(
    rows: Sequence[Mapping[str, Any]], sources: Sequence[Source], config: AttackConfig
) -> dict[str, Any]:
    batches = [row for row in rows if "attacked" in row]
    images = sum(row["images"] for row in batches)

    def accuracy(counts: Iterator[int]) -> dict[str, Any]:
        correct = sum(counts)
        return {"accuracy": correct / images, "correct": correct, "images": images}

    return {
        "images": images,
        "clean": accuracy(row["clean"] for row in batches),
        "attacks": [
            {
                "kind": source.kind,
                "architecture": source.architecture,
                "attack": name,
                "curve": [
                    {"epsilon": epsilon}
                    | accuracy(row["attacked"][number][name][place] for row in batches)
                    for place, epsilon in enumerate(config.epsilons)
                ],
            }
            for number, source in enumerate(sources)
            for name in config.attacks
        ],
        "shift": {
            row["shift"]: {key: value for key, value in row.items() if key != "shift"}
            for row in rows
            if "shift" in row
        },
    }
