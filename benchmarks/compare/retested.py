"""The test accuracy of recorded configurations, each trained once on the full training set.

A random hundred of a random search's trials are chosen by their numbers alone, before anything is known of
them; one that diverged in the search gives way to the next. Each is trained as the protocol retrains a
winner, for as many epochs as in the search, and tested after the last one. `--numbers` names others, such as
those that replays chose.

A stopped benchmark continues: each finished training is a line of FILE, which `hpo-gn record --tests FILE`
puts into the table.

    python -m benchmarks.compare.retested STORAGE STUDY FILE
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.allocator import keep_freed_memory
from hpo_gn.experiment import TESTED, Experiment
from hpo_gn.measures import measure
from hpo_gn.recipe import RECIPE, from_recipe
from hpo_gn.retraining import retraining_seed
from hpo_gn.storage import open_storage

AMONG = 300
"""Trials that the random ones are drawn from."""
COUNT = 100


def order(among: int = AMONG) -> list[int]:
    """The numbers of the first trials, in random order."""
    return random.Random(0).sample(range(among), among)


def drawn(study: optuna.Study, among: int = AMONG, count: int = COUNT) -> Iterator[FrozenTrial]:
    """The first `count` completed trials of a random order of the first `among`.

    It waits for one that still runs or is not there yet.
    """
    found = 0
    for number in order(among):
        if found == count:
            return
        trial = _finished(study, number)
        if trial.state == TrialState.COMPLETE:
            found += 1
            yield trial


def _finished(study: optuna.Study, number: int) -> FrozenTrial:
    while True:
        trials = study.get_trials(deepcopy=False)
        if number < len(trials) and trials[number].state.is_finished():
            return trials[number]
        time.sleep(_POLL_S)


_POLL_S = 5.0


def retest(experiment: Experiment, params: dict[str, Any]) -> dict[str, Any]:
    """One training on the full training set, and its test."""
    splits = experiment.splits("full", torch.device("cpu"))
    training = experiment.build(params, splits, epochs=experiment.epochs, seed=retraining_seed(experiment, 0))
    for _ in range(experiment.epochs):
        training.run_epoch()
    row = measure(training.model, {"test": splits.test}, TESTED)
    finite = row["test_loss"] == row["test_loss"] and abs(row["test_loss"]) != float("inf")
    return {
        "test_accuracy": [row["test_accuracy"]] if finite else [],
        "test_loss": [row["test_loss"]] if finite else [],
        "failed": int(not finite),
    }


def main() -> None:
    """Test what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("storage")
    parser.add_argument("study")
    parser.add_argument("file", type=Path)
    parser.add_argument("--numbers", type=int, nargs="+")
    parser.add_argument("--part", type=int, default=0, help="of --parts processes, which this is, from 0")
    parser.add_argument("--parts", type=int, default=1)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    keep_freed_memory()
    torch.set_num_threads(1)
    study = optuna.load_study(study_name=options.study, storage=open_storage(options.storage, create=False))
    experiment = from_recipe(study.user_attrs[RECIPE])
    chosen = (_finished(study, number) for number in options.numbers) if options.numbers else drawn(study)
    for index, trial in enumerate(chosen):
        lines = options.file.read_text().splitlines() if options.file.exists() else []
        if index % options.parts != options.part or trial.number in {
            json.loads(line)["number"] for line in lines
        }:
            continue
        began = time.perf_counter()
        result = {"number": trial.number} | retest(experiment, trial.params)
        with options.file.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(f"{result} {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
