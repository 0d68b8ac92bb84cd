"""A disk that is full, read-only or broken: at every call that could find it so, and for real."""

import errno
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from classification.errors import ArtifactError, StorageError
from classification.persistence.arrays import create_array
from classification.persistence.storage import write_atomically
from classification.persistence.workspace import METRICS, Workspace
from pipeline.store import stopwatch
from pipeline.store.ledger import Attempt, Ledger
from pipeline.store.store import Store
from run_pipeline import main
from tests.pipeline.test_runner import Pipeline

CLASSIFIER = """
name: tiny
goal: classifier
data:   {kind: digits, classes: 2, images_per_class: 16}
scorer: {model: resnet8, epochs: 2, batch_size: 16, mixing: {kind: none}}
"""
CALLS = ["fsync", "write", "rename", "mkdir", "replace"]
REFUSALS = [
    (call, code)
    if call != "replace" and code == errno.ENOSPC
    else pytest.param(call, code, marks=pytest.mark.long)
    for call in CALLS
    for code in (errno.ENOSPC, errno.EIO, errno.EROFS)
]


class Disk:
    """Refuses the n-th and every later of certain system calls, until it is mended."""

    def __init__(self, monkeypatch, call, code):
        self.calls, self.refuses_from, self.code = 0, None, code
        self._real = getattr(os, call)
        monkeypatch.setattr(os, call, self)

    def __call__(self, *arguments, **options):
        self.calls += 1
        if self.refuses_from is not None and self.calls > self.refuses_from:
            raise OSError(self.code, os.strerror(self.code))
        return self._real(*arguments, **options)


def contents(root):
    """The bytes of all published files; what served their making may still lie beside them."""
    found = {}
    for manifest in root.glob("*/[0-9a-f]*/artifact.json"):
        for name in ["artifact.json", *json.loads(manifest.read_text())["files"]]:
            found[(manifest.parent / name).relative_to(root)] = (
                manifest.parent / name
            ).read_bytes()
    return found


def refusal(capsys):
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own, and a function that changes how it is mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a tmpfs")

    def remount(options):
        subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)

    yield place, remount
    subprocess.run(["umount", "-l", str(place)], check=True)


def run(folder, artifacts, runs, *more):
    (folder / "tiny.yaml").write_text(CLASSIFIER)
    places = ["--artifacts", str(artifacts), "--runs", str(runs)]
    return ["run", str(folder / "tiny.yaml"), "--device", "cpu", *places, *more]


@pytest.mark.parametrize(("call", "code"), REFUSALS)
def test_wherever_a_disk_refuses_nothing_is_lost_and_the_same_command_goes_on(
    tmp_path, monkeypatch, call, code
):
    monkeypatch.setattr(stopwatch, "_CLOCK_SECONDS", 3600)  # calls by the clock would differ
    disk = Disk(monkeypatch, call, code)
    Pipeline(tmp_path / "whole").run()
    whole, calls = contents(tmp_path / "whole"), disk.calls
    assert calls >= 3, call
    for number in range(calls):
        root = tmp_path / str(number)
        disk.refuses_from = disk.calls + number
        try:
            Pipeline(root).run()
            refused = False
        except (StorageError, ArtifactError):
            refused = True
        assert refused or call == "mkdir"  # a folder that is there needs no making
        published = contents(root)
        assert all(whole[place] == content for place, content in published.items())
        disk.refuses_from = None
        Pipeline(root).run()
        assert contents(root) == whole, f"{call} {number}"
        lines = (root / "ledger.jsonl").read_text().splitlines()
        done = [json.loads(line)["stage"] for line in lines if '"done"' in line]
        assert sorted(set(done)) == ["first", "second", "third"]
        assert not list(root.rglob("*.tmp"))


