from hpo_gn.history import History
from hpo_gn.measures import MeanLoss
from hpo_gn.objectives import ValLoss


def test_it_is_the_validation_loss_at_the_last_epoch():
    assert ValLoss().measures == (MeanLoss("validation"),)
    assert ValLoss()(History([{"val_loss": 0.1}, {"val_loss": 0.7}])) == 0.7
