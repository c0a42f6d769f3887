"""One forward and one backward pass of which every parameter's per-sample gradients are read."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hpo_gn.errors import ModelError
from hpo_gn.measures.gradients.batch_norm import as_affine_maps
from hpo_gn.measures.gradients.gradient import Direct, Gradient, Place, working_dtype
from hpo_gn.measures.gradients.layers import Call
from hpo_gn.measures.gradients.opaque import per_sample_gradients
from hpo_gn.measures.gradients.plan import Unit, Wanted, every, plan, uses_outside, whole
from hpo_gn.measures.gradients.shared import Sum
from hpo_gn.measures.samples import Inputs, call, count

Visit = Callable[[Gradient], None]

_FIRST = 1
"""Samples of a first pass. What then has more rows than one has not a row a sample."""
_KEPT = 2**26
"""Bytes of layers' inputs that a pass may keep."""


class Backpropagation:
    """Reads per-sample gradients of all parameters off one forward and one backward pass.

    The backward pass propagates δ, the gradients with respect to the layers' outputs, and stops at them:
    autograd computes no parameter's gradient. A layer's input and δ give its parameters' gradients in the
    cheapest form there is (`Gradient`), which is visited and dropped while the pass goes on.

    Layers without such a form, and all that is inside them, are left to `torch.func`; so is as a whole a
    model that uses a parameter outside of its layer's own call. A parameter that is used more than once is
    visited when all its uses are known. Parameters that do not require gradients are passed over; one that
    the loss does not depend on has zeros.

    Args:
        model: in the mode that it is to be measured in.
        wanted: (layer, parameter's name in it) → whether it is visited.

    Raises:
        ModelError: no wanted parameter requires gradients.
    """

    def __init__(self, model: nn.Module, wanted: Wanted = every) -> None:
        self._model = model
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._units = plan(model, wanted)
        self._hooks = ExitStack()
        self._checked = self._recording = False
        self._records: list[_Record] = []
        self._uses: Counter[int] = Counter()
        self._anchor = torch.zeros((), device=next(model.parameters()).device, requires_grad=True)
        self._batch = 0
        self._kept: int | None = None
        self._own: dict[tuple[int, int], list[bool]] = {}
        self._sweep: _Sweep | None = None

    @property
    def samples_at_once(self) -> int:
        """How many samples a pass should be of: few until one pass has shown what it keeps of each."""
        return _FIRST if self._kept is None else max(1, _KEPT // max(1, self._kept))

    @contextmanager
    def attached(self) -> Iterator["Backpropagation"]:
        """Read inside this context; the hooks come off whatever happens."""
        self._attach()
        try:
            yield self
        finally:
            self._hooks.close()
            self._records.clear()

    def _attach(self) -> None:
        for unit in self._units:
            handle = unit.module.register_forward_hook(partial(self._record, unit), with_kwargs=True)
            self._hooks.callback(handle.remove)

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits [B, C]. Gradients are recorded from here on, until the caller turns that off.

        Raises:
            ModelError: a layer does not keep one row a sample.
        """
        self._records.clear()
        self._batch = count(inputs)
        torch.set_grad_enabled(True)
        self._recording = True
        try:
            with as_affine_maps(self._model):
                logits = call(self._model, inputs)
        finally:
            self._recording = False
        self._kept = sum(record.bytes for record in self._records) // max(1, self._batch)
        self._uses = Counter(id(each) for record in self._records for each in record.unit.parameters.values())
        if not self._checked:
            if not logits.requires_grad:
                raise ModelError(
                    "the model's output must be differentiable, got one that requires no gradients"
                )
            self._checked = True
            if self._misses_a_use(logits):
                self._hooks.close()
                self._units = whole(self._model, self._units)
                self._attach()
                return self.forward(inputs)
        return logits

    def _misses_a_use(self, logits: Tensor) -> bool:
        """Whether some layer's call does not show all that becomes of its parameters."""
        formed = {id(each) for unit in self._units if unit.has_form for each in unit.parameters.values()}
        opaque = [id(each) for unit in self._units if not unit.has_form for each in unit.parameters.values()]
        if len(set(opaque)) < len(opaque) or any(key in formed or self._uses[key] > 1 for key in opaque):
            return True
        calls = {node: record.tensors for record in self._records for node in record.nodes}
        return any(id(each) in formed or id(each) in opaque for each in uses_outside(logits, calls))

    def _record(
        self, unit: Unit, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        """Note a call of a unit, and tap what it returns."""
        if not (self._recording and torch.is_grad_enabled()):  # its author may keep a call out of training
            return output
        record = _Record(unit, args, kwargs)
        if not unit.has_form:
            record.own = self._rows(record)
        self._records.append(record)
        if isinstance(output, Tensor):  # nearly always, and walking a tree takes as long as a small layer
            return self._tap(record, output)
        return pytree.tree_map(partial(self._tap, record), output)

    def _rows(self, record: "_Record") -> list[bool]:
        """Of each leaf of a call's arguments, whether it has a row a sample."""
        call = id(record.unit), sum(each.unit is record.unit for each in self._records)
        rows = [
            isinstance(leaf, Tensor) and leaf.dim() > 0 and len(leaf) == self._batch
            for leaf in pytree.tree_leaves((record.args, record.kwargs))
        ]
        if self._batch == 1:
            self._own.setdefault(call, rows)
        known = self._own.get(call, rows)
        return [now and before for now, before in zip(rows, known, strict=True)]

    def _tap(self, record: "_Record", output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        if isinstance(record.unit.module, nn.RNNBase) and record.deltas:  # states, [layers, B, …]
            tapped: Tensor = self._tap_rows(record, output.transpose(0, 1)).transpose(0, 1)
            return tapped
        return self._tap_rows(record, output)

    def _tap_rows(self, record: "_Record", output: Tensor) -> Any:
        if output.shape[:1] == (1,):  # the same for all samples, as of positions
            output = output.expand(self._batch, *output.shape[1:])
        if output.shape[:1] != (self._batch,):
            raise ModelError(
                f"layer {record.unit.name!r} must keep one row a sample, [{self._batch}, …], "
                f"got {list(output.shape)}"
            )
        if not record.unit.has_form or output._is_view() or output.is_leaf:
            # Autograd lets nobody write over these, and models do; or others may still need it as it is.
            output = output.clone()
        place = len(record.deltas)
        record.deltas.append(None)
        tapped = _Tap.apply(  # type: ignore[no-untyped-call]  # torch's
            output, self._anchor, partial(self._receive, record, place)
        )
        record.nodes.append(tapped.grad_fn)
        return tapped

    def _receive(self, record: "_Record", place: int, delta: Tensor) -> None:
        record.deltas[place] = delta
        if record.unit.has_form and self._sweep is not None:
            with _as_it_is(delta):
                self._sweep.settle(record)
            record.drop()

    def backward(self, losses: Tensor, visit: Visit) -> None:
        """Propagate the summed losses [B] back and visit the gradients of every wanted parameter."""
        self._sweep = _Sweep(self._names, self._uses, self._batch, visit)
        if losses.requires_grad:
            with as_affine_maps(self._model):  # for what is computed again there
                torch.autograd.grad(losses, self._anchor, torch.ones_like(losses), allow_unused=True)
        with torch.no_grad(), _as_it_is(losses):
            self._sweep.finish(self._units, self._records)
        self._records.clear()
        self._sweep = None


class _Record:
    """One call of a unit, and the gradients that come back to the tensors it returned."""

    def __init__(self, unit: Unit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.unit, self.args, self.kwargs = unit, args, kwargs
        self.deltas: list[Tensor | None] = []
        self.nodes: list[Any] = []
        self.own: list[bool] = []
        self.autocast = {
            kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
            for kind in ("cpu", "cuda")
        }
        leaves = args if unit.has_form and not kwargs else pytree.tree_leaves((args, kwargs))
        self._versions = [(leaf, leaf._version) for leaf in leaves if isinstance(leaf, Tensor)]

    @property
    def tensors(self) -> list[Tensor]:
        """The inputs."""
        return [tensor for tensor, _ in self._versions]

    @property
    def bytes(self) -> int:
        """What is kept of the inputs."""
        return sum(tensor.nbytes for tensor, _ in self._versions)

    def call(self) -> Call:
        """What a layer that has a form did.

        Raises:
            ModelError: its input was written over since.
        """
        self.check()
        (delta,) = self.deltas
        assert delta is not None
        inputs = self.tensors[0]
        if len(inputs) == 1:  # the same for all samples
            inputs = inputs.expand(len(delta), *inputs.shape[1:])
        return Call(self.unit.module, inputs, delta)

    def drop(self) -> None:
        """Let go of what it holds."""
        self.args, self.kwargs = (), {}
        self.deltas, self.nodes, self._versions = [], [], []

    def check(self) -> None:
        """Refuse inputs that are no longer what the layer saw."""
        if any(tensor._version != version for tensor, version in self._versions):
            raise ModelError(
                f"layer {self.unit.name!r}: its input was changed in place after the layer used it"
            )


class _Sweep:
    """One backward pass: what is visited at once, and what waits for its end."""

    def __init__(self, names: dict[int, str], uses: Counter[int], batch: int, visit: Visit) -> None:
        self._names, self._uses, self._batch, self._visit = names, uses, batch, visit
        self._waiting: dict[int, list[Gradient]] = defaultdict(list)
        self._visited: set[int] = set()

    def _place(self, parameter: nn.Parameter, samples: slice | None = None) -> Place:
        return Place(self._names[id(parameter)], parameter, samples or slice(0, self._batch), self._batch)

    def _show(self, gradient: Gradient) -> None:
        self._visited.add(id(gradient.place.parameter))
        self._visit(gradient)

    def settle(self, record: _Record) -> None:
        """Visit the parameters of a layer that has a form, save those that have other uses."""
        done = record.call()
        for kind, parameter in record.unit.parameters.items():
            gradient = done.gradient(kind, self._place(parameter))
            if self._uses[id(parameter)] == 1:
                self._show(gradient)
            else:
                self._waiting[id(parameter)].append(gradient)

    def finish(self, units: list[Unit], records: list[_Record]) -> None:
        """Visit what is left."""
        for gradients in self._waiting.values():
            self._show(Sum(gradients[0].place, gradients))
        for record in records:
            if not record.unit.has_form and any(delta is not None for delta in record.deltas):
                self._settle_opaque(record)
        for unit in units:
            for parameter in unit.parameters.values():
                if id(parameter) not in self._visited:
                    zero = torch.zeros((), dtype=working_dtype(parameter.dtype), device=parameter.device)
                    self._show(Direct(self._place(parameter), zero.expand(self._batch, *parameter.shape)))

    def _settle_opaque(self, record: _Record) -> None:
        record.check()
        parameters, inputs = record.unit.parameters, (record.args, record.kwargs)
        parts = per_sample_gradients(
            record.unit.module, parameters, inputs, record.own, record.deltas, self._batch
        )
        while True:
            with ExitStack() as stack:
                for kind, (enabled, dtype) in record.autocast.items():
                    if enabled:
                        stack.enter_context(torch.autocast(kind, dtype, cache_enabled=False))
                part = next(parts, None)
            if part is None:
                return
            samples, gradients = part
            for name, parameter in parameters.items():
                self._show(Direct(self._place(parameter, samples), gradients[name]))


def _as_it_is(tensor: Tensor) -> AbstractContextManager[object]:
    """No autocast inside, which would round what is added up; nothing to enter where there is none."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


class _Tap(torch.autograd.Function):
    """The identity, in place; its backward pass hands δ on and shows it.

    The anchor requires gradients, so that asking for the anchor's runs every tap, and no more than leads to
    one.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, _anchor: Tensor, receive: Callable[[Tensor], None]) -> Tensor:
        ctx.receive = receive
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None, None]:
        ctx.receive(delta)
        return delta, None, None
