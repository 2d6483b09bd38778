"""Amounts, durations, and the pace of something that goes on, as a person reads them. Pure."""

from __future__ import annotations

import math

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
# A rate is a moving average over about so long: steady enough to be read, quick enough to show a stall.
_SMOOTHING_SECONDS = 5.0
# Differences over less than this are mostly noise of the clock and of buffers.
_SAMPLE_SECONDS = 0.5


def amount(value: float, unit: str) -> str:
    """`45.2 MB` for bytes (powers of 1000, as disks and networks count); `12 files` for anything else."""
    if unit == "bytes":
        return _bytes(value)
    number = f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"
    return f"{number} {unit}".rstrip()


def amount_of(done: float, total: float | None, unit: str) -> str:
    """`45.2 MB of 170.0 MB`, or `45.2 MB` if nobody knows the total."""
    if total is None:
        return amount(done, unit)
    if unit == "bytes":
        return f"{amount(done, unit)} of {amount(total, unit)}"
    return f"{amount(done, '')} of {amount(total, unit)}"


def percentage(done: float, total: float | None) -> str:
    """`26%`; empty without a total. Only what is complete is 100%."""
    if not total or total < 0:
        return ""
    return f"{max(0, min(100, math.floor(100 * done / total)))}%"


def duration(seconds: float) -> str:
    """`0.4 s`, `45 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _bytes(value: float) -> str:
    exponent = 0
    while abs(value) >= 999.95 and exponent < len(_BYTE_UNITS) - 1:  # 999.95 would be printed as 1000.0
        value /= 1000
        exponent += 1
    return f"{value:.0f} B" if exponent == 0 else f"{value:.1f} {_BYTE_UNITS[exponent]}"


class Pace:
    """How fast something goes on, smoothed, from how far it was when.

    What was done before the first look is no part of the rate: a resumed run joins a restore half way.
    """

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._rate: float | None = None

    def update(self, done: float, now: float) -> None:
        """:param done: so much is done, at the time `now` in seconds of any clock that only goes forward."""
        if self._last is None or done < self._last[0]:  # it began anew
            self._last, self._rate = (done, now), None
            return
        elapsed = now - self._last[1]
        if elapsed < _SAMPLE_SECONDS:
            return
        rate = (done - self._last[0]) / elapsed
        weight = 1 - math.exp(-elapsed / _SMOOTHING_SECONDS)
        self._rate = rate if self._rate is None else self._rate + weight * (rate - self._rate)
        self._last = (done, now)

    @property
    def rate(self) -> float | None:
        """Units per second; None before there is anything to say."""
        return self._rate

    def seconds_left(self, done: float, total: float | None) -> float | None:
        """At this pace; None if there is no total or no movement."""
        if total is None or self._rate is None or self._rate <= 0:
            return None
        return max(0.0, (total - done) / self._rate)
