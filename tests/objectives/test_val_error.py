from hpo_gn.history import History
from hpo_gn.measures import Accuracy
from hpo_gn.objectives import ValError


def test_it_is_one_minus_the_validation_accuracy_at_the_last_epoch():
    assert ValError().measures == (Accuracy("validation"),)
    assert ValError()(History([{"val_accuracy": 0.9}, {"val_accuracy": 0.75}])) == 0.25
