import torch
from sklearn.datasets import load_digits

from hpo_gn.data.digits import digits


def test_the_splits_are_scikit_learns_images_cut_once():
    train, test = digits().read("train"), digits().read("test")
    assert (len(train[0]), len(test[0])) == (1437, 360)
    images = torch.cat([train[0], test[0]])
    assert images.dtype == torch.uint8
    assert images.shape == (1797, 1, 8, 8)
    assert (images[:, 0].double().numpy() == load_digits().images * 15).all()
    assert (torch.cat([train[1], test[1]]).numpy() == load_digits().target).all()


def test_every_digit_is_in_both_splits():
    for split in ("train", "test"):
        assert digits().read(split)[1].bincount(minlength=10).min() > 30
