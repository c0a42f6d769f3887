"""An experiment: everything a trial needs beyond its configuration, from names or from objects."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import optuna
import torch
from ConfigSpace import ConfigurationSpace
from optuna.distributions import BaseDistribution
from torch import nn

from hpo_gn.data import DataSet, Splits, full_splits, open_data, search_splits
from hpo_gn.errors import ArgumentError
from hpo_gn.history import History
from hpo_gn.measures import Accuracy, MeanLoss, Measure
from hpo_gn.models import build_model
from hpo_gn.objectives import Objective, Pareto, RelativeObjective
from hpo_gn.objectives._reads_agn import Reading
from hpo_gn.pruning import EarlierRounds, ShadowedPruner, named_pruner
from hpo_gn.recorded_measures import measures_of
from hpo_gn.registry import import_object, make
from hpo_gn.reranking import Reranked
from hpo_gn.space import initial_settings, to_distributions
from hpo_gn.training import Training, TrainingFactory, check_space, supervised

TESTED: tuple[Measure, ...] = (MeanLoss("test"), Accuracy("test"))


@dataclass(frozen=True)
class Experiment:
    """What is searched, over which space, by which objective and searcher.

    Args:
        data: a registered name, a `.npz` file, `module:function`, or a `DataSet`.
        space: the search space; its default configuration is the initial settings.
        objective: what is minimized.
        model: a registered name, `module:function`, or a function (shape, classes, **hyperparameters) →
            model.
        training: instead of a model, `module:function` or a function (config, splits, *, epochs, seed) →
            Training.
        searcher: a registered name or `module:class`.
        pruner: likewise; what gives up runs early. None: every run is trained to its end.
        signal: for a pruner that takes it: what it looks at, "value", "s-fv" or "s-f".
        shadows: share of the runs given up that is trained to the end all the same, to see whether it was
            right; with None a tenth.
        false_kills: for a pruner that takes it: a level for the share of given-up runs that would have ended
            among the best.
        epochs: a trial's epochs; for a searcher that assigns them, the largest.
        min_epochs, eta: for a searcher that assigns epochs: the smallest, and the ratio between rungs.
        round_size: trials proposed together; they depend on earlier rounds only.
        fraction: the share of the training set that the search trains on.
        validation_fraction: the share of the training set held out for validation.
        seed: every random number of the search is a function of it.
        from_scratch: train a promoted configuration anew, and charge it in full, as the paper does.
        charge: what the budget pays: "epochs" alone, or "measures" too, as the shares of an epoch that they
            take, so that objectives compete at equal compute.
        mixed_precision, channels_last: as in `SupervisedTraining`.
        threads: CPU threads of each worker; fixed, since they change the order of sums.
        gpus: what an epoch of a trial costs, in GPU×epochs.
        data_root: where data files are looked for.

    Raises:
        ArgumentError: a value out of its range.
        SpaceError: a space that lacks what the training needs.
    """

    data: str | DataSet
    space: ConfigurationSpace
    objective: Objective
    model: str | Callable[..., nn.Module] | None = None
    training: str | TrainingFactory | None = None
    searcher: str = "cma-es"
    pruner: str | None = None
    signal: str | None = None
    shadows: float | None = None
    false_kills: float | None = None
    epochs: int = 160
    min_epochs: int | None = None
    eta: int = 2
    round_size: int = 8
    fraction: float = 0.2
    validation_fraction: float = 0.1
    seed: int = 0
    from_scratch: bool = False
    charge: Literal["epochs", "measures"] = "epochs"
    mixed_precision: bool = False
    channels_last: bool = False
    threads: int = 1
    gpus: int = 1
    data_root: Path | None = None

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            if getattr(self, name) < 1:
                raise ArgumentError(name, "a positive integer", getattr(self, name))
            if getattr(self, name) > most:
                raise ArgumentError(name, f"at most {most}", getattr(self, name))
        if self.seed < 0:
            raise ArgumentError("seed", "0 or more", self.seed)
        if self.min_epochs is not None and not 1 <= self.min_epochs <= self.epochs:
            raise ArgumentError("min_epochs", f"from 1 to epochs ({self.epochs})", self.min_epochs)
        if self.charge not in ("epochs", "measures"):
            raise ArgumentError("charge", "epochs or measures", self.charge)
        if self.eta < 2:
            raise ArgumentError("eta", "2 or more", self.eta)
        for name in ("signal", "shadows", "false_kills"):
            if self.pruner is None and getattr(self, name) is not None:
                raise ArgumentError(name, "left out, unless there is a pruner", getattr(self, name))
        if self.shadows is not None and not 0 <= self.shadows <= 1:
            raise ArgumentError("shadows", "from 0 to 1", self.shadows)
        if (self.model is None) == (self.training is None):
            raise ArgumentError("model", "given, unless a training is, and not both", self.model)
        if self.training is None:
            check_space(set(self.distributions))

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker process: the arguments, and nothing that is made from them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna writes it."""
        return to_distributions(self.space)

    @cached_property
    def initial(self) -> dict[str, Any]:
        """The initial settings."""
        return initial_settings(self.space)

    def sampler(self) -> optuna.samplers.BaseSampler:
        """The searcher, given those of our settings that its constructor takes. By an objective that compares
        trials it is shown their values among all.
        """
        settings = {
            "search_space": self.distributions,
            "initial": self.initial,
            "seed": self.seed,
            "population_size": self.round_size,
            "particles": self.round_size,
            "min_epochs": self.min_epochs or max(1, self.epochs // self.eta**2),
            "max_epochs": self.epochs,
            "eta": self.eta,
            "criteria": self._criteria,
        }
        sampler = make("searcher", self.searcher, settings)
        if not isinstance(sampler, optuna.samplers.BaseSampler):
            raise ArgumentError("searcher", "a class of Optuna samplers", self.searcher)
        if isinstance(self.objective, RelativeObjective) and not hasattr(sampler, "criteria"):
            return Reranked(sampler, self.objective)
        return sampler

    @property
    def _criteria(self) -> Callable[[History], tuple[float, float]]:
        """What a searcher of two criteria minimizes: the objective's, else validation loss and AGN."""
        agn: Reading = getattr(self.objective, "agn", "exact")
        criteria: Callable[[History], tuple[float, float]] = getattr(
            self.objective, "values", Pareto(agn=agn).values
        )
        return criteria

    def stopping(self) -> optuna.pruners.BasePruner:
        """The pruner as a search asks it: it sees finished rounds, and spares a share of what it gives up."""
        if self._pruner is None:
            return optuna.pruners.NopPruner()
        return ShadowedPruner(EarlierRounds(self._pruner), self._share, self.seed)

    @property
    def _share(self) -> float:
        return _SHADOWS if self.shadows is None else self.shadows

    @cached_property
    def _pruner(self) -> optuna.pruners.BasePruner | None:
        if self.pruner is None:
            return None
        asked = {"signal": self.signal, "false_kills": self.false_kills}
        return named_pruner(self.pruner, self.epochs, asked)

    def splits(self, kind: Literal["search", "full"], device: torch.device) -> Splits:
        """The data on a device: the reduced training set and validation, or the full training set and the
        test set.
        """
        data = open_data(self.data, self.data_root) if isinstance(self.data, str) else self.data
        if kind == "full":
            return full_splits(data, device=device)
        return search_splits(
            data,
            fraction=self.fraction,
            validation_fraction=self.validation_fraction,
            seed=self.seed,
            device=device,
        )

    def build(self, config: Mapping[str, Any], splits: Splits, *, epochs: int, seed: int) -> Training:
        """A training of one configuration."""
        return self._factory(config, splits, epochs=epochs, seed=seed)

    @cached_property
    def _factory(self) -> TrainingFactory:
        if self.training is not None:
            training = self.training
            return import_object("training", training) if isinstance(training, str) else training
        model = self.model

        def build(shape: tuple[int, ...], classes: int, **hyperparameters: Any) -> nn.Module:
            if isinstance(model, str):
                return build_model(model, shape, classes, **hyperparameters)
            assert model is not None
            return model(shape, classes, **hyperparameters)

        return supervised(build, mixed_precision=self.mixed_precision, channels_last=self.channels_last)

    def measures(self, training: Training, splits: Splits) -> list[Measure]:
        """What is measured after each epoch: the objective's measures, the pruner's and those always
        recorded.
        """
        signals = getattr(self._pruner, "measures", ())
        return measures_of(self.objective, signals, training, splits)

    def identity(self) -> dict[str, Any]:
        """What makes two searches the same, as JSON: a study is continued only by the experiment that began
        it.
        """
        return {
            "data": _name(self.data),
            "model": _name(self.model or self.training),
            "space": {name: repr(distribution) for name, distribution in self.distributions.items()},
            "initial": self.initial,
            "objective": repr(self.objective),
            "searcher": self.searcher,
            "pruner": self.pruner,
            "shadows": self._share if self.pruner else None,
            "signal": self.signal,
            "false_kills": self.false_kills,
            **{name: getattr(self, name) for name in _PLAIN},
        }


_SHADOWS = 0.1
_MOST = {"epochs": 2**31 - 1, "round_size": 10_000, "threads": 1_000, "gpus": 1_000}
"""The largest values of what must be positive."""
_PLAIN = (
    "epochs",
    "min_epochs",
    "eta",
    "round_size",
    "fraction",
    "validation_fraction",
    "seed",
    "from_scratch",
    "charge",
    "mixed_precision",
    "channels_last",
    "threads",
    "gpus",
)


def make_objective(name: str, **settings: Any) -> Objective:
    """A registered objective with those settings that are not None.

    Raises:
        UnknownNameError: nothing is registered under the name.
        ArgumentError: the objective has no such setting.
    """
    objective: Objective = make("objective", name, {}, settings)
    if not callable(objective) or not hasattr(objective, "measures"):
        raise ArgumentError("objective", "a class of objectives, with measures", name)
    return objective


def _name(thing: object) -> str:
    if isinstance(thing, str):
        return thing
    if isinstance(thing, DataSet):
        return thing.name
    return f"{getattr(thing, '__module__', '')}:{getattr(thing, '__qualname__', type(thing).__name__)}"
