"""From a few measured epochs to a stage's hours, with numbers worked by hand."""

from dataclasses import replace

import pytest
import torch

from pipeline.config import PipelineConfig
from pipeline.estimates.brief_images import Meter, Pass
from pipeline.estimates.trial import (
    Epoch,
    Epochs,
    Timer,
    Trial,
    brief_config,
    extrapolate,
    kinds_of_epochs,
    remaining,
    trains,
    try_images,
)


def seen(training, of, number, seconds):
    return Pass(training, of, number, seconds, number, seconds, whole=number == of)


def group(train_seconds, test_seconds=0.0, start=0.0, rest=0.5):
    """Three epochs over 100 images, of which 10 are seen, and 20 test images, of which 5 are."""
    passes = (seen(True, 100, 10, train_seconds), seen(False, 20, 5, test_seconds))
    epoch = Epoch(train_seconds + test_seconds + rest, passes)
    return [Epoch(epoch.seconds + start, passes), *[epoch] * 2]


def test_epochs_and_their_tests_are_counted():
    # 10 images take 2 s, so 100 take 20; 5 test images take 1 s, so 20 take 4; 0.5 s beside them.
    trial = Trial(tuple(group(2.0, 1.0, start=3.0)), finish=0.25)
    assert trial.seconds([Epochs(30, tested=30)]) == pytest.approx(3 + 30 * (20 + 4 + 0.5) + 0.25)
    # Tested every tenth epoch.
    assert trial.seconds([Epochs(30, tested=3)]) == pytest.approx(3 + 30 * 20.5 + 3 * 4 + 0.25)
    # Seven checkpoints within each epoch cost what the one at its end does.
    within = Epochs(30, tested=0, checkpoints=7)
    assert trial.seconds([within]) == pytest.approx(3 + 30 * (20 + 8 * 0.5) + 0.25)


def test_each_kind_of_epoch_has_its_own_cost():
    warm_up, full = group(1.0), group(3.0, start=2.0)
    trial = Trial((*warm_up, *full), finish=0.0)
    assert trial.seconds([Epochs(15), Epochs(35)]) == pytest.approx(15 * 10.5 + 2 + 35 * 30.5)


def test_a_measured_epoch_that_is_whole_counts_as_it_is():
    whole = Epoch(7.0, (seen(True, 100, 100, 6.0),))
    trial = Trial((whole,) * 3, finish=0.0)
    assert trial.seconds([Epochs(10)]) == pytest.approx(10 * 7.0)


def test_what_is_done_counts_no_more():
    kinds = [Epochs(15), Epochs(35, tested=7)]
    assert remaining(kinds, 0) == kinds
    assert remaining(kinds, 5) == [Epochs(10), Epochs(35, tested=7)]
    assert remaining(kinds, 20) == [Epochs(0), Epochs(30, tested=6)]
    assert remaining(kinds, 99) == [Epochs(0), Epochs(0)]


class Work:
    """Takes `fixed` seconds and `each` for an image; the first time imports for 8 s."""

    def __init__(self, fixed=1.0, each=1 / 64):
        self.asked, self.each, self.fixed = [], each, fixed

    def __call__(self, number):
        imports = 0.0 if self.asked else 8.0
        self.asked.append(number)
        return self.fixed + self.each * number + imports


def test_work_on_images_is_tried_on_as_many_as_fit_and_imports_count_once():
    work = Work()
    # 9.25 + 1.25 + 2 + 5 s; of the other 10 s, 576 images take all.
    assert try_images(work, images=10_000, seconds=27.5, first=16) == pytest.approx(165.25)
    assert work.asked == [16, 16, 64, 256, 576]
    work = Work()
    assert try_images(work, images=100, seconds=100.0, first=16) == pytest.approx(10.5625)
    assert work.asked == [16, 16, 64, 100]  # all of them


def test_two_numbers_of_images_are_tried_if_one_takes_most_of_the_time():
    # 1.5 s are left. In proportion to the 16 images in 1.25 s, 32 would not fit; but they do.
    work = Work()
    assert try_images(work, images=1000, seconds=12.0, first=16) == pytest.approx(24.625)
    assert work.asked == [16, 16, 32]


def test_work_for_which_the_time_is_over_is_proportional_to_the_images():
    work = Work(each=1.0, fixed=0.0)
    assert try_images(work, images=1000, seconds=1.0, first=16) == pytest.approx(1008.0)
    assert work.asked == [16, 16]
    work = Work(fixed=0.5)  # a second number takes less than a second
    assert try_images(work, images=1000, seconds=1.0, first=16) == pytest.approx(24.125)
    assert work.asked == [16, 16, 32]


def test_a_line_through_timings_never_falls_and_never_starts_below_zero():
    assert extrapolate({4: 2.0, 16: 1.0}, 100) == 1.0
    assert extrapolate({4: 0.5, 16: 8.0}, 32) == 16.0
    assert extrapolate({4: 2.0, 8: 2.5, 16: 5.0}, 32) == 9.0  # a quarter of a second each


def test_steps_that_a_real_run_does_not_have_count_nothing():
    # 3 s of imports, 4 s of small steps, then a first step of 10 images in 2.5 s instead of 2.
    settling = Epoch(3 + 4 + 2.5 + 0.5, (replace(seen(True, 100, 10, 6.5), added=4.0),))
    trial = Trial((settling, *group(2.0)[1:]), finish=0.0)
    assert trial.seconds([Epochs(30)]) == pytest.approx(3 + 0.5 + 30 * 20.5)


