"""The ledger against a plain Python model of it, by hypothesis, for as many steps as it takes."""

from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from tests.budget.test_ledger_model import LedgerMachine
from tests.chaos.findings import Findings, Seen


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults are the long form's."""

    steps: int = 10_000
    steps_a_run: int = 50
    runs_a_seed: int = 20


SHORT = Sizes(steps=300, steps_a_run=30, runs_a_seed=10)


def scenario(sizes: Sizes) -> Findings:
    """Run the machine, on files of its own, until it has taken the steps or differs from the model."""
    taken, seeds, difference = [0], 0, ""

    class Counted(LedgerMachine):
        is_open = False

        @invariant()
        def count(self) -> None:
            taken[0] += self.is_open  # opening the ledger is no step
            self.is_open = True

    while taken[0] < sizes.steps and not difference:
        try:
            run_state_machine_as_test(seed(seeds)(Counted), settings=_settings(sizes))
        except Exception as error:
            difference = f"{type(error).__name__}: {error}"
        seeds += 1
    return Findings(
        seen={"steps": Seen(taken[0], sizes.steps)},
        broken={"differences": int(bool(difference))},
        facts={"seeds": f"{seeds}"},
        notes=(difference,) if difference else (),
    )


def _settings(sizes: Sizes) -> settings:
    return settings(
        max_examples=sizes.runs_a_seed,
        stateful_step_count=sizes.steps_a_run,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
