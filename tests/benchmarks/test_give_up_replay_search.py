import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.give_up.recording import Recording
from benchmarks.give_up.replay import replay
from hpo_gn.experiment import Experiment
from hpo_gn.history import History
from hpo_gn.pruning import GIVEN_UP
from hpo_gn.recorded import record
from hpo_gn.search import search
from hpo_gn.space import paper_space

EPOCHS, ROUND_SIZE = 3, 4


def search_digits(folder, pruner, budget):
    experiment = Experiment(
        "digits",
        paper_space(),
        Recording(),
        model="mlp",
        searcher="random",
        pruner=pruner,
        shadows=0.0 if pruner else None,
        epochs=EPOCHS,
        round_size=ROUND_SIZE,
    )
    url = f"sqlite:///{folder / 'study.db'}"
    search(experiment, budget=budget, workers=1, device="cpu", seeds=1, storage=url, study="s", output=folder)
    return url


@pytest.mark.slow
def test_a_replay_does_what_a_search_does(tmp_path):
    trained, pruned = tmp_path / "trained", tmp_path / "pruned"
    for folder in (trained, pruned):
        folder.mkdir()
    table = record(
        search_digits(trained, None, budget=16 * EPOCHS), "s", tmp_path / "s.jsonl.gz", command="c"
    )
    url = search_digits(pruned, "optuna.pruners:MedianPruner", budget=10 * EPOCHS)
    trials = optuna.load_study(study_name="s", storage=url).get_trials()
    median = optuna.pruners.MedianPruner()
    ended = replay(table.runs, median, name="s", epochs=EPOCHS, round_size=ROUND_SIZE, budget=10 * EPOCHS)
    assert [each.run.params for each in ended] == [trial.params for trial in trials]
    assert [each.given_up for each in ended] == [trial.state == TrialState.PRUNED for trial in trials]
    assert [len(History.of(trial)) for trial in trials] == [each.epochs for each in ended]
    given_up = [trial for trial in trials if GIVEN_UP in trial.user_attrs]
    assert 10 < len(trials) < 16
    assert len(given_up) == sum(each.given_up for each in ended) > 0
