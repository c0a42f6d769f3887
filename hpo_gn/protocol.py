"""The protocol: search on the reduced training set, then train the winner on the full one and test it.

Whoever works on a study follows it, the command that began the search and workers that joined it alike: when
the search is over, the first to notice prepares the retraining, and all go on with that.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import optuna
import torch
from optuna.trial import FrozenTrial
from rich.console import Console

from hpo_gn.budget import Ledger
from hpo_gn.errors import HoldClosedError
from hpo_gn.experiment import Experiment
from hpo_gn.progress import SearchProgress
from hpo_gn.result import Spent
from hpo_gn.retraining import (
    ROLES,
    count_trainings,
    is_prepared,
    prepare,
    retraining_epochs,
    retraining_name,
)
from hpo_gn.storage import patiently
from hpo_gn.studies import open_study
from hpo_gn.worker import Place, Worker

Engine = Callable[[Worker, Ledger, Callable[[], None]], None]
"""Runs workers of a study until there is nothing more to do: (worker, its ledger, what to call while it
runs).
"""

_WAIT_S = 0.2
_SPARE_EPOCHS = 3
"""Epochs that a retraining may repeat after its workers died, where it is not part of the budget."""


@dataclass(frozen=True)
class Stage:
    """What one stage of the protocol left: its study, and what it used."""

    study: optuna.Study
    spent: Spent


@dataclass(frozen=True)
class SearchProtocol:
    """A search and its retraining.

    Args:
        experiment: what is searched.
        place: of the search's study.
        seeds: retrainings of each role.
        include_retraining: whether the budget pays for the retraining.
        roles: who is retrained.
    """

    experiment: Experiment
    place: Place
    seeds: int
    include_retraining: bool
    roles: tuple[str, ...] = ROLES

    @property
    def retraining_epochs(self) -> int:
        """GPU×epochs of the retraining."""
        return retraining_epochs(self.seeds, self.experiment.epochs, self.experiment.gpus, self.roles)

    @property
    def held_back(self) -> int:
        """GPU×epochs of the budget that the search must leave for the retraining."""
        return self.retraining_epochs if self.include_retraining else 0

    def search(self, engine: Engine, console: Console) -> Stage:
        """Take part in the search, which was announced, until it is over.

        Args:
            engine: what runs the workers.
            console: where progress is shown.
        """
        study = patiently(lambda: open_study(self.place, self.experiment))
        ledger = Ledger(self.place.storage, self.place.study, lease_s=self.place.lease_s)
        return self._work("search", study, Worker(self.experiment, self.place, _CPU), ledger, engine, console)

    def retrain(self, winner: FrozenTrial, engine: Engine, console: Console) -> Stage:
        """Take part in the retraining until it is over.

        Args:
            winner: of the search.
            engine, console: as in `search`.
        """
        place = self.retraining_place(winner)
        study = patiently(lambda: open_study(place, self.experiment))
        # Also those that an earlier command asked for: what was paid for them is never taken back.
        trainings = patiently(lambda: count_trainings(study, self.seeds, self.roles))
        spare = 0 if self.include_retraining else _SPARE_EPOCHS
        limit = trainings * (self.experiment.epochs + spare) * self.experiment.gpus
        ledger = Ledger(place.storage, place.study, limit=limit, lease_s=place.lease_s)
        self._prepare(study, winner, ledger)
        worker = Worker(self.experiment, place, _CPU, retraining=True)
        planned = trainings * self.experiment.epochs * self.experiment.gpus
        return self._work("retraining", study, worker, ledger, engine, console, planned)

    def _prepare(self, study: optuna.Study, winner: FrozenTrial, ledger: Ledger) -> None:
        while not patiently(lambda: is_prepared(study, self.seeds, self.roles)):
            with suppress(HoldClosedError), ledger.turn() as turn:
                if turn is not None:
                    patiently(
                        lambda: prepare(study, self.experiment, winner.params, self.seeds, turn, self.roles)
                    )
                    continue
            time.sleep(_WAIT_S)

    def retraining_place(self, winner: FrozenTrial) -> Place:
        """Where the retraining of a winner is."""
        return replace(
            self.place,
            study=retraining_name(self.place.study, winner.number),
            checkpoints=self.place.checkpoints.at(f"retraining-{winner.number}"),
        )

    def _work(
        self,
        title: str,
        study: optuna.Study,
        worker: Worker,
        ledger: Ledger,
        engine: Engine,
        console: Console,
        planned: int | None = None,
    ) -> Stage:
        try:
            with SearchProgress(title, study, ledger, console, planned) as progress:
                engine(worker, ledger, progress.update)
            account, (training_s, measuring_s) = ledger.account(), ledger.seconds()
        finally:
            ledger.close()
        return Stage(
            study,
            Spent(
                limit=account.limit,
                spent=account.spent,
                held=account.held,
                measuring=account.measuring,
                training_s=round(training_s, 3),
                measuring_s=round(measuring_s, 3),
            ),
        )


_CPU = torch.device("cpu")  # the engine says on which device a worker trains
