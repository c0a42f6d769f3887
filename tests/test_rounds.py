"""The queue of trials: what is proposed, who may run it, and what happens when somebody dies."""

import optuna
import pytest
from optuna.trial import TrialState

from hpo_gn.budget import Ledger
from hpo_gn.errors import StudyError
from hpo_gn.fidelity import ROUND, epochs_of
from hpo_gn.rounds import ERROR, ROUNDS, Rounds, Rules
from hpo_gn.searchers.cma_es import PyCmaSampler
from hpo_gn.trial import REASON, Outcome

SPACE = {"x": optuna.distributions.FloatDistribution(0, 1), "y": optuna.distributions.IntDistribution(1, 9)}


class Queue:
    """A study and its rounds, run by hand: a trial's value is x + y."""

    def __init__(self, url, *, limit=64, round_size=4, gpus=1, owner="here:1:a"):
        sampler = PyCmaSampler(search_space=SPACE, seed=3, population_size=round_size)
        self.storage = optuna.storages.RDBStorage(url)
        self.study = optuna.create_study(
            study_name="s", storage=self.storage, sampler=sampler, load_if_exists=True
        )
        self.ledger = Ledger(url, "s", limit=limit, owner=owner)
        self.remaining = {}
        rules = Rules(SPACE, epochs=4, round_size=round_size)
        self.rounds = Rounds(
            self.study, self.ledger, rules, lambda trial: self.remaining.get(trial.number, 4), gpus
        )

    def run(self, claim):
        with claim.hold as hold:
            for _ in range(self.remaining.get(claim.trial.number, 4)):
                hold.charge()
            value = claim.trial.params["x"] + claim.trial.params["y"]
            self.rounds.tell(claim.trial, Outcome(TrialState.COMPLETE, value))

    def work(self):
        while True:
            if claim := self.rounds.claim():
                self.run(claim)
            elif not self.rounds.advance():
                return self.params()

    def params(self):
        return [trial.params for trial in self.study.get_trials()]

    def close(self):
        self.ledger.close()
        self.storage.remove_session()
        self.storage.engine.dispose()


@pytest.fixture
def queue(tmp_path):
    made = []

    def make(name="study", **settings):
        made.append(Queue(f"sqlite:///{tmp_path}/{name}.db", **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_rounds_of_one_size_until_the_budget_is_spent(queue):
    q = queue(limit=34)
    q.work()
    trials = q.study.get_trials()
    assert [trial.user_attrs[ROUND] for trial in trials] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert {epochs_of(trial, 0) for trial in trials} == {4}
    assert (q.ledger.account().spent, q.ledger.account().held) == (32, 0)


def test_gpus_multiply_what_an_epoch_costs(queue):
    q = queue(limit=34, gpus=2)
    q.work()
    assert len(q.params()) == 4
    assert q.ledger.account().spent == 32


def test_a_trial_is_claimed_once(queue):
    one = queue()
    two = queue(owner="here:2:b")
    assert one.rounds.advance()
    claims = [one.rounds.claim(), two.rounds.claim(), one.rounds.claim()]
    assert [claim.trial.number for claim in claims] == [0, 1, 2]
    assert one.ledger.account().held == 12


def test_nobody_proposes_while_a_trial_runs(queue):
    one, two = queue(), queue(owner="here:2:b")
    one.rounds.advance()
    claims = [one.rounds.claim() for _ in range(4)]
    for claim in claims[:3]:
        one.run(claim)
    assert two.rounds.claim() is None
    assert two.rounds.advance()
    assert len(one.params()) == 4
    one.run(claims[3])
    assert two.rounds.advance()
    assert len(one.params()) == 8


@pytest.mark.parametrize("proposed", [0, 1, 3])
@pytest.mark.parametrize("half_made", [False, True])
def test_a_proposer_that_dies_changes_no_proposal(queue, monkeypatch, proposed, half_made):
    """Killed after so many proposals of round 2, or in the middle of the next one."""
    whole = queue("whole").work()
    q = queue("broken")
    q.rounds.advance()
    for claim in [q.rounds.claim() for _ in range(4)]:
        q.run(claim)

    class KilledError(BaseException):
        pass

    real = optuna.Study.ask

    def dying(study, *arguments, **keywords):
        if len(study.get_trials()) == 4 + proposed:
            if half_made:
                real(study)  # the trial is there, and has neither parameters nor epochs
            raise KilledError
        return real(study, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "ask", dying)
        with pytest.raises(KilledError):
            q.rounds.advance()
    assert q.study.user_attrs[ROUNDS] == 1
    assert q.rounds.claim() is None  # nothing of an unfinished round is run
    again = queue("broken", owner="here:2:b")
    assert again.work() == whole


def test_what_the_budget_can_never_finish_fails_with_the_reason(queue):
    q = queue(limit=16)
    q.rounds.advance()
    for claim in [q.rounds.claim() for _ in range(3)]:
        q.run(claim)
    claim = q.rounds.claim()
    claim.hold.charge()
    claim.hold.settle()  # stopped; and this one cannot go on from where it was
    assert q.rounds.claim() is None
    q.work()
    last = q.study.get_trials()[3]
    assert last.state == TrialState.FAIL
    assert last.user_attrs[REASON] == "the budget has 3 GPU×epochs left, and the trial still needs 4"
    assert q.ledger.account().held == 0


def test_a_stopped_trial_goes_on_with_what_it_still_needs(queue):
    q = queue(limit=16)
    q.rounds.advance()
    claim = q.rounds.claim()
    claim.hold.charge()
    claim.hold.settle()
    q.remaining[0] = 3
    again = q.rounds.claim()
    assert (again.trial.number, again.hold.epochs) == (0, 3)


def test_a_trial_that_keeps_killing_its_workers_fails(queue):
    q = queue()
    q.rounds.advance()
    for _ in range(3):
        assert q.rounds.claim().trial.number == 0
        q.ledger.release(q.ledger.owner)
    assert q.rounds.claim().trial.number == 1
    first = q.study.get_trials()[0]
    assert first.state == TrialState.FAIL
    assert first.user_attrs[REASON] == "3 workers died of it"


def test_a_round_of_nothing_but_exceptions_stops_the_search(queue):
    q = queue()
    q.rounds.advance()
    while claim := q.rounds.claim():
        with claim.hold:
            q.study._storage.set_trial_user_attr(claim.trial._trial_id, ERROR, "ValueError: oh")
            q.rounds.tell(claim.trial, Outcome(TrialState.FAIL, reason="ValueError: oh"))
    with pytest.raises(
        StudyError, match="every trial of the last round failed, the first with ValueError: oh"
    ):
        q.rounds.advance()
    assert q.ledger.account().spent == 0


def test_a_proposer_that_slept_past_its_lease_adds_nothing(queue, monkeypatch):
    q, other = queue(), queue(owner="here:2:b")
    real = optuna.Study.ask

    def sleepy(study, *arguments, **keywords):
        trial = real(study, *arguments, **keywords)
        if trial.number == 1:
            monkeypatch.undo()
            other.ledger.release("here:1:a")
            other.work()
        return trial

    monkeypatch.setattr(optuna.Study, "ask", sleepy)
    assert q.rounds.advance()
    trials = q.study.get_trials()
    assert [trial.user_attrs[ROUND] for trial in trials] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
