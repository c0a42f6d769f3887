"""The protocol: search on the reduced training set, then train the winner on the full one and test it."""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import torch
from optuna.trial import FrozenTrial
from rich.console import Console

from hpo_gn.budget import Ledger
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.crew import run_crew
from hpo_gn.database_url import parse_database_url, shown, sqlite_url
from hpo_gn.errors import ArgumentError
from hpo_gn.experiment import Experiment
from hpo_gn.fidelity import Assignment
from hpo_gn.progress import SearchProgress
from hpo_gn.result import Result, Spent
from hpo_gn.retraining import collect, find_winner, keep_model, prepare
from hpo_gn.storage import open_storage
from hpo_gn.studies import default_name, open_study, path_of
from hpo_gn.worker import Place, Worker

_SPARE_EPOCHS = 3
"""Epochs that a retraining may repeat after its workers died, where it is not part of the budget."""


def search(
    experiment: Experiment,
    *,
    budget: int,
    workers: int | None = None,
    device: str = "auto",
    storage: str | None = None,
    study: str | None = None,
    output: str | Path | None = None,
    seeds: int = 3,
    include_retraining: bool = False,
    lease_s: float = 60.0,
    console: Console | None = None,
) -> Result:
    """Spend a budget of GPU×epochs on a search, then retrain and test what it found and what it began with.

    Calling it again with the same experiment goes on where it stopped, or gives the result if it had ended. A
    larger budget extends the search.

    Args:
        experiment: what is searched.
        budget: in GPU×epochs. It is the search's, unless `include_retraining`.
        workers: processes on this machine; the results do not depend on it. With None as many as there are
            cores, or one on a GPU.
        device: "cpu", "cuda", "cuda:1", …; "auto" is the GPU if there is one.
        storage: URL of a SQLite or PostgreSQL database; with None a file in the output folder.
        study: its name; with None one made from the experiment.
        output: where `best.yaml`, `result.json`, `model.pt` and checkpoints go; with None `runs/<study>`.
        seeds: retrainings of the winner, and of the initial settings.
        include_retraining: hold the retraining's epochs back from the budget.
        lease_s: seconds after which a silent worker counts as dead.
        console: where to show progress; with None nothing is shown.

    Raises:
        HpoGnError: anything that the caller can mend, in one line.
        KeyboardInterrupt: after Ctrl-C; nothing is left held.
    """
    for name, value in (("budget", budget), ("seeds", seeds), ("workers", workers)):
        if value is not None and value < 1:
            raise ArgumentError(name, "1 or more", value)
    retraining = 2 * seeds * experiment.epochs * experiment.gpus
    held_back, spare = (
        (retraining, 0) if include_retraining else (0, 2 * seeds * _SPARE_EPOCHS * experiment.gpus)
    )
    _check_budget(experiment, budget, held_back)
    if storage is not None:
        open_storage(storage)  # before anything is written
    name = study or default_name(experiment)
    folder = Path(output) if output else Path("runs") / path_of(name)
    chosen = _device(device)
    protocol = _Protocol(
        experiment=experiment,
        place=Place(
            storage or sqlite_url(folder / "study.db"), name, folder / "checkpoints" / "search", lease_s
        ),
        output=folder,
        device=chosen,
        workers=workers or _default_workers(experiment, chosen),
        seeds=seeds,
        search_limit=budget - held_back,
        retraining_limit=retraining + spare,
        console=console or Console(quiet=True),
    )
    return protocol.run()


@dataclass(frozen=True)
class _Protocol:
    experiment: Experiment
    place: Place
    output: Path
    device: torch.device
    workers: int
    seeds: int
    search_limit: int
    retraining_limit: int
    console: Console

    def run(self) -> Result:
        fingerprint = self._try_out()
        self.output.mkdir(parents=True, exist_ok=True)
        study = open_study(self.place, self.experiment, fingerprint)
        spent = self._work(
            "search", study, Worker(self.experiment, self.place, self.device), self.search_limit
        )
        winner = find_winner(study)
        result = self._result(study, winner, spent, *self._retrain(winner))
        result.write(self.output)
        Checkpoints(self.output / "checkpoints").discard()
        return result

    def _try_out(self) -> str:
        """Read the data and build one training before anything is written, so that mistakes show at once; the
        data's fingerprint.
        """
        splits = self.experiment.splits("search", torch.device("cpu"))
        self.experiment.build(self.experiment.initial, splits, epochs=self.experiment.epochs, seed=0)
        return splits.fingerprint

    def _work(self, title: str, study: optuna.Study, worker: Worker, limit: int) -> Spent:
        place = worker.place
        ledger = Ledger(place.storage, place.study, limit=limit, lease_s=place.lease_s)
        planned = (
            2 * self.seeds * self.experiment.epochs * self.experiment.gpus if worker.retraining else None
        )
        with SearchProgress(title, study, ledger, self.console, planned) as progress:
            run_crew(worker, self.workers, ledger, progress.update)
        account, (training_s, measuring_s) = ledger.account(), ledger.seconds()
        ledger.close()
        return Spent(account.limit, account.spent, account.held, round(training_s, 3), round(measuring_s, 3))

    def _retrain(self, winner: FrozenTrial) -> tuple[optuna.Study, Spent]:
        place = replace(
            self.place,
            study=f"{self.place.study}/retraining of trial {winner.number}",
            checkpoints=self.output / "checkpoints" / f"retraining-{winner.number}",
        )
        study = open_study(place, self.experiment)
        prepare(study, self.experiment, winner.params, self.seeds)
        worker = Worker(self.experiment, place, self.device, retraining=True)
        spent = self._work("retraining", study, worker, self.retraining_limit)
        keep_model(study, Checkpoints(place.checkpoints), self.output / "model.pt")
        return study, spent

    def _result(
        self,
        study: optuna.Study,
        winner: FrozenTrial,
        spent: Spent,
        retrained: optuna.Study,
        retraining: Spent,
    ) -> Result:
        states = Counter(trial.state.name.lower() for trial in study.get_trials(deepcopy=False))
        return Result(
            study=self.place.study,
            storage=shown(parse_database_url("storage", self.place.storage)),
            objective=repr(self.experiment.objective),
            searcher=self.experiment.searcher,
            trial=winner.number,
            value=winner.values[0],
            epochs=self.experiment.epochs,
            trials=dict(sorted(states.items())),
            search=spent,
            retraining=retraining,
            winner=collect(retrained, "winner", winner.params),
            initial=collect(retrained, "initial", self.experiment.initial),
        )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise ArgumentError("device", "auto, cpu, or a GPU that is there", name) from None
    return device


def _default_workers(experiment: Experiment, device: torch.device) -> int:
    if device.type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // experiment.threads, experiment.round_size))


def _check_budget(experiment: Experiment, budget: int, held_back: int) -> None:
    sampler = experiment.sampler()
    assign = getattr(sampler, "next_assignment", None)
    first = assign(optuna.create_study(sampler=sampler)) if assign else Assignment(experiment.epochs)
    least = first.epochs * experiment.gpus + held_back
    if budget < least:
        both = "one trial's epochs and the retraining's" if held_back else "one trial's epochs"
        raise ArgumentError("budget", f"at least {least}, {both}", budget)
