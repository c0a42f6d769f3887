"""Searches, watched: interrupted, their databases and files filled with pickles that go off, resumed and
looked at. To be run in a process and a folder of its own.
"""

import contextlib
import io
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from hpo_gn.checkpoint_format import _head
from hpo_gn.cli import app

OWN = """
from pathlib import Path
from hpo_gn.models import build_model
from hpo_gn.training import supervised

def build(config, splits, *, epochs, seed):
    made = supervised(lambda shape, classes: build_model("mlp", shape, classes))(
        config, splits, epochs=epochs, seed=seed
    )
    run = made.run_epoch
    def run_epoch():
        if made.epoch == 1 and Path("stop").exists():
            Path("stop").unlink()
            raise KeyboardInterrupt
        run()
    made.run_epoch = run_epoch
    return made
"""
SEARCHERS = ("cma-es", "bohb", "particle-swarm")
WENT_OFF = Path("went-off")
events: list[str] = []


class Bomb:
    """Leaves a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (WENT_OFF,)


def watch() -> None:
    """Note every class that an unpickler of Python's looks up, and every call of pickle's functions."""

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "pickle.find_class":
            events.append(f"{name} {arguments}")

    sys.addaudithook(hook)
    for name in ("load", "loads"):
        setattr(pickle, name, noting(name, getattr(pickle, name)))


def noting(name: str, called: Any) -> Any:
    """A function that says that it was called."""

    def call(*arguments: Any, **options: Any) -> Any:
        events.append(f"pickle.{name} from {sys._getframe(1).f_code.co_filename}")
        return called(*arguments, **options)

    return call


def hpo_gn(*arguments: str) -> int:
    """The command's exit code."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            app(list(arguments))
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def bombs() -> list[bytes]:
    """A bomb as it is, as torch saves it, and as torch saves it under our checksum."""
    saved = io.BytesIO()
    torch.save({"epoch": 1, "state": {"bomb": Bomb()}}, saved)
    contents = memoryview(saved.getvalue())
    return [pickle.dumps(Bomb()), saved.getvalue(), _head(contents) + contents]


def plant(folder: Path, bomb: bytes) -> int:
    """Put a bomb in place of every checkpoint and into the study's and its trials' attributes; how many."""
    files = list((folder / "checkpoints").rglob("epoch-*.pt"))
    for path in files:
        path.write_bytes(bomb)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{folder}/study.db")
    storage, text = study._storage, bomb.hex()
    study.set_user_attr("cma:optimizer:0", text)
    storage.set_study_system_attr(study._study_id, "cma:optimizer:0", text)
    for trial in study.get_trials(deepcopy=False):
        if not trial.state.is_finished():
            storage.set_trial_user_attr(trial._trial_id, "cma:optimizer:0", text)
            storage.set_trial_system_attr(trial._trial_id, "cma:optimizer:0", text)
    storage.remove_session()
    return len(files)


def search(searcher: str, bomb: bytes) -> dict[str, Any]:
    """A search that is interrupted, bombed and resumed."""
    folder = Path("runs") / searcher
    small = ("--budget", "24", "--epochs", "4", "--round-size", "4", "--seeds", "1", "--workers", "1")
    where = ("--study", "s", "--output", str(folder), "--device", "cpu", "--searcher", searcher)
    command = ("search", "--training", "own:build", *small, *where)
    Path("stop").touch()
    stopped = hpo_gn(*command)
    planted = plant(folder, bomb)
    joined = ("--storage", f"sqlite:///{folder}/study.db", "--study", "s")
    return {
        "stopped": stopped,
        "planted": planted,
        "looked": hpo_gn("status", *joined),
        "worked": hpo_gn("worker", *joined, "--workers", "1", "--device", "cpu"),
        "resumed": hpo_gn(*command),
        "finished": (folder / "result.json").exists(),
    }


def main() -> None:
    """Print what happened, as JSON."""
    Path("own.py").write_text(OWN)
    arrays = ("x_train", "y_train", "x_test", "y_test")
    np.savez("own.npz", **{name: np.array([Bomb()], object) for name in arrays})
    Path("space.yaml").write_text("!!python/object/apply:pathlib.Path.touch [went-off]")
    planted = bombs()
    watch()
    said: dict[str, Any] = {
        "searches": {name: search(name, bomb) for name, bomb in zip(SEARCHERS, planted, strict=True)},
        "data": hpo_gn("search", "--data", "own.npz"),
        "space": hpo_gn("search", "--space", "space.yaml"),
    }
    said |= {"events": list(events), "quiet": not WENT_OFF.exists()}
    pickle.loads(planted[0])  # they do go off
    said["control"] = {"events": events[len(said["events"]) :], "went_off": WENT_OFF.exists()}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
