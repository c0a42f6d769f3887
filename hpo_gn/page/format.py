"""Numbers as the page writes them."""

import math

from hpo_gn.fidelity import format_epochs


def number(value: object, digits: int = 4) -> str:
    """A number with so many significant digits, empty where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else f"{value:.{digits}g}"


def epochs(value: float) -> str:
    """GPU×epochs, thousands apart."""
    return f"{int(value):,}" if value == int(value) else format_epochs(value)


def seconds(value: float) -> str:
    """Seconds in the unit that suits."""
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def share(value: float) -> str:
    """A share as percent."""
    return f"{100 * value:.3g} %"


def count(amount: int, noun: str) -> str:
    """So many of something, "no trials", "1 trial", "2 trials"."""
    return f"{amount or 'no'} {noun}{'' if amount == 1 else 's'}"
