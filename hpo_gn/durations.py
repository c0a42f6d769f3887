"""Durations as a person reads them."""


def format_clock(seconds: float) -> str:
    """Seconds as "0:01:30": hours, minutes, seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
