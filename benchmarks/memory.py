"""Peak memory of GraNd and of Monte-Carlo dropout by the number of images, of a ResNet-8.

    python -m benchmarks.memory [--images 512 1024 2048 4096 8192] [--json FILE]

Each is measured in a new process: the growth at the peak beyond the network and the images, which
are random, of 32×32 pixels in 100 classes. Batches are the pipeline's; Linux only.
"""

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.measurement import NORMALIZATION, options, peak_memory, random_pixels, write_record
from classification.models import build_classifier
from pipeline.device import device_name
from pipeline.reports.page import markdown_table
from subsample.baselines import dropout_uncertainty
from subsample.config import ScoresConfig
from subsample.early import grand
from subsample.measures import DropoutConfig

_CPU = torch.device("cpu")
_CLASSES, _SIDE = 100, 32
_MEASURES = ("grand", "mc_dropout")


def prepare(measure: str, number: int) -> Callable[[], object]:
    """Build the network and `number` images, and return what measures them."""
    model = build_classifier("resnet8", _CLASSES)
    images, batch = random_pixels(number, _SIDE, _CPU), ScoresConfig().batch_size
    if measure == "grand":
        return partial(grand, model, images, torch.arange(number) % _CLASSES, NORMALIZATION, batch)
    return partial(dropout_uncertainty, model, images, NORMALIZATION, DropoutConfig(), 0, batch)


def main() -> None:
    """Print the table, and write it to --json."""
    given = options(__doc__, images=[512, 1024, 2048, 4096, 8192]).parse_args()
    print(f"{device_name(_CPU)}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    peaks = {
        measure: [peak_memory(partial(prepare, measure, number), _CPU) for number in given.images]
        for measure in _MEASURES
    }
    columns = {"images": [f"{number:,}" for number in given.images]}
    columns |= {f"`{name}`, MB": [f"{peak / 1e6:.0f}" for peak in peaks[name]] for name in peaks}
    print(markdown_table(columns))
    write_record(given.json, _CPU, given, peaks=peaks)


if __name__ == "__main__":
    main()
