from hpo_gn.history import History
from hpo_gn.measures import AGN, MeanLoss
from hpo_gn.objectives import AgnVal


def test_it_needs_agn_and_the_validation_loss_alone():
    assert AgnVal().measures == (AGN(), MeanLoss("validation"))
    assert AgnVal(0.5)(History([{"agn": 2.0, "val_loss": 0.25}])) == 1.25
