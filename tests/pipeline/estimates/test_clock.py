"""The clock of the estimates leaves out the time of waiting for a processor."""

from pipeline.estimates import clock


def test_waiting_for_a_processor_is_left_out(tmp_path, monkeypatch):
    schedule, time = tmp_path / "schedstat", [100.0]
    monkeypatch.setattr(clock, "_SCHEDULE", schedule)
    monkeypatch.setattr(clock.time, "perf_counter", lambda: time[0])
    schedule.write_text("7000000000 2000000000 31\n")  # ns running, ns waiting, turns
    assert clock.waited() == 2.0
    begun = clock.idle_clock()
    time[0] += 10
    schedule.write_text("8000000000 5000000000 40\n")  # 3 s more of waiting
    assert clock.idle_clock() - begun == 7.0


def test_a_system_that_does_not_count_the_waiting_has_the_wall_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "_SCHEDULE", tmp_path / "none")
    assert clock.waited() == 0
    (tmp_path / "none").write_text("7\n")
    assert clock.waited() == 0
