"""A verdict depends on earlier rounds alone, whatever the trials of the same round have done meanwhile."""

import math
from typing import ClassVar

import numpy as np
import optuna
import pytest
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)
from optuna.trial import TrialState, create_trial
from sqlalchemy import event

from hpo_gn.pruning import EarlierRounds
from hpo_gn.rounds import ROUND

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

STEPS = 9
SIZE = 6
DIRECTIONS = ["minimize", "maximize"]

PRUNERS = {
    "median": lambda sign: MedianPruner(n_startup_trials=3),
    "percentile": lambda sign: PercentilePruner(25.0, n_startup_trials=3),
    "successive-halving": lambda sign: SuccessiveHalvingPruner(reduction_factor=2),
    "successive-halving-min": lambda sign: SuccessiveHalvingPruner(min_resource=2, reduction_factor=2),
    "hyperband": lambda sign: HyperbandPruner(reduction_factor=2),
    "hyperband-max": lambda sign: HyperbandPruner(max_resource=STEPS, reduction_factor=2),
    "wilcoxon": lambda sign: WilcoxonPruner(n_startup_steps=3),
    "patient": lambda sign: PatientPruner(MedianPruner(n_startup_trials=3), patience=0),
    "threshold": lambda sign: ThresholdPruner(upper=0.9) if sign > 0 else ThresholdPruner(lower=-0.9),
}
COMPARING = sorted(set(PRUNERS) - {"threshold"})
ORDERS = ["one by one", "backwards", "side by side", "side by side backwards"]


