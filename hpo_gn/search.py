"""The protocol: search on the reduced training set, then train the winner on the full one and test it."""

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from hpo_gn.budget import Ledger
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.crew import run_crew
from hpo_gn.database_url import parse_database_url, shown
from hpo_gn.errors import ArgumentError, DataError, StudyError
from hpo_gn.experiment import Experiment
from hpo_gn.fidelity import Assignment
from hpo_gn.progress import SearchProgress
from hpo_gn.result import Result, Retrained, Spent
from hpo_gn.retraining import INDEX, ROLE, find_winner, prepare
from hpo_gn.storage import open_storage
from hpo_gn.trial import REASON
from hpo_gn.worker import FINGERPRINT, Place, Worker

EXPERIMENT = "hpo_gn:experiment"
"""Study attribute: the experiment's identity as JSON."""

_SPARE_EPOCHS = 3
"""Epochs a retraining may repeat after its workers died, where retraining is not part of the budget."""


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
    protocol = _Protocol.plan(
        experiment,
        budget,
        workers,
        device,
        storage,
        study,
        output,
        seeds,
        include_retraining,
        lease_s,
        console,
    )
    return protocol.run()


@dataclass(frozen=True)
class _Protocol:
    experiment: Experiment
    device: torch.device
    workers: int
    place: Place
    output: Path
    search_limit: int
    retraining_limit: int
    seeds: int
    console: Console

    @classmethod
    def plan(
        cls,
        experiment: Experiment,
        budget: int,
        workers: int | None,
        device: str,
        storage: str | None,
        study: str | None,
        output: str | Path | None,
        seeds: int,
        include_retraining: bool,
        lease_s: float,
        console: Console | None,
    ) -> "_Protocol":
        for name, value in (("budget", budget), ("seeds", seeds), ("workers", workers)):
            if value is not None and value < 1:
                raise ArgumentError(name, "1 or more", value)
        chosen = _device(device)
        retraining = 2 * seeds * experiment.epochs * experiment.gpus
        limit = budget - retraining if include_retraining else budget
        _check_budget(experiment, budget, limit)
        if storage is not None:
            open_storage(storage)
        name = study or _default_name(experiment)
        folder = Path(output) if output else Path("runs") / path_of(name)
        url = storage or f"sqlite:///{folder}/study.db"
        spare = 0 if include_retraining else 2 * seeds * _SPARE_EPOCHS * experiment.gpus
        return cls(
            experiment=experiment,
            device=chosen,
            workers=workers or _default_workers(experiment, chosen),
            place=Place(url, name, folder / "checkpoints" / "search", lease_s),
            output=folder,
            search_limit=limit,
            retraining_limit=retraining + spare,
            seeds=seeds,
            console=console or Console(quiet=True),
        )

    def run(self) -> Result:
        fingerprint = self._try_out()
        self.output.mkdir(parents=True, exist_ok=True)
        study = self._study(self.place, fingerprint)
        ledger = self._crew(study, self.place, self.search_limit, "search", retraining=False)
        winner = find_winner(study)
        place = Place(
            self.place.storage,
            f"{self.place.study}/retraining of trial {winner.number}",
            self.output / "checkpoints" / f"retraining-{winner.number}",
            self.place.lease_s,
        )
        retraining = self._study(place, None)
        prepare(retraining, self.experiment, winner.params, self.seeds)
        tested = self._crew(retraining, place, self.retraining_limit, "retraining", retraining=True)
        result = self._result(study, winner, _spent(ledger), retraining, _spent(tested))
        self._keep_model(retraining, Checkpoints(place.checkpoints))
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

    def _study(self, place: Place, fingerprint: str | None) -> optuna.Study:
        storage = open_storage(place.storage)
        study = optuna.create_study(study_name=place.study, storage=storage, load_if_exists=True)
        _check_same(study, self.experiment)
        if fingerprint is not None and study.user_attrs.setdefault(FINGERPRINT, fingerprint) != fingerprint:
            raise DataError(f"the data are not those that study {place.study!r} was made with")
        if fingerprint is not None:
            study.set_user_attr(FINGERPRINT, fingerprint)
        return study

    def _crew(self, study: optuna.Study, place: Place, limit: int, title: str, *, retraining: bool) -> Ledger:
        ledger = Ledger(place.storage, place.study, limit=limit, lease_s=place.lease_s)
        worker = Worker(self.experiment, place, self.device, retraining=retraining)
        with SearchProgress(title, study, ledger, self.console) as progress:
            run_crew(worker, self.workers, ledger, progress.update)
        return ledger

    def _result(
        self, study: optuna.Study, winner: FrozenTrial, spent: Spent, retraining: optuna.Study, tested: Spent
    ) -> Result:
        states = Counter(trial.state.name.lower() for trial in study.get_trials(deepcopy=False))
        assert winner.value is not None
        return Result(
            study=self.place.study,
            storage=shown(parse_database_url("storage", self.place.storage)),
            objective=repr(self.experiment.objective),
            searcher=self.experiment.searcher,
            trial=winner.number,
            value=winner.value,
            epochs=self.experiment.epochs,
            trials=dict(sorted(states.items())),
            search=spent,
            retraining=tested,
            winner=_retrained(retraining, "winner", winner.params),
            initial=_retrained(retraining, "initial", self.experiment.initial),
        )

    def _keep_model(self, retraining: optuna.Study, checkpoints: Checkpoints) -> None:
        for trial in retraining.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if (trial.user_attrs[ROLE], trial.user_attrs[INDEX]) == ("winner", 0):
                found = checkpoints.latest(trial.number)
                if found is not None and "model" in found.state:
                    torch.save(found.state["model"], self.output / "model.pt")


