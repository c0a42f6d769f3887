"""The errors that a user's mistake can raise.

HpoGnError                  everything below, and nothing else
├── ArgumentError           a value that breaks the rule for its name; also a ValueError
├── UnknownNameError        a name that nothing is registered under; also a LookupError
├── SpaceError              a search space that cannot be used; also a ValueError
├── SpecError               a comparison's specification that cannot be run; also a ValueError
├── DataError               data that are missing, damaged, or not the study's
├── ModelError              a model that a measure or a checkpoint does not fit
│   └── NonFiniteError          NaN or infinity where a measure cannot give a number
├── CheckpointError         a checkpoint that is damaged or of another model
├── StorageError            a storage that cannot be opened
├── StudyError              a study that was made with other settings
└── BudgetError             a ledger's refusal
    ├── BudgetExhaustedError    the account has not that many epochs left
    ├── AlreadyHeldError        the trial has an open hold
    └── HoldClosedError         the hold was settled, or its lease lapsed

A message names the thing, the rule and the value: "batch_size must be an integer from 1 to 1000, got 0".
"""

import difflib
from collections.abc import Iterable


class HpoGnError(Exception):
    """Base of every error a user's mistake can raise."""


class ArgumentError(HpoGnError, ValueError):
    """`<name> must be <rule>, got <value>`.

    Args:
        name: the argument's name as the user wrote it.
        rule: what it must be.
        value: what it was.
    """

    def __init__(self, name: str, rule: str, value: object) -> None:
        super().__init__(f"{name} must be {rule}, got {value!r}")


class UnknownNameError(HpoGnError, LookupError):
    """A name that nothing is registered under, with the nearest known one.

    Args:
        kind: what the name is of, e.g. "searcher".
        name: what was asked for.
        known: every name there is.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        super().__init__(f"no {kind} is called {name!r}; {hint}")


class SpaceError(HpoGnError, ValueError):
    """A search space that cannot be used."""


class SpecError(HpoGnError, ValueError):
    """A comparison's specification that cannot be run, with its file."""


class DataError(HpoGnError):
    """Data that are missing, damaged, or not the study's."""


class ModelError(HpoGnError):
    """A model that a measure or a training cannot be applied to."""


class NonFiniteError(ModelError):
    """NaN or infinity in a model, where a measure cannot give a number: the training diverged."""


class CheckpointError(HpoGnError):
    """A checkpoint that is damaged or of another model."""


class StorageError(HpoGnError):
    """A storage that cannot be opened."""


class StudyError(HpoGnError):
    """A study that was made with other settings."""


class BudgetError(HpoGnError):
    """A ledger's refusal."""


class BudgetExhaustedError(BudgetError):
    """The account has not that many epochs left."""


class AlreadyHeldError(BudgetError):
    """The trial has an open hold, so another worker runs it."""


class HoldClosedError(BudgetError):
    """The hold was settled or its lease lapsed: nothing can be charged or reported to it."""
