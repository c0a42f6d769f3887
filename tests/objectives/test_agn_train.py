from hpo_gn.history import History
from hpo_gn.measures import AGN, MeanLoss
from hpo_gn.objectives import AgnTrain


def test_it_needs_agn_and_the_training_loss_alone():
    assert AgnTrain().measures == (AGN(), MeanLoss("train"))
    assert AgnTrain(0.5)(History([{"agn": 2.0, "train_loss": 0.25}])) == 1.25
