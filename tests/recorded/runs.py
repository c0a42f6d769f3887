"""Recorded runs made by hand."""

from optuna.distributions import FloatDistribution, IntDistribution, distribution_to_json

from hpo_gn.history import History
from hpo_gn.measures import Cost, Row
from hpo_gn.recorded import RecordedRun, RecordedTable

EPOCHS = 4
COSTS = {"validation": Cost(0.5, 1, 0), "val_loss": Cost(0.125, 0, 0), "train": Cost(2.0, 1, 0)} | {
    "agn": Cost(0.25, 0, 0)
}
SPACE = {"learning_rate": FloatDistribution(1e-4, 1.0, log=True), "batch_size": IntDistribution(1, 64)}


def a_row(loss, **others):
    columns = {"val_loss": loss, "val_accuracy": 1 - loss / 8, "agn": 10 * loss, "train_majority": 0.25}
    return Row(columns | others, COSTS)


def a_run(number, *losses, learning_rate=1e-2, batch_size=32, reason=None, epochs=None, **others):
    """A run with these validation losses; training took two seconds an epoch."""
    history = History([a_row(loss) for loss in losses])
    params = {"learning_rate": learning_rate, "batch_size": batch_size}
    took = {"training_s": 2.0 * len(losses), "measuring_s": 1.0 * len(losses)}
    return RecordedRun(number, params, history, epochs or len(losses), reason, **took | others)


def a_table(*runs, space=SPACE, epochs=EPOCHS, **experiment):
    header = {
        "format": "hpo_gn recorded runs 1",
        "command": "hpo-gn search",
        "experiment": {"epochs": epochs} | experiment,
        "fingerprint": "f",
        "space": {name: distribution_to_json(each) for name, each in space.items()},
    }
    return RecordedTable(header, runs)
