"""What runs the workers: processes on this machine, or a Ray cluster."""

import os
from functools import partial

import torch

from hpo_gn.crew import run_crew
from hpo_gn.errors import ArgumentError
from hpo_gn.experiment import Experiment
from hpo_gn.gpus import assign, devices, workers_that_fit
from hpo_gn.probe import free_bytes, probe
from hpo_gn.protocol import Engine


def choose_engine(
    experiment: Experiment,
    *,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    device: str = "auto",
    ray: str | None = None,
    gpus_per_trial: float | None = None,
) -> Engine:
    """The engine that a command's options describe; see `search` for them.

    Raises:
        ArgumentError: they contradict each other, or name what is not there.
    """
    given = {"workers": workers, "workers_per_gpu": workers_per_gpu}
    for name, value in given.items():
        if value is not None and value < 1:
            raise ArgumentError(name, "1 or more", value)
    if ray is not None:
        return _on_ray(ray, gpus_per_trial, given)
    if gpus_per_trial is not None:
        raise ArgumentError("gpus_per_trial", "left out, unless the trials run on Ray", gpus_per_trial)
    there = devices(device)
    if workers_per_gpu is None:
        return partial(run_crew, devices=assign(workers or _default_workers(experiment, there), there))
    if workers is not None:
        raise ArgumentError("workers_per_gpu", "left out, where workers is given", workers_per_gpu)
    return partial(run_crew, devices=_fill(experiment, workers_per_gpu, there))


def _on_ray(address: str, gpus_per_trial: float | None, local: dict[str, int | None]) -> Engine:
    for name, value in local.items():
        if value is not None:
            raise ArgumentError(name, "left out, since Ray says how many trials run at once", value)
    from hpo_gn.ray_crew import run_on_ray  # Ray is an extra

    return partial(run_on_ray, address=address, gpus_per_trial=gpus_per_trial or 0.0)


def _fill(experiment: Experiment, asked: int, there: list[torch.device]) -> list[torch.device]:
    """So many workers on each GPU as were asked for and have room beside each other."""
    if there[0].type == "cpu":
        raise ArgumentError("workers_per_gpu", "left out, where there is no GPU", asked)
    needed = probe(experiment, there[0]).memory_bytes
    counts = [workers_that_fit(asked, free_bytes(gpu) or 0, needed or 0) for gpu in there]
    return [gpu for gpu, count in zip(there, counts, strict=True) for _ in range(count)]


def _default_workers(experiment: Experiment, there: list[torch.device]) -> int:
    if there[0].type != "cpu":
        return len(there)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // experiment.threads, experiment.round_size))
