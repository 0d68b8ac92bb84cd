import json

import pytest
import torch

from classification.persistence.workspace import Workspace


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


@pytest.mark.parametrize("content", [None, b"", b'{"epoch": 7}\n', b"\xff\xfe", b"{"])
def test_metrics_are_written_again_from_the_checkpoint(tmp_path, content):
    workspace = Workspace(tmp_path)
    for step in (1, 2):
        workspace.save(step, {}, {"epoch": step})
    (tmp_path / "metrics.jsonl").unlink()
    if content is not None:
        (tmp_path / "metrics.jsonl").write_bytes(content)
    again = Workspace(tmp_path)
    assert again.resume()[0] == 2
    again.save(3, {}, {"epoch": 3})
    assert [row["epoch"] for row in Workspace(tmp_path).rows()] == [1, 2, 3]


def test_the_person_is_told_which_checkpoint_is_damaged_and_where_work_goes_on(tmp_path):
    said = []
    for step in (1, 2):
        Workspace(tmp_path).save(step, {"step": step})
    (tmp_path / "checkpoint-000002.safetensors").write_bytes(b"")
    assert Workspace(tmp_path, log=said.append).resume()[0] == 1
    assert "checkpoint-000002.safetensors" in said[0]
    assert "resuming from checkpoint-000001.safetensors" in said[0]
    (tmp_path / "checkpoint-000001.safetensors").write_bytes(b"")
    assert Workspace(tmp_path, log=said.append).resume() == (0, {})
    assert all("starting again" in line for line in said[1:])
    assert len(said) == 3


def test_a_checkpoint_under_another_step_s_name_is_not_taken_for_it(tmp_path):
    Workspace(tmp_path).save(1, {"step": 1})
    first = tmp_path / "checkpoint-000001.safetensors"
    (tmp_path / "checkpoint-000009.safetensors").write_bytes(first.read_bytes())
    (tmp_path / "checkpoint-copy.safetensors").write_bytes(first.read_bytes())
    assert Workspace(tmp_path).resume() == (1, {"step": 1})
