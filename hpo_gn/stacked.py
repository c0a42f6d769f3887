"""Many small networks of one architecture trained at once on the same batches, with `torch.func`.

A small network leaves a GPU idle, and a stack of K gives each kernel K times the work. One CPU core gains
where calls outweigh products, by 2 for perceptrons of 50,000 parameters, and nothing from 100,000 on; see
`benchmarks.give_up.stacked_speed`.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from hpo_gn.data import Split as Samples
from hpo_gn.errors import ArgumentError, NonFiniteError
from hpo_gn.measures import Loss, Measure, cross_entropy, measure
from hpo_gn.measures.batch import Split
from hpo_gn.measures.row import Row
from hpo_gn.seeds import derive_seed


class StackedTraining:
    """Trains each of K models as it would be trained alone with the same batches; one that diverges does not
    disturb the others.

    Every random order is a function of the seed and the epoch. Dropout draws differ between models.

    Args:
        models: K of one architecture; their weights are copied to the data's device.
        data: the training split.
        batch_size: samples a step; the last batch may be smaller.
        optimizer: stacked parameters, [K, …] each → an optimizer that treats each number by itself, like
            `partial(torch.optim.Adam, lr=1e-4)`, RMSprop or SGD, and unlike LBFGS.
        seed: of the order of the samples.
        loss: the loss of each sample, (logits, targets) → [B].

    Raises:
        ArgumentError: no models, models whose classes or parameters' names or shapes differ, or a batch size
            below 1.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        data: Samples,
        *,
        batch_size: int,
        optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer],
        seed: int = 0,
        loss: Loss = cross_entropy,
    ) -> None:
        _check_alike(models)
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ArgumentError("batch_size", "a positive integer", batch_size)
        self._skeleton = copy.deepcopy(models[0]).train().to(data.inputs.device)
        own = [copy.deepcopy(model).train().to(data.inputs.device) for model in models]
        self.parameters, self.buffers = stack_module_state(own)
        self.optimizer = optimizer(self.parameters.values())
        self.epoch = 0
        self._count, self._data, self._batch_size, self._seed = len(models), data, batch_size, seed
        self._loss = loss
        self._losses = vmap(self._mean_loss, in_dims=(0, 0, None, None), randomness="different")

    def __len__(self) -> int:
        return self._count

    def run_epoch(self) -> Tensor:
        """Train all for one epoch, each sample once; each model's mean loss over the steps, float64 [K]."""
        order = torch.randperm(
            len(self._data), generator=torch.Generator().manual_seed(derive_seed(self._seed, self.epoch, 0))
        )
        total = torch.zeros(len(self), dtype=torch.float64, device=self._data.inputs.device)
        for index in torch.split(order.to(total.device), self._batch_size):
            self.optimizer.zero_grad(set_to_none=True)
            losses = self._losses(self.parameters, self.buffers, *self._data.batch(index))
            # Each model's gradient of the sum is that of its own loss.
            losses.sum().backward()  # type: ignore[no-untyped-call]  # torch's
            self.optimizer.step()
            total += losses.detach() * len(index)
        self.epoch += 1
        return total / len(self._data)

    def _mean_loss(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> Tensor:
        logits = functional_call(self._skeleton, (parameters, buffers), (inputs,))
        return self._loss(logits, targets).mean()

    def state_dict(self, number: int) -> dict[str, Tensor]:
        """A copy of one model's state.

        Args:
            number: which, from 0.

        Raises:
            ArgumentError: there is no such model.
        """
        if not 0 <= number < len(self):
            raise ArgumentError("number", f"an integer from 0 to {len(self) - 1}", number)
        stacked = {**self.parameters, **self.buffers}
        return {name: tensor[number].detach().clone() for name, tensor in stacked.items()}

    def model(self, number: int) -> nn.Module:
        """A copy of one model, in training mode; see `state_dict`."""
        model = copy.deepcopy(self._skeleton)
        # strict=False: what the state lacks is not persistent, or another name of what it has.
        model.load_state_dict(self.state_dict(number), strict=False)
        return model

    def measure(
        self, data: Mapping[Split, tuple[Tensor, Tensor]], measures: Sequence[Measure]
    ) -> list[Row | None]:
        """Each model's row of measures with this training's loss, one model after the other; None for a model
        that diverged. See `hpo_gn.measures.measure` for the arguments and what it raises.
        """
        rows: list[Row | None] = []
        for number in range(len(self)):
            try:
                rows.append(measure(self.model(number), data, measures, loss=self._loss))
            except NonFiniteError:
                rows.append(None)
        return rows


def _check_alike(models: Sequence[nn.Module]) -> None:
    if not models:
        raise ArgumentError("models", "at least one model", models)
    first, *others = ((type(model), _shapes(model)) for model in models)
    for number, other in enumerate(others, 1):
        if other != first:
            rule = "of one architecture"
            raise ArgumentError("models", rule, f"model {number}, which differs from model 0")


def _shapes(model: nn.Module) -> dict[str, object]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()}