def test_the_timer_notes_epochs_and_lets_every_third_settle():
    time = [0.0]
    meter = Meter(torch.device("cpu"), 1.0, lambda: time[0])
    timer = Timer(meter)
    settling = []
    for epoch in range(1, 7):
        settling.append(meter.settling)
        time[0] += epoch
        timer(1, 9, "step")
        timer(epoch, 6, "epoch")
    assert settling == [True, False, False] * 2
    assert [epoch.seconds for epoch in timer.epochs] == list(range(1, 7))
    time[0] += 5
    assert timer.lap() == 5


def config(**changes):
    data = {"data": {"kind": "digits"}, "name": "x"}
    return PipelineConfig.model_validate(data | changes)


def test_epochs_of_the_stages():
    search = {"epochs": 50, "warmup_epochs": 15}
    made = config(search=search, scorer={"epochs": 300, "stop_epoch": 25, "test_every": 10})
    assert kinds_of_epochs("search", made, 9) == [Epochs(15), Epochs(35)]
    assert kinds_of_epochs("scorer", made, 9) == [Epochs(25, tested=3)]  # 10, 20 and 25
    assert kinds_of_epochs("probe", made, 9) == [Epochs(25, tested=3)]
    retrain = {"epochs": 7, "checkpoint_steps": 100}
    made = config(search=search | {"warmup_epochs": 0}, retrain=retrain)
    assert kinds_of_epochs("search", made, 9) == [Epochs(50)]
    assert kinds_of_epochs("retrain", made, 301) == [Epochs(7, tested=7, checkpoints=3)]
    assert kinds_of_epochs("retrain", made, 300) == [Epochs(7, tested=7, checkpoints=2)]
    made = config(search=search, retrain={"epochs": 7, "test_every": 3})
    assert kinds_of_epochs("retrain", made, 300) == [Epochs(7, tested=3)]  # 3, 6 and 7
    assert brief_config("retrain", made).retrain.test_every == 1
    made = config(search=search | {"checkpoint_steps": 4})
    assert kinds_of_epochs("search", made, 9) == [
        Epochs(15, checkpoints=2),
        Epochs(35, checkpoints=2),
    ]
    assert brief_config("search", made).search.checkpoint_steps is None


def test_epochs_of_a_search_that_drops_images_are_shorter():
    pruning = {"after_epochs": 2, "every_epochs": 2, "rounds": 2, "final_fraction": 0.25}
    made = config(search={"epochs": 6, "warmup_epochs": 3, "pruning": pruning})
    warm, full = kinds_of_epochs("search", made, 9)
    # Half of the images after epoch 2, a quarter after 4; epochs 1 to 4 are observed, which adds
    # two passes to the three of a warm-up epoch, and to the six of a later one.
    assert warm.sizes == pytest.approx((5 / 3, 5 / 3, 0.5 * 5 / 3))
    assert full.sizes == pytest.approx((0.5 * 4 / 3, 0.25, 0.25))
    assert [left.sizes for left in remaining([warm, full], 4)] == [(), full.sizes[1:]]
    assert brief_config("search", made).search.pruning is None
    # 20 s of training in an epoch on all images, and 0.5 s beside it.
    trial = Trial((*group(2.0), *group(2.0)), finish=0.0)
    expected = 20 * sum(warm.sizes + full.sizes) + 6 * 0.5
    assert trial.seconds([warm, full]) == pytest.approx(expected)
    made = config(search={"epochs": 6, "pruning": pruning | {"by": "random"}, "warmup_epochs": 0})
    assert kinds_of_epochs("search", made, 9)[0].sizes == (1, 1, 0.5, 0.5, 0.25, 0.25)


def test_epochs_on_a_sample_are_shorter_and_their_observations_are_of_all_images():
    pruning = {"after_epochs": 3, "rounds": 1, "final_fraction": 0.1, "warmup_fraction": 0.2}
    made = config(search={"epochs": 5, "warmup_epochs": 2, "pruning": pruning})
    warm, full = kinds_of_epochs("search", made, 9)
    # A fifth of the images until epoch 3; all are observed after epochs 2 and 3.
    assert warm.sizes == pytest.approx((0.2, 0.2 + 2 / 3))
    assert full.sizes == pytest.approx((0.2 + 1 / 3, 0.1, 0.1))


def test_a_supernet_as_scorer_takes_the_warm_up_from_the_search():
    made = config(scorer={"model": "supernet"}, search={"epochs": 50, "warmup_epochs": 15})
    assert kinds_of_epochs("scorer", made, 9) == [Epochs(15, tested=15)]
    assert kinds_of_epochs("search", made, 9) == [Epochs(35)]
    assert brief_config("scorer", made).search.warmup_epochs == 3
    assert brief_config("search", made).search.warmup_epochs == 0


def test_a_trial_has_three_epochs_of_each_kind_and_keeps_what_a_step_costs():
    made = config(scorer={"record_losses": True}, search={"epochs": 50, "warmup_epochs": 15})
    search = brief_config("search", made).search
    assert (search.warmup_epochs, search.epochs) == (3, 6)
    assert search.batch_size == made.search.batch_size
    scorer = brief_config("scorer", made).scorer
    assert (scorer.trained_epochs, scorer.test_every, scorer.cuda_graph) == (3, 1, "off")
    assert scorer.mixing == made.scorer.mixing
    assert brief_config("retrain", made).retrain.epochs == 3
    assert brief_config("probe", made).probed.trained_epochs == 3


def test_a_loaded_scorer_is_not_trained(tmp_path):
    assert trains("scorer", config())
    assert not trains("scorer", config(scorer={"weights": str(tmp_path / "w.pt")}))
    assert not trains("subset", config())
