"""The `predict` command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from classification.errors import ConfigError
from pipeline.commands.options import Device, Json, Quiet, RunName, Runs, StoreOf
from pipeline.console import Console, print_json
from pipeline.exports.destination import check_destination, published
from pipeline.run_folder import RunFolder

_SURE = 0.5  # probability of the first class, from which on it is more probable than all others

if TYPE_CHECKING:
    from pipeline.predictions.assessment import Assessment
    from pipeline.predictions.photos import Photos
    from pipeline.predictions.predictor import Predictions


def predict(
    run: RunName,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="images or folders")],
    top: Annotated[int, typer.Option(min=1, help="most probable classes to show")] = 5,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="write the predictions to this file")
    ] = None,
    labels: Annotated[
        bool,
        typer.Option("--labels", help="compare with the labels of one folder laid out like val/"),
    ] = False,
    label_file: Annotated[
        Path | None,
        typer.Option(help="file that names the class of each image of a flat folder"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="folder of tables and figures, with --labels"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace earlier predictions")
    ] = False,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    artifacts: StoreOf = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> int:
    """Classify images with a run's network.

    The retrained network, or the classifier, sees images as in its test. An image is marked as
    unsure where the most probable class has less than 50 %; the probabilities are not calibrated.
    An unreadable image is named and stops nothing; the exit status is then 1.

    \b
    Example:
      python run_pipeline.py predict photos IMG_1.jpg IMG_2.jpg --top 3
      python run_pipeline.py predict photos inbox --csv inbox.csv
      python run_pipeline.py predict photos photos/val --labels -o photos-val
    """
    labels = labels or label_file is not None
    if output is not None and not labels:
        raise ConfigError("-o: found without --labels; allowed: with it, or --csv FILE")
    if labels and len(images) != 1:
        raise ConfigError(f"--labels: found {len(images)} paths; allowed: one folder")
    console = Console.choose(quiet, json_)
    console.log(f"loading the run {RunFolder.open(runs, run).path.name} …")
    from pipeline.device import device_name, resolve_device  # slow to import, with what follows
    from pipeline.opened_run import open_run
    from pipeline.predictions.assessment import FILES, write_assessment, write_table
    from pipeline.predictions.photos import find_labelled, find_photos

    for option, path, files in (("--csv", csv, None), ("-o", output, FILES)):
        if path is not None:
            check_destination(path, overwrite, files, option)
    _check_apart(csv, output)
    own_device = resolve_device(device)
    opened = open_run(run, runs, artifacts)
    names = opened.class_names
    photos = find_labelled(images[0], names, label_file) if labels else find_photos(images)
    with console.progress("predict", own_device.type) as progress:
        found = opened.predict(photos, device=device, skip_unreadable=True, progress=progress)
    compared = _compare(photos, found) if labels else None
    written = list[Path]()
    if csv is not None:
        with published(csv, "--csv") as path:
            write_table(path, _rows(found, top))
        written.append(csv)
    about = {"run": opened.name, "device": device_name(own_device)}
    if output is not None and compared is not None:
        with published(output) as path:
            write_assessment(compared, path, about)
        written.append(output)
    if csv is None and compared is None and not json_:
        for file, row in zip(found.files, found.top(top), strict=True):
            doubt = "  (unsure)" if is_unsure(row) else ""
            console.log(_escaped(f"{file}: {_words(row)}{doubt}"))
        if any(map(is_unsure, found.top(1))):
            console.log(
                f"unsure: the most probable class has less than {100 * _SURE:.0f} %; the "
                "probabilities are not calibrated"
            )
    for line in compared.describe() if compared is not None else []:
        console.log(_escaped(line))
    for line in (*photos.notes, *found.notes):
        console.log(_escaped(line))
    for each in found.unreadable:
        typer.echo(_escaped(each.reason), err=True)
    console.log(
        f"{len(found):,} image{'s' * (len(found) != 1)} on {device_name(own_device)}, "
        f"{found.images_per_second:,.1f} images/s with reading, without loading the network; "
        f"{len(found.unreadable):,} unreadable"
    )
    for path in written:
        console.log(str(path))
    if json_:
        print_json(about | _as_json(photos, found, compared, top))
    return 1 if found.unreadable else 0


def _check_apart(csv: Path | None, output: Path | None) -> None:
    """Raise ConfigError if one would be written over or into the other."""
    if csv is None or output is None:
        return
    table, folder = csv.resolve(), output.resolve()
    if table.is_relative_to(folder) or folder.is_relative_to(table):
        raise ConfigError(f"--csv: found {csv} with -o {output}; allowed: a path outside of -o")


def _compare(photos: Photos, found: Predictions) -> Assessment | None:
    """Compare the readable images with their labels; None if there are none."""
    from pipeline.predictions.assessment import assess

    assert photos.labels is not None
    by_file = dict(zip(photos.files, photos.labels, strict=True))
    return assess(found, [by_file[file] for file in found.files]) if len(found) else None


def _rows(found: Predictions, top: int) -> list[Sequence[Any]]:
    """Return a table: a file, its most probable classes, each with its probability; the reason in
    the last column if it is unreadable."""
    number = min(top, len(found.class_names))
    titles = [
        f"{what}_{rank}" for rank in range(1, number + 1) for what in ("class", "probability")
    ]
    rows: list[Sequence[Any]] = [["file", *titles, "unreadable"]]
    for file, row in zip(found.files, found.top(top), strict=True):
        rows.append([file, *(part for pair in row for part in pair), ""])
    return rows + [[each.file, *[""] * len(titles), each.reason] for each in found.unreadable]


def _as_json(
    photos: Photos, found: Predictions, compared: Assessment | None, top: int
) -> dict[str, Any]:
    value = {
        "images_per_second": found.images_per_second,
        "notes": [*photos.notes, *found.notes],
        "predictions": [
            {
                "file": _escaped(str(file)),
                "top": [{"class": name, "probability": value} for name, value in row],
                "unsure": is_unsure(row),
            }
            for file, row in zip(found.files, found.top(top), strict=True)
        ],
        "unreadable": [
            {"file": _escaped(str(each.file)), "reason": _escaped(each.reason)}
            for each in found.unreadable
        ],
    }
    return value if compared is None else value | {"assessment": compared.summary()}


def is_unsure(row: Sequence[tuple[str, float]]) -> bool:
    """Whether the first of an image's most probable classes has less than half the probability."""
    return row[0][1] < _SURE


def _words(row: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {100 * probability:.1f} %" for name, probability in row)


def _escaped(text: str) -> str:
    """A file's name may contain terminal escape sequences, or bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
