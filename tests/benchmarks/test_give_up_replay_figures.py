import math
import re
from dataclasses import replace

import pytest
from optuna.pruners import NopPruner, PercentilePruner

from benchmarks.give_up.fronts import average, front, mean, most_saved_within
from benchmarks.give_up.judged import judge
from benchmarks.give_up.pareto import draw
from benchmarks.give_up.replay import replay
from benchmarks.give_up.replay_figures import report
from benchmarks.give_up.replay_tables import settings_table, within_table
from benchmarks.give_up.rivals import Setting, settings
from benchmarks.give_up.signals import correlations, signal_at
from benchmarks.give_up.sweep import count_wrong, spend, sweep
from hpo_gn.history import History
from tests.benchmarks.test_give_up_replay import EPOCHS_EACH, TABLE, Seen, a_run, falling, replayed


def test_what_a_replay_is_judged_by():
    runs = [falling(number, final) for number, final in enumerate((0.4, 0.3, 0.2, 0.1, 0.5))]
    runs.append(a_run(5, reason="diverged at epoch 1"))
    given_up = {3: 1, 4: 3}
    ended = replayed(runs, Seen(lambda trial: given_up.get(trial.number) == trial.last_step))
    judged = judge(ended, EPOCHS_EACH)
    assert judged.saved == pytest.approx(4 / 21)
    assert judged.loss_regret == pytest.approx(0.1)
    assert judged.accuracy_regret == pytest.approx(1 / 1.1 - 1 / 1.2)
    assert (judged.rank, judged.lost, judged.given_up, judged.wrong) == (2, pytest.approx(1 / 3), 2, 0.5)
    assert (judged.epoch, judged.before_drop) == (2, 0.5)


def test_nothing_given_up_costs_nothing():
    judged = judge(replayed(TABLE.runs, NopPruner()), EPOCHS_EACH)
    assert (judged.saved, judged.loss_regret, judged.rank, judged.lost, judged.given_up) == (0, 0, 1, 0, 0)
    assert math.isnan(judged.wrong)


def test_where_nothing_is_trained_to_the_end_the_worst_counts_as_chosen():
    runs = [falling(0, 0.4), falling(1, 0.3)]
    judged = judge(replayed(runs, Seen(lambda trial: True)), EPOCHS_EACH)
    assert judged.loss_regret == pytest.approx(0.1)
    assert judged.lost == 1


def swept(**points):
    """Settings by name, with (saved, regret) on the even pools and on the odd ones."""
    one = judge(replay([falling(0, 1.0)], NopPruner(), name="a", epochs=EPOCHS_EACH), EPOCHS_EACH)
    return {
        Setting(name, "", NopPruner): [replace(one, saved=s, loss_regret=r) for s, r in pools]
        for name, pools in points.items()
    }


def test_a_front_holds_what_no_other_setting_beats():
    found = front(
        swept(mild=[(0.1, 0.0)], bold=[(0.7, 0.3)], worse=[(0.6, 0.4)], good=[(0.5, 0.1)], twin=[(0.5, 0.2)]),
        "loss_regret",
    )
    assert [setting.family for setting in found] == ["mild", "good", "bold"]


def test_savings_within_a_bound_are_judged_on_the_pools_that_did_not_choose():
    some = swept(lucky=[(0.9, 0.0), (0.5, 0.6)], steady=[(0.3, 0.0), (0.4, 0.1)])
    found = most_saved_within(some, "loss_regret", 0.2)
    assert [setting.family for setting in found.settings] == ["lucky", "steady"]
    assert (found.saved, found.figure) == (pytest.approx((0.5 + 0.3) / 2), pytest.approx(0.3))
    nothing = most_saved_within(some, "loss_regret", -1)
    assert (nothing.saved, nothing.figure, nothing.settings) == (0, 0, (None, None))


