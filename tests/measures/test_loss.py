import pytest
import torch

from hpo_gn.measures import MeanLoss, cross_entropy, measure


@pytest.mark.parametrize(
    ("split", "column"), [("train", "train_loss"), ("validation", "val_loss"), ("test", "test_loss")]
)
def test_it_is_the_mean_over_samples_not_over_batches(split, column, head, samples):
    model = head()
    inputs, targets = samples
    row = measure(model, {split: zip(inputs.split(5), targets.split(5), strict=True)}, [MeanLoss(split)])
    logits = model.eval()(inputs)
    expected = sum(-logits[i].log_softmax(0)[targets[i]].item() for i in range(len(inputs))) / len(inputs)
    assert row == {column: pytest.approx(expected, rel=1e-12)}


def test_it_is_of_the_loss_that_was_given(head, samples):
    def twice(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 2 * cross_entropy(logits, targets)

    mean = MeanLoss("train")
    plain = measure(head(), {"train": [samples]}, [mean])
    double = measure(head(), {"train": [samples]}, [mean], loss=twice)
    assert double["train_loss"] == 2 * plain["train_loss"]
