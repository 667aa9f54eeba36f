from datetime import timedelta

from app.scheduling import Waiting, plan
from tests.factories import NOW

CPU = ["cpu:0"]
TWO_GPUS = ["gpu:0", "gpu:1", "cpu:0"]


def test_first_come_first_served_if_priorities_are_equal() -> None:
    result = plan([Waiting(8), Waiting(7)], CPU, {}, NOW)
    assert result.launches == [(7, ["cpu:0"])]
    assert result.reasons == {8: "waiting for a CPU slot: 1 of 1 in use by job 7"}


def test_higher_priority_first() -> None:
    assert plan([Waiting(7), Waiting(8, priority=1)], CPU, {}, NOW).launches == [(8, ["cpu:0"])]


def test_all_launched_if_slots_suffice() -> None:
    result = plan([Waiting(7, gpus=1), Waiting(8), Waiting(9, gpus=1)], TWO_GPUS, {}, NOW)
    assert result.launches == [(7, ["gpu:0"]), (8, ["cpu:0"]), (9, ["gpu:1"])]
    assert result.reasons == {}


def test_says_who_holds_the_slots() -> None:
    result = plan([Waiting(13, gpus=1)], ["gpu:0"], {"gpu:0": 12}, NOW)
    assert result.reasons == {13: "waiting for a GPU slot: 1 of 1 in use by job 12"}
    result = plan([Waiting(13, gpus=2)], TWO_GPUS, {"gpu:1": 12}, NOW)
    assert result.reasons == {13: "waiting for 2 GPU slots: 1 of 2 in use by job 12"}
    result = plan([Waiting(13, gpus=1)], TWO_GPUS, {"gpu:0": 11, "gpu:1": 12}, NOW)
    assert result.reasons == {13: "waiting for a GPU slot: 2 of 2 in use by jobs 11, 12"}


def test_big_job_is_not_overtaken_if_it_is_next_in_line() -> None:
    waiting = [Waiting(20, gpus=2), Waiting(21, gpus=1), Waiting(22)]
    result = plan(waiting, TWO_GPUS, {"gpu:0": 12}, NOW)
    assert result.launches == [(22, ["cpu:0"])]
    assert result.reasons[21] == "waiting behind job 20, which is next in line"
    assert plan(waiting, TWO_GPUS, {}, NOW).launches[0] == (20, ["gpu:0", "gpu:1"])


def test_impossible_job_holds_nobody_up() -> None:
    result = plan([Waiting(20, gpus=3), Waiting(21, gpus=1)], TWO_GPUS, {}, NOW)
    assert result.launches == [(21, ["gpu:0"])]
    assert result.reasons[20] == "needs 3 GPU slots, and this machine offers 2 (see SLOTS)"


def test_no_cpu_slot_is_said_if_there_is_none() -> None:
    assert plan([Waiting(20)], ["gpu:0"], {}, NOW).reasons[20].startswith("needs a CPU slot, and this machine offers 0")


def test_waits_out_its_pause_without_holding_anybody_up() -> None:
    later = Waiting(7, not_before=NOW + timedelta(seconds=7.5), failure="DISK_FULL")
    result = plan([later, Waiting(8)], CPU, {}, NOW)
    assert result.launches == [(8, ["cpu:0"])]
    assert result.reasons == {7: "retrying in 8 s after DISK_FULL"}
    assert plan([later], CPU, {}, NOW + timedelta(seconds=8)).launches == [(7, ["cpu:0"])]


def test_long_pause_is_rounded_so_that_its_words_change_seldom() -> None:
    reasons = {
        plan([Waiting(7, not_before=NOW + timedelta(seconds=seconds))], CPU, {}, NOW).reasons[7]
        for seconds in (56, 57, 58, 59, 60)
    }
    assert reasons == {"retrying in 60 s"}