def values(number, sign):
    """A trial's reports. The earliest round is the worst, so that whoever sees its own judges harder."""
    random = np.random.RandomState(number)
    level = random.uniform() / (1 + number // SIZE) + random.normal(0, 0.1, STEPS)
    return [float(sign * (each + 0.3 / step)) for step, each in enumerate(level, 1)]


class Bench:
    """A study whose rounds are run by hand."""

    def __init__(self, pruner, direction, storage=None):
        self.sign = 1 if direction == "minimize" else -1
        self.study = optuna.create_study(
            study_name="s",
            storage=storage,
            direction=direction,
            pruner=pruner,
            sampler=optuna.samplers.RandomSampler(),
        )

    def begin(self, number):
        trials = [self.study.ask() for _ in range(SIZE)]
        for trial in trials:
            trial.set_user_attr(ROUND, number)
        return trials

    def step(self, trial, step):
        """The step at which the trial is pruned, or None."""
        trial.report(values(trial.number, self.sign)[step - 1], step)
        if trial.should_prune():
            self.study.tell(trial, state=TrialState.PRUNED)
            return step
        if step == STEPS:
            self.study.tell(trial, values(trial.number, self.sign)[-1])
        return None

    def run(self, trial):
        return next((step for step in range(1, STEPS + 1) if self.step(trial, step)), None)

    def run_round(self, number, order):
        """Where each trial of the round was pruned, by its number."""
        trials = self.begin(number)
        if "backwards" in order:
            trials.reverse()
        if "side" not in order:
            return {trial.number: self.run(trial) for trial in trials}
        pruned = dict.fromkeys((trial.number for trial in trials), None)
        for step in range(1, STEPS + 1):
            for trial in trials:
                if pruned[trial.number] is None:
                    pruned[trial.number] = self.step(trial, step)
        return pruned

    def run_rounds(self, order, numbers=(1, 2, 3, 4)):
        return [self.run_round(number, order) for number in numbers]


@pytest.fixture
def sql():
    """An SQL storage, which finds the best trial in SQL."""
    storage = optuna.storages.RDBStorage("sqlite:///:memory:")
    yield storage
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture(params=["memory", "sql"])
def storage(request):
    return request.getfixturevalue("sql") if request.param == "sql" else optuna.storages.InMemoryStorage()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", PRUNERS)
def test_the_order_within_a_round_does_not_matter(name, direction):
    def pruned(order):
        pruner = EarlierRounds(PRUNERS[name](1 if direction == "minimize" else -1))
        return [sorted(each.items()) for each in Bench(pruner, direction).run_rounds(order)]

    found = [pruned(order) for order in ORDERS]
    assert found == [found[0]] * len(ORDERS)
    stops = {stop for each in found[0] for _, stop in each}
    assert None in stops
    assert len(stops) > 1, "it must have something to decide"


@pytest.mark.parametrize("name", COMPARING)
def test_without_it_the_order_matters(name):
    found = [Bench(PRUNERS[name](1), "minimize").run_rounds(order) for order in ORDERS]
    assert found != [found[0]] * len(ORDERS)


def twin(bench, direction, make, number):
    """Where a trial is pruned in a study that really holds the earlier rounds alone."""
    own = bench.study.trials[number]
    twins = Bench(make(bench.sign), direction)
    for trial in bench.study.trials[:number]:
        # It keeps its number, which Hyperband draws brackets by; empty failed trials matter to no pruner.
        earlier = trial.user_attrs[ROUND] < own.user_attrs[ROUND]
        twins.study.add_trial(trial if earlier else create_trial(state=TrialState.FAIL))
    return twins.run(twins.study.ask())


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", PRUNERS)
def test_it_is_as_in_a_study_of_earlier_rounds(name, direction):
    bench = Bench(EarlierRounds(PRUNERS[name](1 if direction == "minimize" else -1)), direction)
    for pruned in bench.run_rounds("side by side"):
        for number, stop in pruned.items():
            assert stop == twin(bench, direction, PRUNERS[name], number), number


@pytest.mark.parametrize("name", ["wilcoxon", "hyperband"])
def test_every_storage_is_filtered(name, storage):
    def pruned(order, storage=None):
        return Bench(EarlierRounds(PRUNERS[name](1)), "minimize", storage).run_rounds(order, (1, 2))

    assert pruned("side by side", storage) == pruned("one by one")


def test_what_a_pruner_writes_is_on_the_trial(storage):
    bench = Bench(EarlierRounds(SuccessiveHalvingPruner(min_resource=1)), "minimize", storage)
    bench.run_round(1, "one by one")
    assert all("completed_rung_0" in trial.system_attrs for trial in bench.study.trials)


class LookingPruner(BasePruner):
    """Keeps what it could see."""

    looks: ClassVar = []

    def __init__(self):
        self.calls = 0

    def prune(self, study, trial):
        self.calls += 1
        complete = (TrialState.COMPLETE,)
        self.looks.append(
            {
                "calls": self.calls,
                "trials": [each.number for each in study.get_trials(deepcopy=False)],
                "complete": [each.number for each in study.get_trials(deepcopy=False, states=complete)],
                "best": study.best_trial.number
                if study.get_trials(deepcopy=False, states=complete)
                else None,
                "counts": study._storage.get_n_trials(study._study_id),
                "attributes": study.user_attrs,
                "study": study,
            }
        )
        return False


@pytest.fixture
def looks(monkeypatch):
    monkeypatch.setattr(LookingPruner, "looks", [])
    return LookingPruner.looks


def test_what_is_seen(looks, storage):
    bench = Bench(NopPruner(), "minimize", storage)
    bench.study.set_user_attr("mine", 1)
    for number in (1, 2):
        bench.run_round(number, "one by one")
    bench.study.ask()  # being proposed: it has no round yet
    trial = bench.begin(3)[1]
    bench.study.pruner = EarlierRounds(LookingPruner())
    bench.step(trial, 1)
    (seen,) = looks
    earlier = list(range(2 * SIZE))
    assert seen["trials"] == [*earlier, trial.number]
    assert seen["counts"] == 2 * SIZE + 1
    assert seen["complete"] == earlier
    assert seen["best"] == min(earlier, key=lambda number: values(number, 1)[-1])
    assert seen["attributes"] == {"mine": 1}


def test_the_first_round_sees_nobody(looks):
    bench = Bench(EarlierRounds(LookingPruner()), "minimize")
    bench.run_round(1, "backwards")
    assert [look["trials"] for look in looks[::STEPS]] == [[number] for number in reversed(range(SIZE))]
    assert {look["best"] for look in looks} == {None}


def test_a_pruner_remembers_nothing(looks):
    pruner = LookingPruner()
    Bench(EarlierRounds(pruner), "minimize").run_round(1, "one by one")
    assert {look["calls"] for look in looks} == {1}
    assert pruner.calls == 0


def test_trials_are_copied_only_when_asked_to():
    bench = Bench(NopPruner(), "minimize")
    bench.run_round(1, "one by one")
    (trial, *_), (first, *_) = bench.begin(2), bench.study.get_trials(deepcopy=False)
    _, seen = EarlierRounds(NopPruner())._given_earlier_rounds(bench.study, trial._get_latest_trial())
    assert seen.get_trials(deepcopy=False)[0] is first
    assert seen.get_trials()[0] is not first
    assert seen.get_trials()[0] == first


def test_somebody_elses_study_is_shown_as_it_is(looks):
    pruner = LookingPruner()
    study = optuna.create_study(pruner=EarlierRounds(pruner))
    trials = [study.ask() for _ in range(4)]
    trials[3].should_prune()
    assert looks[0]["study"] is study
    assert looks[0]["trials"] == [0, 1, 2, 3]
    assert pruner.calls == 1


@pytest.mark.parametrize("name", ["median", "hyperband-max"])
def test_it_asks_the_database_no_more_often(name, sql):
    bench = Bench(PRUNERS[name](1), "minimize", sql)
    bench.run_round(1, "one by one")
    (trial, *_) = bench.begin(2)
    trial.report(-9.0, 1)
    queries = []
    event.listen(sql.engine, "before_cursor_execute", lambda *arguments: queries.append(arguments[2]))

    def asked(pruner):
        bench.study.pruner = pruner
        trial.should_prune()
        del queries[:]
        trial.should_prune()
        return list(queries)

    plain = asked(PRUNERS[name](1))
    assert asked(EarlierRounds(PRUNERS[name](1))) == plain != []


@pytest.mark.parametrize("name", ["hyperband", "median", "wilcoxon"])
def test_threads_do_not_matter(name):
    """Threads that share a HyperbandPruner could otherwise both make its brackets."""

    def states(n_jobs):
        bench = Bench(EarlierRounds(PRUNERS[name](1)), "minimize")
        for number in (1, 2):
            bench.run_round(number, "one by one")

        def objective(trial):
            trial.set_user_attr(ROUND, 3)
            for step, value in enumerate(values(trial.number, 1), 1):
                trial.report(value, step)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return value

        bench.study.optimize(objective, n_trials=24, n_jobs=n_jobs)
        return [(trial.state, trial.last_step) for trial in bench.study.trials]

    alone = states(1)
    assert states(4) == alone
    assert {state for state, _ in alone[2 * SIZE :]} == {TrialState.PRUNED, TrialState.COMPLETE}
    assert all(math.isfinite(step) for _, step in alone)
