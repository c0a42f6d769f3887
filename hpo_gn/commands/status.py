"""hpo-gn status."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from hpo_gn.commands import options
from hpo_gn.commands.terminal import output
from hpo_gn.errors import ArgumentError, StorageError
from hpo_gn.status import OVER, Status, StatusReader, describe

_WIDTH = 100
_SLOW_S = 5.0
_SHORTEST_S, _LONGEST_S = 0.1, 3600.0


def status(
    *,
    storage: options.StorageOfSearch = None,
    study: options.Study = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until the search and its retraining are over, or Ctrl-C.")
    ] = False,
    interval: Annotated[float, typer.Option(help="With --watch: seconds from one look to the next.")] = 2.0,
    every: Annotated[
        bool, typer.Option("--all", help="Show every worker and every trial, not 20 of each.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON at each look.")] = False,
) -> None:
    """Show what a search has spent, holds and has left, and what its workers and trials are doing.

    Nothing is written: neither is a lease renewed nor a dead worker's hold settled by looking.
    """
    if not _SHORTEST_S <= interval <= _LONGEST_S:
        raise ArgumentError("interval", f"{_SHORTEST_S} to {_LONGEST_S:.0f} seconds", interval)
    with StatusReader(options.storage_of(storage), study) as reader:
        if not watch:
            _print(_console(), reader.read(), every=every, json=json)
            return
        with suppress(KeyboardInterrupt):
            _watch(reader, interval, every=every, json=json)


def _watch(reader: StatusReader, interval: float, *, every: bool, json: bool) -> None:
    console = _console()
    if json or not console.is_terminal:
        for now in _looks(reader, interval):
            _print(console, now, every=every, json=json)
        return
    view = _View()
    # The screen is redrawn between looks too, so that one that takes long shows.
    with Live(get_renderable=view.show, console=console, refresh_per_second=2, transient=False) as live:
        for now in _looks(reader, interval):
            view.see(now if isinstance(now, str) else describe(now, every=every))
            live.refresh()


def _looks(reader: StatusReader, interval: float) -> Iterator[Status | str]:
    """The status again and again until all is over; where the storage is away, what it says instead."""
    first = True
    while True:
        try:
            now = reader.read()
        except StorageError as error:
            if first:
                raise
            yield str(error)
        else:
            yield now
            if now.stage == OVER:
                return
        first = False
        time.sleep(interval)


def _print(console: Console, now: Status | str, *, every: bool, json: bool) -> None:
    if isinstance(now, str):
        typer.echo(f"hpo-gn: {now}", err=True)
    elif json:
        typer.echo(now.to_json())
    else:
        console.print(describe(now, every=every), "")


class _View:
    """The last look at a search, and its age where the next one takes long."""

    def __init__(self) -> None:
        self._last: RenderableType = Text("reading …")
        self._trouble = ""
        self._at = time.monotonic()

    def see(self, now: RenderableType) -> None:
        """Show another look, or below the last one what kept the storage from being read."""
        if isinstance(now, str):
            self._trouble = f"{now}; "
            return
        self._last, self._trouble, self._at = now, "", time.monotonic()

    def show(self) -> RenderableType:
        """What to draw."""
        age = time.monotonic() - self._at
        if not self._trouble and age < _SLOW_S:
            return self._last
        return Group(Text(f"{self._trouble}this is {age:.0f} s old", style="red"), self._last)


def _console() -> Console:
    return output(_WIDTH, highlight=False)