def test_ours_are_set_against_all_rivals_at_equal_regret():
    some = swept(rival=[(0.4, 0.0)] * 2, other=[(0.8, 0.5)] * 2, **{"give-up": [(0.6, 0.1)] * 2})
    head, *rows = within_table(some, "loss_regret", (1, 20, 60), unit=1.0)
    assert head == ["pruner", "≤ 1 %", "≤ 20 %", "≤ 60 %", "settings chosen for ≤ 20 %"]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["all rivals"] == ["0.400 (0.00 %)", "0.400 (0.00 %)", "0.800 (50.00 %)", "rival"]
    assert cells["all of ours"] == ["0.000 (0.00 %)", "0.600 (10.00 %)", "0.600 (10.00 %)", "give-up"]
    assert cells["ours / rivals"] == ["0.00 ×", "1.50 ×", "0.75 ×", ""]


def test_means_have_intervals_and_leave_out_what_is_no_number():
    values = [0.0, 1.0, 2.0, 3.0, math.nan]
    found = mean(values)
    assert found.value == 1.5
    assert 0 < found.low < 1.5 < found.high < 3
    assert math.isnan(mean([math.nan]).value)
    assert mean([2.0, 2.0]).low == 2.0


def test_the_whole_table_is_counted_with_an_exact_bound():
    everything = Setting("all", "", lambda: Seen(lambda trial: trial.number >= 20))
    count = count_wrong(TABLE, everything, top=24)
    assert (count.given_up, count.wrong, count.high) == (5, 4, pytest.approx(0.98979, abs=1e-4))
    assert math.isnan(count_wrong(TABLE, Setting("none", "", NopPruner), 3).high)


def test_a_budget_finds_more_if_the_saved_epochs_become_new_runs():
    none, best = (Setting("a", "", make) for make in (NopPruner, lambda: PercentilePruner(0.0)))
    few, many = (spend(TABLE, setting, 40, orders=20) for setting in (none, best))
    assert {each.tried for each in few} <= {10, 11, 12}
    assert average_of(many, "tried") > average_of(few, "tried")
    assert average_of(many, "loss") < average_of(few, "loss")
    assert not any(each.ran_out for each in few)
    assert all(each.ran_out for each in spend(TABLE, none, 1000, orders=2))


def average_of(found, name):
    return sum(getattr(each, name) for each in found) / len(found)


def test_a_signal_is_a_cost_and_missing_where_it_cannot_be():
    runs = TABLE.runs[:3]
    assert list(signal_at("val_loss", runs, 2)) == [run.history.rows[1]["val_loss"] for run in runs]
    assert list(signal_at("s_Fv", runs, 1)) == [-run.history.rows[0]["val_accuracy"] for run in runs]
    assert all(map(math.isnan, signal_at("s_F", runs, 1)))
    assert not any(map(math.isnan, signal_at("s_F", runs, 2)))


def test_a_signal_that_does_not_vary_has_no_correlation():
    runs = [
        replace(falling(number, final), history=History([{"val_loss": final, "agn": 1.0}]))
        for number, final in enumerate((0.3, 0.1, 0.2))
    ]
    cells = dict(correlations(runs, [1])[1:])
    assert (cells["val_loss"], cells["AGN"], cells["s_F"]) == ("+1.000", "—", "—")


def test_the_report_and_the_picture_say_what_was_found(tmp_path):
    families = ["none", "one-epoch", "give-up value"]
    found = sweep(TABLE, settings(EPOCHS_EACH, families), pools=4, size=12)
    text = report(TABLE, found, orders=2)
    (row,) = [row for row in settings_table(found) if row[1] == "epochs 1, top 1"]
    (judged,) = [found[each] for each in found if each.arguments == "epochs 1, top 1"]
    assert row[0].startswith("one-epoch")
    assert row[2] == f"{average(judged, 'saved'):.3f}"
    assert all(cell in text for cell in row)
    assert re.search(r"val_loss +\+1\.000", text)  # curves that do not cross
    draw(found, "a table", tmp_path / "pareto.png")
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "pareto.png").stat().st_size < 200_000
