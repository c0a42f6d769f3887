"""BohbSampler in people's studies: what it assigns, what it proposes, and that the study is all it knows."""

import math
import pickle
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)
from optuna.trial import FrozenTrial, Trial, TrialState

from hpo_gn.errors import ArgumentError, HpoGnError
from hpo_gn.fidelity import CONTINUES, EPOCHS, Assignment, continues, epochs_of
from hpo_gn.searchers import _bohb_model
from hpo_gn.searchers.bohb import PICK, BohbSampler
from hpo_gn.space import paper_space, to_distributions
from hpo_gn.unit_cube import UnitCube

pytestmark = pytest.mark.skipif(find_spec("hpbandster") is None, reason="hpbandster is not installed")

SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-7, 0.5, log=True),
    "batch": IntDistribution(32, 1000, log=True),
    "kind": CategoricalDistribution(["a", "b", None]),
    "only": IntDistribution(3, 3),
}
INITIAL: dict[str, Any] = {"rate": 0.01, "batch": 100, "kind": None, "only": 3}
PAPER: dict[str, Any] = {"min_epochs": 40, "max_epochs": 160, "eta": 2}
SHORT: dict[str, Any] = {"min_epochs": 80, "max_epochs": 160, "eta": 2}


def loss(params: dict[str, Any], epochs: int = 160) -> float:
    kind = {"a": 0.0, "b": 0.2, None: 0.5}[params["kind"]]
    rate = (math.log10(params["rate"]) + 2) ** 2 / 4
    return rate + (math.log2(params["batch"]) - 7) ** 2 / 16 + kind + 8 / epochs


def objective(trial: Trial) -> float:
    for name, distribution in SPACE.items():
        trial._suggest(name, distribution)
    return loss(trial.params, epochs_of(trial, default=160))


def make_study(sampler: BaseSampler, **arguments: Any) -> Study:
    return optuna.create_study(sampler=sampler, **arguments)


def seen(trial: FrozenTrial) -> tuple[Any, ...]:
    """Everything the sampler decided about a trial."""
    return trial.params, epochs_of(trial, 0), continues(trial), trial.system_attrs.get(PICK)


def picks(study: Study) -> Counter[str]:
    return Counter(trial.system_attrs[PICK]["pick"] for trial in study.trials if PICK in trial.system_attrs)


