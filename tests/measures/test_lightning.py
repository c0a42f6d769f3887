"""Measuring a PyTorch Lightning module, also from within its own training."""

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hpo_gn.measures import AGN, GN, GSNR, MeanLoss, cross_entropy, measure

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Lightning's own, of what it imports
    lightning = pytest.importorskip("lightning")

MEASURES = [AGN(), GN(), GSNR(), MeanLoss("train")]


def build(samples: tuple[Tensor, Tensor]) -> nn.Module:
    """A classifier as its users write it, which measures itself in each validation epoch."""

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)
            )
            self.rows: list[dict[str, float]] = []

        def forward(self, inputs: Tensor) -> Tensor:
            logits: Tensor = self.net(inputs)
            return logits

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return cross_entropy(self(batch[0]), batch[1]).mean()

        def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
            self.log("val_loss", cross_entropy(self(batch[0]), batch[1]).mean())

        def on_validation_epoch_end(self) -> None:
            self.rows.append(measure(self, samples, MEASURES))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    return Classifier().double()


def test_a_module_is_measured_as_any_other(samples, gradients_twin):
    model = build(samples)
    model(samples[0])  # statistics of its own
    batches = list(zip(samples[0].split(5), samples[1].split(5), strict=True))
    row = measure(model, batches, MEASURES)
    twin = gradients_twin(model.eval(), *samples)
    squares = {name: each.square().sum().item() / 13 for name, each in twin.items()}
    assert row["gn"] == pytest.approx(sum(squares.values()), rel=1e-9, abs=0)
    assert row["agn"] == pytest.approx(squares["net.4.weight"] + squares["net.4.bias"], rel=1e-9, abs=0)
    flat = torch.cat([each.flatten(1) for each in twin.values()], dim=1)
    mean, variance = flat.mean(dim=0), flat.var(dim=0, correction=0)
    ratios = mean[variance > 0].square() / variance[variance > 0]
    assert row["gsnr"] == pytest.approx(ratios.mean().item(), rel=1e-9, abs=0)
    loss = cross_entropy(model(samples[0]), samples[1]).mean().item()
    assert row["train_loss"] == pytest.approx(loss, rel=1e-9, abs=0)


@pytest.mark.filterwarnings("ignore")  # Lightning's own: loaders without workers, and more
def test_it_may_measure_itself_in_its_validation_loop(samples, tmp_path):
    model = build(samples)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    loader = DataLoader(TensorDataset(*samples), batch_size=5)
    trainer.fit(model, loader, loader)
    assert len(model.rows) == 2
    assert model.training
    trainer.validate(model, loader, verbose=False)  # which runs in inference mode
    assert model.rows[0]["gn"] != model.rows[1]["gn"]
    assert model.rows[1] == model.rows[2] == measure(model, samples, MEASURES)
