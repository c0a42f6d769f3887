"""What a trial's sampler or the search assigned it, as user attributes: its round, and its epochs."""

from dataclasses import dataclass

from optuna.trial import FrozenTrial, Trial

EPOCHS = "hpo_gn:epochs"
"""The user attribute that holds a trial's epochs, an integer."""

ROUND = "hpo_gn:round"
"""The user attribute that holds the round it was proposed in, from 1; written last, when it is complete."""

CONTINUES = "hpo_gn:continues"
"""The user attribute that holds the number of the trial that ran the same configuration for fewer epochs."""


@dataclass(frozen=True)
class Assignment:
    """What a trial is to train.

    Args:
        epochs: for how many epochs in all, those of the trial that it continues included.
        continues: the number of the trial whose configuration it takes and whose checkpoint it can use.
    """

    epochs: int
    continues: int | None = None


def epochs_of(trial: Trial | FrozenTrial, default: int) -> int:
    """The epochs assigned to a trial, or the default where nothing assigned any."""
    return int(trial.user_attrs.get(EPOCHS, default))


def continues(trial: Trial | FrozenTrial) -> int | None:
    """The number of the trial that this one continues, or None if it starts from scratch."""
    number = trial.user_attrs.get(CONTINUES)
    return None if number is None else int(number)


def format_epochs(epochs: float) -> str:
    """A number of (GPU×)epochs as text: whole ones without a point."""
    return str(int(epochs)) if epochs == int(epochs) else f"{epochs:.1f}"
