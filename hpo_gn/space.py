"""Search spaces: ConfigSpace, in which people state them, and Optuna's distributions, which samplers read.

A space file is ConfigSpace's own format, in YAML or JSON, for instance::

    hyperparameters:
      - {name: learning_rate, type: uniform_float, lower: 1e-5, upper: 0.5, log: true, default_value: 0.01}
      - {name: batch_size, type: uniform_int, lower: 32, upper: 512, default_value: 128, meta: {step: 32}}
      - {name: optimizer, type: categorical, choices: [sgd, adam], default_value: sgd}
      - {name: depth, type: ordinal, sequence: [1, 2, 4]}
      - {name: momentum, type: constant, value: 0.9}

The defaults are the settings that a search starts from. ConfigSpace has no steps: a uniform hyperparameter's
`meta: {step: …}` carries Optuna's.
"""

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, cast

from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.hyperparameters import Hyperparameter
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo_gn.errors import SpaceError
from hpo_gn.space_file import checked, read_document


def paper_space() -> ConfigurationSpace:
    """The space of the AGN paper (`agn.txt`, search protocol), whose defaults are its initial settings.

    Batch size, learning rate and weight decay are on a log scale, which the paper leaves open.
    """
    space = ConfigurationSpace(name="paper")
    space.add(
        UniformIntegerHyperparameter("batch_size", 32, 1000, default_value=100, log=True),
        UniformFloatHyperparameter("learning_rate", 1e-7, 0.5, default_value=0.01, log=True),
        UniformFloatHyperparameter("momentum", 0.0, 0.99, default_value=0.6),
        UniformFloatHyperparameter("weight_decay", 5e-7, 0.05, default_value=0.0005, log=True),
    )
    return space


def load_space(path: str | Path) -> ConfigurationSpace:
    """The space of a YAML or JSON file in ConfigSpace's format; YAML is read by the rules of YAML 1.2.

    Args:
        path: the file; JSON if its name ends so, else YAML.

    Raises:
        SpaceError: the file cannot be read, has wrong syntax or a key twice, or states no hyperparameter, a
            field that is unknown, missing or of the wrong type, an impossible range or default, or anything
            Optuna has no distribution for. The message names the file and the hyperparameter.
    """
    try:
        space = ConfigurationSpace.from_serialized_dict(checked(read_document(Path(path))))
        to_distributions(space)
    except (SpaceError, ValueError, TypeError) as error:
        raise SpaceError(f"{path}: {error}" + (f": {error.__cause__}" if error.__cause__ else "")) from None
    return space


def initial_settings(space: ConfigurationSpace) -> dict[str, Any]:
    """The settings that a search of the space starts from: its hyperparameters' defaults, as plain values.

    ConfigSpace's default is the middle of a range where none is given; it is moved onto the steps.
    """
    return {name: _default(hyperparameter) for name, hyperparameter in space.items()}


def to_distributions(space: ConfigurationSpace) -> dict[str, BaseDistribution]:
    """Optuna's distributions of a space, by name.

    An ordinal hyperparameter becomes a categorical distribution and a constant one with a single choice.

    Raises:
        SpaceError: the space is empty, has conditions or forbidden clauses, or a hyperparameter that Optuna
            has no distribution for (normal, beta, weighted choices).
    """
    if not len(space):
        raise SpaceError("a search space must have at least one hyperparameter")
    if space.conditions or space.forbidden_clauses:
        raise SpaceError("conditions and forbidden clauses are not supported in a search space")
    return {name: _distribution(hyperparameter) for name, hyperparameter in space.items()}


def to_configspace(distributions: Mapping[str, BaseDistribution]) -> ConfigurationSpace:
    """The ConfigSpace of Optuna's distributions; `to_distributions` takes it back.

    A distribution with a single value becomes a constant; categories keep their order and their objects.

    Raises:
        SpaceError: ConfigSpace cannot hold a distribution: bounds that need more than 13 decimals, or choices
            that are equal in Python (`1` and `True`).
    """
    space = ConfigurationSpace()
    space.add(*(_hyperparameter(name, distribution) for name, distribution in distributions.items()))
    return space


def space_to_json(space: ConfigurationSpace) -> str:
    """The space as one line of JSON in ConfigSpace's format; equal spaces give equal strings."""
    serialized = space.to_serialized_dict()
    # ConfigSpace's version would make one space differ from itself after an upgrade.
    del serialized["python_module_version"]
    return json.dumps(serialized, sort_keys=True)


def space_from_json(text: str) -> ConfigurationSpace:
    """The space that `space_to_json` wrote."""
    return ConfigurationSpace.from_serialized_dict(json.loads(text))


def single_value(distribution: BaseDistribution) -> Any:
    """The only value of a distribution for which `distribution.single()` holds."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return cast(FloatDistribution | IntDistribution, distribution).low


def _distribution(hyperparameter: Hyperparameter[Any, Any]) -> BaseDistribution:
    match hyperparameter:
        case UniformFloatHyperparameter(lower=low, upper=high, log=log):
            return FloatDistribution(low, high, log=log, step=_step(hyperparameter))
        case UniformIntegerHyperparameter(lower=low, upper=high, log=log):
            return IntDistribution(low, high, log=log, step=_step(hyperparameter) or 1)
        case CategoricalHyperparameter(choices=choices, weights=None):
            return CategoricalDistribution(choices)
        case OrdinalHyperparameter(sequence=sequence):
            return CategoricalDistribution(sequence)
        case Constant(value=value):
            return CategoricalDistribution([value])
    kind = type(hyperparameter).__name__
    raise SpaceError(f"{hyperparameter.name}: {kind} is not supported, unless uniform and without weights")


def _default(hyperparameter: Hyperparameter[Any, Any]) -> Any:
    step = _step(hyperparameter)
    if step is None:
        return hyperparameter.default_value
    low = cast(UniformFloatHyperparameter | UniformIntegerHyperparameter, hyperparameter).lower
    # Twelve digits: 0.1 + 2 * 0.1 is 0.30000000000000004.
    return round(low + round((hyperparameter.default_value - low) / step) * step, 12)


def _step(hyperparameter: Hyperparameter[Any, Any]) -> Any:
    return (hyperparameter.meta or {}).get("step")


def _meta(step: float | None) -> dict[Hashable, Any] | None:
    return None if step is None else {"step": step}


def _hyperparameter(name: str, distribution: BaseDistribution) -> Hyperparameter[Any, Any]:
    if distribution.single():
        return Constant(name, single_value(distribution))
    try:
        match distribution:
            case FloatDistribution(low=low, high=high, log=log, step=step):
                made = UniformFloatHyperparameter(name, low, high, log=log, meta=_meta(step))
            case IntDistribution(low=low, high=high, log=log, step=step):
                meta = _meta(step if step > 1 else None)
                return UniformIntegerHyperparameter(name, low, high, log=log, meta=meta)
            case CategoricalDistribution(choices=choices):
                return CategoricalHyperparameter(name, choices)
            case _:
                raise SpaceError(f"{name}: {distribution!r} is not supported")
    except ValueError as error:
        raise SpaceError(
            f"{name}: ConfigSpace cannot hold {distribution}: {error.__cause__ or error}"
        ) from None
    if (made.lower, made.upper) != (low, high):
        raise SpaceError(f"{name}: ConfigSpace keeps 13 decimals of the bounds {low!r} and {high!r}")
    return made
