"""A hold: one trial's epochs, set aside while its worker lives."""

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hpo_gn.errors import HoldClosedError, StorageError

if TYPE_CHECKING:
    from hpo_gn.budget.ledger import Ledger


class Hold:
    """Epochs set aside for one trial, from `Ledger.hold`; use it as a context manager.

    While the context is open a thread renews the lease, so that an epoch may take longer than the lease.
    Leaving it, by whatever way, settles the hold and returns what was not charged. A process that was stopped
    past its lease finds every call refused.

    Args:
        ledger: whose hold it is.
        key: its idempotency key.
        trial: the trial's number.
        epochs: how many epochs it may charge.
        charged: the last epoch that is charged already.
    """

    def __init__(self, ledger: "Ledger", key: str, trial: int, epochs: int, *, charged: int = 0) -> None:
        self.ledger, self.key, self.trial, self.epochs = ledger, key, trial, epochs
        self._next = charged + 1
        self._done = threading.Event()
        self._heartbeat: threading.Thread | None = None

    def charge(self, epoch: int | None = None) -> None:
        """Charge an epoch before it runs; without a number, the one after the last.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed.
            BudgetExhaustedError: every epoch of the hold is charged.
        """
        epoch = self._next if epoch is None else epoch
        self.ledger.charge(self.key, epoch)
        self._next = epoch + 1

    def record(self, epoch: int, *, training_s: float, measuring_s: float) -> None:
        """Write down the seconds a charged epoch took; refused (HoldClosedError) if its result must not be
        reported.
        """
        self.ledger.record(self.key, epoch, training_s=training_s, measuring_s=measuring_s)

    def confirm(self) -> None:
        """Make sure that the hold is still this process's, before anything is reported, and renew its lease.

        Raises:
            HoldClosedError: it is settled or its lease lapsed: the trial is another worker's now.
        """
        self.ledger.renew(self.key)

    def settle(self, reason: str = "finished") -> None:
        """Close the hold and return its uncharged epochs."""
        self._done.set()
        if self._heartbeat is not None and self._heartbeat is not threading.current_thread():
            self._heartbeat.join()
        self.ledger.settle(self.key, reason)

    def __enter__(self) -> Self:
        self._heartbeat = threading.Thread(
            target=self._renew, name=f"lease of trial {self.trial}", daemon=True
        )
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle("finished" if kind is None else kind.__name__)

    def _renew(self) -> None:
        while not self._done.wait(min(self.ledger.lease_s / 3, threading.TIMEOUT_MAX)):
            try:
                self.ledger.renew(self.key)
            except HoldClosedError:
                return  # the next charge or record tells the trial
            except StorageError:
                continue  # the database may be back before the lease lapses
