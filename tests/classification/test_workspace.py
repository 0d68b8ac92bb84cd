import json

import pytest
import torch

from classification.workspace import Workspace


def test_resume_starts_at_nothing(tmp_path):
    assert Workspace(tmp_path).resume() == (0, {})


def test_resume_returns_the_newest_step(tmp_path):
    workspace = Workspace(tmp_path)
    for step in (1, 2, 10):
        workspace.save(step, {"step": step}, {"epoch": step})
    assert Workspace(tmp_path).resume() == (10, {"step": 10})


def test_rows_newer_than_the_checkpoint_are_dropped(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.save(1, {"w": torch.ones(1)}, {"epoch": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:  # killed between row and checkpoint
        file.write(json.dumps({"epoch": 2}) + "\n" + '{"epo')
    assert workspace.resume()[0] == 1
    assert workspace.rows() == [{"epoch": 1}]


@pytest.mark.parametrize("content", [b"", b"rubbish" * 9])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, content):
    workspace = Workspace(tmp_path)
    for step in (1, 2, 3):
        workspace.save(step, {"step": step}, {"epoch": step})
    (tmp_path / "checkpoint-000003.safetensors").write_bytes(content)
    assert workspace.resume() == (2, {"step": 2})
    assert [row["epoch"] for row in workspace.rows()] == [1, 2]