def test_a_line_that_does_not_fit_leaves_the_ledger_as_it_was(tmp_path, monkeypatch):
    """A write that the disk cuts short: half a line must not stay."""
    attempt = Attempt("search", "abc", "run", "2026-01-01", 1.0, "cpu", "cpu", 1, "done")
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(attempt)
    before, write = ledger.path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda to, data: write(to, data[: len(data) // 2]))
    with pytest.raises(StorageError, match=r"ledger\.jsonl: No space left .* bytes needed"):
        ledger.append(replace(attempt, started="2026-01-02"))
    assert ledger.path.read_bytes() == before


def test_what_was_half_written_makes_room_again(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", Disk(monkeypatch, "fsync", errno.ENOSPC))
    os.fsync.refuses_from = 0
    with pytest.raises(StorageError) as refused:
        write_atomically(path, b"x" * 1_234_567)
    assert re.match(
        rf"{path}: No space left on device \(1\.2 MB needed, .* free\)", str(refused.value)
    )
    assert [p.name for p in tmp_path.iterdir()] == ["weights"]
    assert path.read_text() == "old"


def test_resuming_on_a_full_disk_keeps_the_metrics(tmp_path, monkeypatch):
    """Rows newer than the checkpoint are dropped: never by emptying the file first."""
    workspace = Workspace(tmp_path)
    for epoch in range(2):
        workspace.save(epoch + 1, {}, {"epoch": epoch})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"epoch": 2}\n')
    disk = Disk(monkeypatch, "fsync", errno.ENOSPC)
    disk.refuses_from = 0
    with pytest.raises(StorageError, match=METRICS):
        Workspace(tmp_path).resume()
    disk.refuses_from = None
    assert Workspace(tmp_path).resume()[0] == 2
    assert [row["epoch"] for row in Workspace(tmp_path).rows()] == [0, 1]


def test_a_mapped_array_takes_its_room_before_it_is_written(tmp_path, monkeypatch):
    array = create_array(tmp_path / "losses.npy", (1000, 100))
    size = (tmp_path / "losses.npy").stat()
    assert size.st_blocks * 512 >= size.st_size >= array.nbytes == 400_000
    disk = Disk(monkeypatch, "posix_fallocate", errno.ENOSPC)
    disk.refuses_from = 0
    with pytest.raises(StorageError, match=r"more\.npy: No space left .*\(400\.0 kB needed"):
        create_array(tmp_path / "more.npy", (1000, 100))
    assert not (tmp_path / "more.npy").exists()


def test_a_mapped_array_on_a_small_disk_is_refused_rather_than_killed(small_disk):
    """A page that finds no room when it is written ends the process with SIGBUS."""
    place, _ = small_disk
    with pytest.raises(StorageError, match=r"400\.0 kB needed, .* free"):
        create_array(place / "losses.npy", (1000, 100))


@pytest.mark.parametrize(
    "kilobytes",
    [16, 900, *(pytest.param(size, marks=pytest.mark.long) for size in (320, 640, 1200, 1400))],
)
def test_a_full_disk_ends_in_one_line_and_with_room_ends_with_the_same_bytes(
    tmp_path, small_disk, capsys, kilobytes
):
    """A tmpfs that is full before the first checkpoint, at it, and at the second."""
    place, remount = small_disk
    remount(f"size={kilobytes}k")
    command = run(tmp_path, place / "artifacts", tmp_path / "runs")
    assert main(command) == 1
    error = refusal(capsys)
    assert re.search(rf"^error: {place}/.*: No space left on device \(.* needed, .* free\)", error)
    remount("size=64m")
    assert main(command) == 0
    assert main(run(tmp_path, tmp_path / "whole", tmp_path / "runs", "--name", "whole")) == 0
    made = contents(place / "artifacts")
    assert made == contents(tmp_path / "whole")
    assert len(made) >= 3


def test_a_full_disk_under_the_runs_costs_the_log_and_the_report_alone(
    tmp_path, small_disk, capsys
):
    place, remount = small_disk
    remount("size=4m")
    command = run(tmp_path, tmp_path / "artifacts", place / "runs")
    assert main([*command, "--until", "scorer", "--set", "scorer.epochs=1"]) == 0
    filler = place / "filler"
    with pytest.raises(OSError), filler.open("wb", buffering=0) as file:  # noqa: PT012
        while True:
            file.write(bytes(4096))
    capsys.readouterr()
    assert main(["report", "tiny", "--runs", str(place / "runs")]) == 1
    assert "report" in refusal(capsys)
    filler.unlink()
    remount("size=16m")
    assert main(["report", "tiny", "--runs", str(place / "runs")]) == 0


def test_a_log_that_cannot_be_written_is_told_once_and_ends_nothing(tmp_path, capsys):
    command = run(tmp_path, tmp_path / "artifacts", tmp_path / "runs")
    (tmp_path / "runs" / "tiny" / "log.txt").mkdir(parents=True)
    assert main(command) == 0
    assert capsys.readouterr().out.count("warning: the log ends here") == 1
    assert (tmp_path / "runs" / "tiny" / "report" / "report.md").exists()


def test_a_read_only_store_serves_what_stands_and_names_the_option_for_the_rest(
    tmp_path, small_disk, capsys
):
    place, remount = small_disk
    remount("size=64m")
    command = run(tmp_path, place / "artifacts", tmp_path / "runs")
    assert main(command) == 0
    remount("ro")
    try:
        assert main(command) == 0
        assert "scorer   reused" in capsys.readouterr().out
        assert main(["status", "tiny", "--runs", str(tmp_path / "runs")]) == 0
        assert main(["report", "tiny", "--runs", str(tmp_path / "runs")]) == 0
        capsys.readouterr()
        assert main([*command, "--name", "other", "--set", "seed=1"]) == 2
        assert "Read-only file system); name another with --artifacts" in refusal(capsys)
        assert main(run(tmp_path, tmp_path / "artifacts", place / "runs")) == 2
        assert "Read-only file system); name another with --runs" in refusal(capsys)
        assert not (tmp_path / "artifacts").exists()
    finally:
        remount("rw")


def test_a_store_that_turned_read_only_is_refused_before_a_stage_begins(tmp_path, monkeypatch):
    disk = Disk(monkeypatch, "mkdir", errno.EROFS)
    disk.refuses_from = 0
    with pytest.raises(ArtifactError, match=r"Read-only file system.*with --artifacts"):
        Store(tmp_path / "artifacts").lock("search", "key")


@pytest.mark.parametrize("option", ["artifacts", "runs"])
def test_a_file_in_the_place_of_a_folder_is_bad_input(tmp_path, capsys, option):
    places = {"artifacts": tmp_path / "artifacts", "runs": tmp_path / "runs"}
    (tmp_path / "file").write_text("")
    places[option] = tmp_path / "file" / option
    assert main(run(tmp_path, places["artifacts"], places["runs"])) == 2
    assert f"name another with --{option}" in refusal(capsys)
