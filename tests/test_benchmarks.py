"""The benchmark that waits for a GPU, small and on the CPU, so that it works when one comes."""

import json
import sys

import pytest

from benchmarks import gpu


@pytest.mark.long
def test_the_gpu_benchmark_writes_its_tables(tmp_path, monkeypatch):
    small = "--images 400 --side 8 --batch-size 16 --epochs 2 --channels 4 --cells 3 --repeats 1"
    arguments = ["gpu", "--device", "cpu", "--output", str(tmp_path), *small.split()]
    monkeypatch.setattr(sys, "argv", arguments)
    gpu.main()
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["iteration"]["variants"].keys() == {"ours", "plain"}
    assert record["iteration"]["base"] == "plain"
    assert [row["images"] for row in record["search of a tenth"]] == [40]
    assert [row["images"] for row in record["search of all"]] == [400]
    assert record["profile"][0]["share"] <= 1
    table = (tmp_path / "gpu.md").read_text()
    assert "| ours |" in table
    assert "- search on 40 images, 2 epochs, fp32" in table
