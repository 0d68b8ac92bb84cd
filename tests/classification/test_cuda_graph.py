"""The logic of capturing, with a recorder that needs no device: a replay calls the step again."""

import pytest
import torch

from classification.acceleration import ReplayedStep, replayed
from classification.errors import DeviceError


class Recorder:
    """Captures by keeping the step and its places; counts what it was asked for."""

    def __init__(self, fails=False):
        self.fails, self.plain, self.captured, self.replays = fails, 0, [], 0

    def run(self, step, inputs):
        self.plain += 1
        step(*inputs)

    def capture(self, step, inputs):
        if self.fails:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        self.captured.append([tuple(tensor.shape) for tensor in inputs])

        def replay():
            self.replays += 1
            step(*inputs)

        return replay


def test_replays_read_what_each_call_brings():
    recorder, seen = Recorder(), []
    step = ReplayedStep(lambda batch: seen.append(batch.tolist()), recorder, print)
    for number in range(6):
        step(torch.tensor([number, number + 1]))
    assert seen == [[number, number + 1] for number in range(6)]
    assert (recorder.plain, recorder.replays) == (3, 3)
    assert recorder.captured == [[(2,)]]


def test_a_smaller_last_batch_has_a_graph_of_its_own():
    recorder, seen = Recorder(), []
    step = ReplayedStep(lambda batch: seen.append(len(batch)), recorder, print)
    for _ in range(5):
        step(torch.zeros(4))
        step(torch.zeros(3))
    assert seen == [4, 3] * 5
    assert recorder.captured == [[(4,)], [(3,)]]
    assert (recorder.plain, recorder.replays) == (6, 4)


def test_a_step_that_cannot_be_captured_runs_plainly_and_says_so_once():
    recorder, seen, said = Recorder(fails=True), [], []
    step = ReplayedStep(lambda batch: seen.append(batch.item()), recorder, said.append)
    for number in range(6):
        step(torch.tensor(number))
    assert seen == list(range(6))
    assert said == ["CUDA graph not captured, running without it: operation not permitted"]


def test_a_step_that_must_be_captured_and_cannot_is_an_error():
    step = ReplayedStep(lambda batch: None, Recorder(fails=True), print, required=True)
    for _ in range(3):
        step(torch.zeros(1))
    with pytest.raises(DeviceError, match=r"cuda_graph: on, .* not permitted.*allowed: auto, off"):
        step(torch.zeros(1))


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_on_a_cpu_a_step_stays_as_it_is(mode):
    def step(batch):
        pass

    assert replayed([step], mode, torch.device("cpu"), [], print) == [step]
