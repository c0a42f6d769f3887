"""Leaving a model and the process as they were found."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are; the CPU for a model without any."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@contextmanager
def modes_as_found(model: nn.Module) -> Iterator[None]:
    """Outside, each module is in training or evaluation mode as before."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def buffers_as_found(model: nn.Module) -> Iterator[None]:
    """Outside, buffers hold what they held before, also of a model that changes some in evaluation mode."""
    before = [(module, dict(module._buffers)) for module in model.modules() if module._buffers]
    tensors = {id(each): each for _, buffers in before for each in buffers.values() if each is not None}
    copies = [(each, each._version, each.detach().clone()) for each in tensors.values()]
    try:
        yield
    finally:
        for module, buffers in before:
            module._buffers.update(buffers)
        with torch.no_grad():
            for each, version, copy in copies:
                if each._version != version:
                    each.copy_(copy)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; outside, each module's mode, its buffers and the global
    random states are as before.
    """
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()
    with (
        modes_as_found(model),
        buffers_as_found(model),
        torch.random.fork_rng(devices=list(devices)),
        torch.inference_mode(False),
        torch.no_grad(),
    ):
        model.eval()
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
