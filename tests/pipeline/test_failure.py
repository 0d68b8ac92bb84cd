"""A stage that fails for want of memory or of its device: what is said, and what is booked."""

import json

import pytest
import torch

from classification import classifier
from classification.errors import DeviceError, LostDeviceError, StorageError
from pipeline.config import PipelineConfig
from pipeline.failure import failure_of
from pipeline.stages import STAGES
from pipeline.store.ledger import Attempt
from run_pipeline import main
from tests.pipeline.store.test_full_disk import contents, run

ON_GPU = Attempt(
    "search", "abc", "run", "2026-01-01", 1.0, "A100", "gpu", 1, "failed", 3, 9, "epoch"
)
ON_CPU = Attempt("search", "abc", "run", "2026-01-01", 1.0, "EPYC", "cpu", 1, "failed")
NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]
LOST = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
]


def config(**more):
    return PipelineConfig.model_validate({"name": "x", "data": {"kind": "digits"}, **more})


def failure(error, stage, attempt, tmp_path, settings=None):
    settings = settings or config()
    section = STAGES[stage].section_of(settings)
    return failure_of(error, stage, section, attempt, settings, tmp_path)


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: str(error)[:20])
def test_without_memory_the_batch_to_lower_is_named(error, tmp_path):
    found = failure(error, "search", ON_CPU, tmp_path)
    assert isinstance(found, DeviceError)
    assert "search: the machine ran out of memory" in str(found)
    assert "lower search.batch_size (256)" in str(found)
    assert "bf16" not in str(found)  # refused on a CPU


@pytest.mark.parametrize(
    ("stage", "more", "settings"),
    [
        (
            "scorer",
            {},
            ["scorer.batch_size (64)", "scorer.precision=bf16", "scorer.cuda_graph=off"],
        ),
        ("scorer", {"scorer": {"model": "supernet"}}, ["search.batch_size (256)"]),
        ("scorer", {"scorer": {"precision": "bf16", "cuda_graph": "off"}}, ["scorer.batch_size"]),
        ("scores", {}, ["scores.batch_size (1024)", "scores.precision=bf16"]),
        ("baseline", {}, ["scores.batch_size (1024)"]),
        ("retrain", {}, ["retrain.batch_size (128)", "set retrain.device_batch_size below it"]),
        ("retrain", {"retrain": {"device_batch_size": 8}}, ["retrain.device_batch_size (8)"]),
        ("probe", {}, ["scorer.batch_size (64)"]),
        ("probe", {"probe": {"batch_size": 32}}, ["probe.batch_size (32)"]),
        ("ranking", {}, ["fidelity.training.batch_size"]),
        ("robustness", {"robustness": {}}, ["robustness.batch_size (250)"]),
        ("landscape", {"landscape": {}}, ["landscape.batch_size (128)"]),
        ("subset", {}, []),
    ],
)
def test_every_setting_that_would_lower_a_stage_s_memory_is_named(stage, more, settings, tmp_path):
    message = str(failure(NO_MEMORY[0], stage, ON_GPU, tmp_path, config(**more)))
    assert message.startswith(f"{stage}: the device ran out of memory at epoch 3 of 9 (CUDA out")
    for setting in settings:
        assert setting in message
    assert message.endswith("choose another --device")
    if "precision" in more.get("scorer", {}):
        assert "bf16" not in message
        assert "cuda_graph" not in message


@pytest.mark.parametrize("error", LOST, ids=lambda error: str(error)[:20])
def test_a_lost_device_is_no_bad_input(error, tmp_path):
    found = failure(error, "search", ON_GPU, tmp_path)
    assert isinstance(found, LostDeviceError)
    assert str(found).startswith("search: the device stopped working at epoch 3 of 9 (")
    assert "\n" not in str(found)


@pytest.mark.parametrize("error", [ValueError("shapes"), RuntimeError("size of tensor a (3)")])
def test_a_mistake_in_the_code_keeps_its_traceback(error, tmp_path):
    assert failure(error, "search", ON_GPU, tmp_path) is None


def test_what_a_disk_refuses_is_told_of_the_file(tmp_path):
    found = failure(OSError(28, "No space left on device"), "search", ON_CPU, tmp_path)
    assert isinstance(found, StorageError)
    assert str(tmp_path) in str(found)


@pytest.mark.parametrize(("error", "status"), [(NO_MEMORY[2], 2), (LOST[1], 1)])
def test_a_failed_attempt_is_booked_and_the_same_command_goes_on_from_its_last_epoch(
    tmp_path, monkeypatch, capsys, error, status
):
    train = classifier.train_classifier

    def until_the_first_epoch(data, config, *, workspace, **more):
        save = workspace.save

        def save_and_fail(step, state, row=None):
            save(step, state, row)
            raise error

        workspace.save = save_and_fail
        return train(data, config, workspace=workspace, **more)

    monkeypatch.setattr(classifier, "train_classifier", until_the_first_epoch)
    command = run(tmp_path, tmp_path / "artifacts", tmp_path / "runs")
    assert main(command) == status
    shown = capsys.readouterr().err
    assert shown.startswith("error: scorer: the ")
    assert shown.count("\n") == 1
    monkeypatch.setattr(classifier, "train_classifier", train)
    assert main(command) == 0
    assert "epoch 1/2" not in capsys.readouterr().out
    lines = (tmp_path / "artifacts" / "ledger.jsonl").read_text().splitlines()
    attempts = [json.loads(line) for line in lines]
    assert [attempt["outcome"] for attempt in attempts] == ["failed", "done"]
    assert attempts[0]["seconds"] > 0
    assert main(run(tmp_path, tmp_path / "whole", tmp_path / "runs", "--name", "whole")) == 0
    assert contents(tmp_path / "artifacts") == contents(tmp_path / "whole")