class TestOptunasSuite(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return BohbSampler


def test_the_papers_budget_is_36_configurations_and_5120_epochs() -> None:
    study = make_study(BohbSampler(**PAPER))
    study.optimize(objective, n_trials=52)
    assert sum(epochs_of(trial, 0) for trial in study.trials) == 5120
    assert sum(continues(trial) is None for trial in study.trials) == 36
    assert [epochs_of(trial, 0) for trial in study.trials[:13]] == [40] * 4 + [80] * 2 + [160] + [80] * 2 + [
        160
    ] * 4


def test_a_promoted_trial_has_the_parameters_of_the_one_it_continues() -> None:
    study = make_study(BohbSampler(search_space=SPACE, **PAPER))
    study.optimize(objective, n_trials=26)
    promoted = [trial for trial in study.trials if continues(trial) is not None]
    assert len(promoted) == 8
    for trial in promoted:
        parent = study.trials[continues(trial) or 0]
        assert trial.params == parent.params
        assert epochs_of(trial, 0) == 2 * epochs_of(parent, 0)


def test_a_promotion_keeps_parameters_that_only_some_trials_have() -> None:
    def conditional(trial: Trial) -> float:
        if trial.suggest_categorical("deep", [True, False]):
            return trial.suggest_float("width", 0, 1)
        return trial.suggest_float("depth", 0, 1)

    study = make_study(BohbSampler(**PAPER))
    study.optimize(conditional, n_trials=26)
    for trial in study.trials:
        if (parent := continues(trial)) is not None:
            assert trial.params == study.trials[parent].params


def test_next_assignment_changes_nothing_and_is_what_the_next_trial_gets() -> None:
    study = make_study(BohbSampler(**PAPER))
    rng = np.random.default_rng(5)
    running: list[Trial] = []
    for _ in range(60):
        before = [(trial.number, trial.system_attrs, trial.user_attrs) for trial in study.trials]
        expected = study.sampler.next_assignment(study)
        assert study.sampler.next_assignment(study) == expected
        assert [(trial.number, trial.system_attrs, trial.user_attrs) for trial in study.trials] == before
        running.append(study.ask(SPACE))
        assert Assignment(epochs_of(running[-1], 0), continues(running[-1])) == expected
        while running and rng.random() < 0.6:
            finished = running.pop(rng.integers(len(running)))
            study.tell(finished, loss(finished.params))


def test_asking_ahead_leaves_promotions_their_epochs() -> None:
    study = make_study(BohbSampler(search_space=SPACE, **PAPER))
    for _ in range(4):
        assert study.sampler.fits(study, 1280, from_scratch=True)
        study.ask(SPACE)
    needed = 2 * 80 + 160 + (2 * 80 + 160)
    assert study.sampler.fits(study, needed, from_scratch=True)
    assert not study.sampler.fits(study, needed - 1, from_scratch=True)
    continued = 2 * 40 + 80 + (2 * 80 + 80)
    assert study.sampler.fits(study, continued)
    assert not study.sampler.fits(study, continued - 1)


def test_the_model_proposes_and_never_falls_back_on_mixed_parameters() -> None:
    study = make_study(BohbSampler(search_space=SPACE, **PAPER))
    study.optimize(objective, n_trials=80)
    assert study.sampler.fallbacks == 0
    assert picks(study)["model"] > 10
    assert picks(study)["random"] > 10
    assert picks(study)["fallback"] == 0


@pytest.mark.parametrize(("share", "allowed"), [(0.0, {"model", "promoted"}), (1.0, {"random", "promoted"})])
def test_the_random_share_is_the_one_asked_for(share: float, allowed: set[str]) -> None:
    study = make_study(BohbSampler(search_space=SPACE, random_fraction=share, **PAPER))
    study.optimize(objective, n_trials=60)
    assert {trial.system_attrs[PICK]["pick"] for trial in study.trials[30:]} == allowed


def test_a_silent_fallback_is_counted_and_written_and_its_trial_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = make_study(BohbSampler(search_space=SPACE, random_fraction=0.0, **PAPER))
    study.optimize(objective, n_trials=26)
    monkeypatch.setattr(_bohb_model.DensityModel, "propose", lambda *_: None)
    study.optimize(objective, n_trials=1)
    assert study.sampler.fallbacks == 1
    assert picks(study)["fallback"] == 1
    assert study.trials[-1].state is TrialState.COMPLETE


@pytest.mark.parametrize("given", [SPACE, None])
def test_the_first_configuration_is_the_initial_one(given: dict[str, BaseDistribution] | None) -> None:
    study = make_study(BohbSampler(search_space=given, initial=INITIAL, **PAPER))
    study.optimize(objective, n_trials=5)
    assert study.trials[0].params == INITIAL
    assert all(trial.params != INITIAL for trial in study.trials[1:4])


def resumed(url: str, **arguments: Any) -> Iterator[Study]:
    """The study as a new process finds it: through a new storage and a new sampler."""
    while True:
        storage = optuna.storages.RDBStorage(url)
        yield optuna.create_study(
            study_name="s", storage=storage, load_if_exists=True, sampler=BohbSampler(**arguments)
        )
        storage.remove_session()
        storage.engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("given", [SPACE, None])
def test_a_study_stopped_after_any_trial_goes_on_as_if_it_had_not(
    tmp_path: Path, given: dict[str, BaseDistribution] | None
) -> None:
    arguments = {"search_space": given, "seed": 4, "initial": INITIAL, **SHORT}
    whole = make_study(BohbSampler(**arguments))
    whole.optimize(objective, n_trials=20)
    for _, study in zip(range(20), resumed(f"sqlite:///{tmp_path}/study.db", **arguments), strict=False):
        study.optimize(objective, n_trials=1)
        trials = study.trials
    assert [seen(trial) for trial in trials] == [seen(trial) for trial in whole.trials]
    assert picks(whole)["model"] > 0


@pytest.mark.slow
def test_so_does_one_with_three_trials_running(tmp_path: Path) -> None:
    def step(study: Study) -> None:
        running = [trial for trial in study.trials if trial.state is TrialState.RUNNING]
        if len(running) == 3:
            finished = running[sum(trial.number for trial in running) % 3]
            study.tell(finished.number, loss(finished.params, epochs_of(finished, 0)))
        study.ask(SPACE)

    arguments = {"search_space": SPACE, **SHORT}
    whole = make_study(BohbSampler(**arguments))
    for _, study in zip(range(24), resumed(f"sqlite:///{tmp_path}/study.db", **arguments), strict=False):
        step(whole)
        step(study)
        trials = study.trials
    assert [seen(trial) for trial in trials] == [seen(trial) for trial in whole.trials]
    assert picks(whole)["model"] > 0
    assert picks(whole)["promoted"] > 0


@pytest.mark.slow
def test_another_process_proposes_the_same(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    arguments = {"search_space": SPACE, "random_fraction": 0.0, **PAPER}
    whole = make_study(BohbSampler(**arguments), study_name="s")
    whole.optimize(objective, n_trials=26)
    optuna.copy_study(from_study_name="s", from_storage=whole._storage, to_storage=url)
    code = (
        "import optuna, sys\n"
        "from hpo_gn.searchers.bohb import BohbSampler\n"
        "from optuna.distributions import *\n"
        f"sampler = BohbSampler(**{arguments!r})\n"
        f"study = optuna.load_study(study_name='s', storage={url!r}, sampler=sampler)\n"
        "sys.stdout.write(repr(sorted(study.ask(sampler.search_space).params.items())))\n"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert there == repr(sorted(whole.ask(SPACE).params.items()))
    assert picks(whole)["model"] > 0


def test_one_sampler_in_two_studies_proposes_what_two_samplers_do() -> None:
    arguments = {"search_space": SPACE, **SHORT}
    shared = BohbSampler(**arguments)
    together = [make_study(shared, direction=direction) for direction in ("minimize", "maximize")]
    apart = [
        make_study(BohbSampler(**arguments), direction=study.direction.name.lower()) for study in together
    ]
    for number in range(15):
        for studies in (together, apart):
            for study in studies[: 1 + number % 2]:
                study.optimize(objective, n_trials=2)
    for one, other in zip(together, apart, strict=True):
        assert [seen(trial) for trial in one.trials] == [seen(trial) for trial in other.trials]
        assert picks(one)["promoted"] > 0


def test_another_seed_proposes_something_else() -> None:
    first, second = (make_study(BohbSampler(search_space=SPACE, seed=seed)).ask(SPACE) for seed in (0, 1))
    assert first.params != second.params


def test_a_pickled_sampler_goes_on() -> None:
    study = make_study(BohbSampler(search_space=SPACE, **PAPER))
    study.optimize(objective, n_trials=30)
    twin = make_study(BohbSampler(search_space=SPACE, **PAPER))
    twin.add_trials(study.trials)
    twin.sampler = pickle.loads(pickle.dumps(study.sampler))
    assert twin.ask(SPACE).params == study.ask(SPACE).params


def crash(trial: Trial) -> float:
    raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    "dying",
    [lambda _: math.nan, lambda _: math.inf, lambda _: -math.inf, crash],
    ids=["nan", "inf", "-inf", "exception"],
)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_dying_trials_are_never_promoted_and_stop_nothing(
    direction: str, dying: Callable[[Trial], float]
) -> None:
    sign = 1 if direction == "minimize" else -1

    def sometimes(trial: Trial) -> float:
        value = objective(trial)
        return dying(trial) if trial.number % 3 == 1 else sign * value

    study = make_study(BohbSampler(search_space=SPACE, **PAPER), direction=direction)
    study.optimize(sometimes, n_trials=52, catch=(RuntimeError,))
    promoted = {number for trial in study.trials if (number := continues(trial)) is not None}
    assert promoted
    assert all(number % 3 != 1 for number in promoted)
    assert study.sampler.fallbacks == 0
    assert picks(study)["model"] > 0


def test_a_study_of_failures_alone_goes_on_with_new_configurations() -> None:
    study = make_study(BohbSampler(search_space=SPACE, **PAPER))
    study.optimize(crash, n_trials=18, catch=(RuntimeError,))
    assert [epochs_of(trial, 0) for trial in study.trials] == ([40] * 4 + [80] * 2 + [160] * 3) * 2
    assert all(continues(trial) is None for trial in study.trials)


def test_maximizing_proposes_what_minimizing_the_opposite_proposes() -> None:
    lowest = make_study(BohbSampler(search_space=SPACE, **PAPER))
    highest = make_study(BohbSampler(search_space=SPACE, **PAPER), direction="maximize")
    lowest.optimize(objective, n_trials=40)
    highest.optimize(lambda trial: -objective(trial), n_trials=40)
    assert [seen(trial) for trial in lowest.trials] == [seen(trial) for trial in highest.trials]


def test_an_enqueued_configuration_starts_at_a_first_rung_and_can_be_promoted() -> None:
    study = make_study(BohbSampler(search_space=SPACE, **PAPER))
    study.optimize(objective, n_trials=4)
    best = {"rate": 0.01, "batch": 128, "kind": "a", "only": 3}
    study.enqueue_trial(best)
    assert study.sampler.next_assignment(study) == Assignment(80)
    study.optimize(objective, n_trials=8)
    assert study.trials[4].params == best
    assert epochs_of(study.trials[4], 0) == 80
    assert 4 in [continues(trial) for trial in study.trials]


def test_a_retried_trial_drops_the_assignment_that_was_copied_to_it() -> None:
    study = make_study(BohbSampler(search_space=SPACE, **PAPER))
    study.optimize(objective, n_trials=4)
    died = study.ask(SPACE)
    assert continues(died) is not None
    study.tell(died, state=TrialState.FAIL)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        retry = optuna.storages.RetryHeartbeatStaleTrialCallback()
    retry(study, study.trials[died.number])
    expected = study.sampler.next_assignment(study)
    retried = study.ask(SPACE)
    assert retried.params == died.params
    assert expected == Assignment(epochs_of(retried, 0), continues(retried)) == Assignment(80)
    assert continues(study.trials[died.number]) == continues(died)


@pytest.mark.parametrize("suggested", [[], ["rate"], list(SPACE)])
def test_a_trial_that_is_taken_up_again_keeps_its_assignment_and_its_configuration(
    suggested: list[str],
) -> None:
    study = make_study(BohbSampler(search_space=SPACE, **PAPER))
    study.optimize(objective, n_trials=4)
    whole = make_study(BohbSampler(search_space=SPACE, **PAPER))
    whole.optimize(objective, n_trials=4)
    stopped = study.ask({name: SPACE[name] for name in suggested})
    again = Trial(study, stopped._trial_id)
    for name, distribution in SPACE.items():
        again._suggest(name, distribution)
    whole.ask(SPACE)
    assert seen(study.trials[4]) == seen(whole.trials[4])
    assert study.sampler.next_assignment(study) == whole.sampler.next_assignment(whole)


def test_parameters_that_another_sampler_fixes_are_left_to_it() -> None:
    sampler = BohbSampler(search_space=SPACE, **PAPER)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study = make_study(optuna.samplers.PartialFixedSampler({"batch": 64}, sampler))
    study.optimize(objective, n_trials=13)
    assert {trial.params["batch"] for trial in study.trials} == {64}
    assert sum(continues(trial) is not None for trial in study.trials) == 4


def test_trials_of_another_sampler_are_learnt_from_as_fully_trained() -> None:
    study = make_study(RandomSampler(0))
    study.optimize(objective, n_trials=20)
    study.sampler = BohbSampler(search_space=SPACE, random_fraction=0.0, **PAPER)
    study.optimize(objective, n_trials=1)
    assert picks(study) == {"model": 1}
    assert epochs_of(study.trials[-1], 0) == 40


def test_a_hyperband_pruner_does_not_hide_trials() -> None:
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9)
    plain, pruned = (make_study(BohbSampler(search_space=SPACE, **PAPER), pruner=p) for p in (None, pruner))
    plain.optimize(objective, n_trials=30)
    pruned.optimize(objective, n_trials=30)
    assert [seen(trial) for trial in pruned.trials] == [seen(trial) for trial in plain.trials]


def test_threads_never_share_a_slot() -> None:
    study = make_study(BohbSampler(search_space=SPACE, **PAPER))
    study.optimize(objective, n_trials=40, n_jobs=4)
    claims = [trial.system_attrs["hpo_gn:bohb_claim"] for trial in study.trials]
    assert len({(claim["bracket"], claim["rung"], claim["slot"]) for claim in claims}) == 40


def test_attributes_are_plain_and_user_attributes_are_no_more_than_promised() -> None:
    study = make_study(BohbSampler(search_space=SPACE, **PAPER))
    study.optimize(objective, n_trials=7)
    assert study.trials[0].user_attrs == {EPOCHS: 40}
    assert study.trials[6].user_attrs == {EPOCHS: 160, CONTINUES: continues(study.trials[6])}


def test_several_objectives_are_refused() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=BohbSampler(search_space=SPACE))
    with pytest.raises(ValueError, match="multi-objective"):
        study.sampler.next_assignment(study)
    with pytest.raises(ValueError, match="multi-objective"):
        study.ask(SPACE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be a non-negative integer, got -1"),
        ({"random_fraction": 1.5}, "random_fraction must be from 0 to 1, got 1.5"),
        ({"min_epochs": 20, "max_epochs": 10}, "min_epochs must be an integer from 1 to 10, got 20"),
        ({"search_space": SPACE, "initial": {"batch": 5}}, "batch must be in IntDistribution"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        BohbSampler(**arguments)
    assert str(raised.value).startswith(message)


def test_without_hpbandster_the_constructor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hpbandster.optimizers.config_generators.bohb", None)
    with pytest.raises(HpoGnError, match="pip install 'hpo_gn"):
        BohbSampler()


@pytest.mark.slow
def test_it_beats_random_search_at_equal_epochs() -> None:
    """The median, over seeds, of the best fully trained configuration's loss without its noise.

    On the paper's space, with a loss whose noise falls as epochs rise. At the paper's own 5,120 epochs there
    are too few results for more than a small advantage.
    """
    space = to_distributions(paper_space())

    def true_loss(params: dict[str, Any]) -> float:
        rate, decay = math.log10(params["learning_rate"]), math.log10(params["weight_decay"])
        batch, momentum = math.log2(params["batch_size"]), params["momentum"]
        return (rate + 2) ** 2 / 4 + (decay + 4) ** 2 / 9 + (momentum - 0.7) ** 2 + (batch - 7) ** 2 / 16

    def noisy_loss(params: dict[str, Any], epochs: int, seed: int) -> float:
        missing = (160 / epochs - 1) / 3
        return true_loss(params) + missing * (0.3 + 0.2 * float(np.random.default_rng(seed).normal()))

    def best(sampler: BaseSampler, seed: int, budget: int = 7680) -> float:
        study = make_study(sampler)
        while budget > 0:
            trial = study.ask(space)
            budget -= (epochs := epochs_of(trial, default=160))
            study.tell(trial, noisy_loss(trial.params, epochs, 1000 * trial.number + seed))
        assert budget == 0
        return min(true_loss(trial.params) for trial in study.trials if epochs_of(trial, 160) == 160)

    ours = [best(BohbSampler(search_space=space, seed=seed, **PAPER), seed) for seed in range(5)]
    theirs = [best(RandomSampler(seed=seed), seed) for seed in range(5)]
    assert statistics.median(ours) < statistics.median(theirs)


@pytest.mark.parametrize(("results", "fitted"), [(7, False), (8, True)])
def test_advises_where_no_epochs_have_enough_results_for_the_model(results: int, fitted: bool) -> None:
    """Three axes: two densities, each of one result more."""
    sampler = BohbSampler(search_space=SPACE, initial=INITIAL, **PAPER)
    study = optuna.create_study(sampler=sampler)
    for number in range(results):
        trial = study.ask(SPACE)
        trial.set_user_attr(EPOCHS, 40)
        study.tell(trial, float(number))
    assert sampler._model(study, UnitCube(SPACE)).fitted is fitted
    said = sampler.advice([[40] * results, [80] * 7, [160] * 7])
    random = (
        "all configurations are random: the model takes 8 results of the same epochs, and at most 7 come "
        "before the last round"
    )
    assert said == (None if fitted else random)
    assert sampler.advice([[40] * results]) == random.replace("at most 7", "at most 0")


def test_advises_where_the_budget_pays_no_full_bracket() -> None:
    sampler = BohbSampler(search_space=SPACE, **PAPER)
    assert sampler.advice([[40] * 8, [80, 80], [160]]) is None
    expected = (
        "the budget does not pay one full bracket, which has trials 4 of 40 epochs, 2 of 80 epochs, "
        "1 of 160 epochs"
    )
    assert sampler.advice([[40] * 8, [80, 80]]) == expected
    assert sampler.advice([[40] * 8, [80], [160]]) == expected


def test_advises_on_brackets_alone_without_a_search_space() -> None:
    assert BohbSampler(**PAPER).advice([[40] * 4, [80, 80, 160]]) is None


def test_the_schedule_repeats_itself_where_its_state_comes_back() -> None:
    sampler = BohbSampler(search_space=SPACE, **PAPER)
    study = optuna.create_study(sampler=sampler)
    seen: dict[object, int] = {}
    states, epochs = [], []
    for _ in range(40):
        states.append(sampler.schedule_state(study))
        trial = study.ask({})
        epochs.append(epochs_of(trial, 0))
        study.tell(trial, 0.0)
    for number, state in enumerate(states):
        before = seen.setdefault(state, number)
        assert epochs[number:] == epochs[before : before + 40 - number]
    # One round of brackets: 4 + 2 + 1, 2 + 1 and 3 trials.
    assert states[13] == states[0]
    assert len(set(states[:13])) == 13
