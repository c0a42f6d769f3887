"""Running the cells of a comparison: so many processes on this machine, each on a cell at a time."""

import multiprocessing.connection
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from hpo_gn.comparison.working import HELD, TROUBLE, Work, work
from hpo_gn.crew import forkserver, received, stop_processes, stoppable
from hpo_gn.errors import HpoGnError

_TICK_S = 0.5
_AGAIN_TICKS = 10
"""After so many ticks a cell that another process holds is tried again."""
_MOST_DEATHS = 3
_MOST_TROUBLES = 3


@dataclass
class _Member:
    process: BaseProcess
    messages: Connection
    task: Work


class Running:
    """The processes of this command.

    Args:
        tasks: the cells that have no result, in order.
        devices: of the processes, one each.
        finished: told of each cell whose process gave it a result.

    Attributes:
        troubles: why a cell has no result that is not its own fault, by its name.
    """

    def __init__(
        self, tasks: Sequence[Work], devices: Sequence[str], finished: Callable[[Work], None]
    ) -> None:
        self._waiting, self._free, self._finished = list(tasks), list(devices), finished
        self._held: list[tuple[int, Work]] = []
        self._members: list[_Member] = []
        self._deaths: Counter[str] = Counter()
        self._context = forkserver()
        self._ticks = 0
        self.troubles: dict[str, str] = {}

    @property
    def working(self) -> list[Work]:
        """What the processes work on now."""
        return [member.task for member in self._members]

    def run(self, tick: Callable[[], None]) -> None:
        """Work until every cell has a result, here or by another command, or a reason why not.

        The first Ctrl-C (or SIGTERM) lets each process finish its epoch and write its checkpoint, a second
        one stops it at once.

        Args:
            tick: called about twice a second.

        Raises:
            HpoGnError: several cells in a row could not be run, for the same kind of reason.
            KeyboardInterrupt: after Ctrl-C.
        """
        with stoppable() as stopping:
            try:
                while (self._waiting or self._held or self._members) and not stopping():
                    self._start()
                    self._watch()
                    tick()
            finally:
                stop_processes([member.process for member in self._members], stopping)
            if stopping():
                raise KeyboardInterrupt

    def _start(self) -> None:
        self._ticks += 1
        again = [task for since, task in self._held if self._ticks - since >= _AGAIN_TICKS]
        self._held = [each for each in self._held if each[1] not in again]
        self._waiting += again
        while self._waiting and self._free:
            task = replace(self._waiting.pop(0), device=self._free.pop(0))
            ours, theirs = self._context.Pipe(duplex=False)
            process = self._context.Process(target=work, args=(task, theirs))
            process.start()
            theirs.close()
            self._members.append(_Member(process, ours, task))

    def _watch(self) -> None:
        sentinels = [member.process.sentinel for member in self._members]
        multiprocessing.connection.wait(sentinels, timeout=_TICK_S)
        for member in [each for each in self._members if each.process.exitcode is not None]:
            self._members.remove(member)
            self._free.append(member.task.device)
            self._ended(member)
            member.messages.close()
            member.process.close()

    def _ended(self, member: _Member) -> None:
        code, name = member.process.exitcode, member.task.cell.name
        if code == 0:
            self._finished(member.task)
        elif code == HELD:
            self._held.append((self._ticks, member.task))
        elif code == TROUBLE:
            self._give_up(name, received(member.messages) or "unknown")
        else:
            self._deaths[name] += 1
            if self._deaths[name] < _MOST_DEATHS:
                self._waiting.append(member.task)
            else:
                self._give_up(name, f"its process died {_MOST_DEATHS} times, the last with exit code {code}")

    def _give_up(self, name: str, reason: str) -> None:
        self.troubles[name] = reason
        if list(self.troubles.values()).count(reason) >= _MOST_TROUBLES:
            raise HpoGnError(f"{_MOST_TROUBLES} cells cannot be run: {reason}")