def path_of(study: str) -> str:
    """A study's name as one harmless path component."""
    escaped = quote(study, safe="")
    return escaped.replace(".", "%2E") if set(escaped) <= {"."} else escaped


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


def _default_name(experiment: Experiment) -> str:
    identity = experiment.identity()
    objective = type(experiment.objective).__name__
    return f"{identity['data']}-{identity['model']}-{objective}-{experiment.searcher}".lower()


def _check_budget(experiment: Experiment, budget: int, limit: int) -> None:
    sampler = experiment.sampler()
    assign = getattr(sampler, "next_assignment", None)
    first = assign(optuna.create_study(sampler=sampler)) if assign else Assignment(experiment.epochs)
    least = first.epochs * experiment.gpus
    if limit < least:
        rule = f"at least {least + budget - limit}, " + (
            "one trial's epochs" if budget == limit else "one trial's epochs and the retraining's"
        )
        raise ArgumentError("budget", rule, budget)


def _check_same(study: optuna.Study, experiment: Experiment) -> None:
    now = json.loads(json.dumps(experiment.identity()))
    before = study.user_attrs.get(EXPERIMENT)
    if before is None:
        if study.get_trials(deepcopy=False):
            raise StudyError(f"study {study.study_name!r} was not made by hpo-gn search; choose another name")
        study.set_user_attr(EXPERIMENT, now)
        return
    for key in now:
        if before.get(key) != now[key]:
            raise StudyError(
                f"study {study.study_name!r} was made with {key} {before.get(key)!r}, not {now[key]!r}; "
                "choose another name"
            )


def _spent(ledger: Ledger) -> Spent:
    account, (training_s, measuring_s) = ledger.account(), ledger.seconds()
    return Spent(account.limit, account.spent, account.held, round(training_s, 3), round(measuring_s, 3))


def _retrained(study: optuna.Study, role: str, params: dict[str, object]) -> Retrained:
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs[ROLE] == role]
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    rows = [trial.user_attrs[f"hpo_gn:epoch:{trial.last_step}"] for trial in done]
    return Retrained(
        params=dict(params),
        test_accuracy=tuple(row["test_accuracy"] for row in rows),
        test_loss=tuple(row["test_loss"] for row in rows),
        failures=tuple(str(trial.user_attrs.get(REASON)) for trial in trials if trial not in done),
    )
