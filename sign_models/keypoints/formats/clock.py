"""Times written as text: clock times, dates with a clock time, durations with a unit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date

DAY_S = 86_400.0
_CLOCK = re.compile(
    r"(?:(?P<days>\d+) days?,?\s+)?(?:(?P<date>\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4})(?:\s+|[T_]))?"
    r"(?P<fields>\d{1,3}(?::\d{1,2}){1,2})(?P<fraction>[.,]\d+)?"
    r"\s*(?P<half>[AaPp])?(?(half)\.?[Mm]\.?)\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?(?:\d{2})?)?"
)
_DURATION = re.compile(
    r"(?:PT)?(?P<number>-?\d+(?:[.,]\d+)?|-?[.,]\d+)\s*(?P<unit>[sS]|secs?|seconds?|ms|msecs?|us|µs|ns)"
)
_SECONDS = {"ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_AROUND = " \t[](){}\"'"  # what may stand around a time


def looks_like_clock(text: str) -> bool:
    """Tell whether a text may be a clock time, of whatever form.

    Args:
        text: The text.

    Returns:
        Whether it has numbers of at most two digits with a colon between them.
    """
    return re.search(r"(?<!\d)\d{1,2}:\d{2}(?!\d)", text) is not None


def seconds_of(texts: Iterable[str]) -> list[float] | None:
    """Read the times of consecutive frames.

    Args:
        texts: Such as "00:00:01.040", "12:03:04,5", "1:02.5", "2024-01-05T12:03:04Z", "0 days 00:00:01", "40 ms". Dates
            of another order than year, month, day are read where all are the same. A clock without a date may pass
            midnight.

    Returns:
        Seconds from an arbitrary beginning. None where a text is something else, or days or zones cannot be told.
    """
    texts = [text.strip(_AROUND) for text in texts]
    if all(durations := [_DURATION.fullmatch(text) for text in texts]):
        return [float(d["number"].replace(",", ".")) * _SECONDS.get(_unit(d["unit"]), 1.0) for d in durations if d]
    found = [clock for text in texts if (clock := _CLOCK.fullmatch(text))]
    if len(found) < len(texts) or not texts or len({clock["zone"] for clock in found}) > 1:
        return None
    days = _days([clock["date"] for clock in found])
    if days is None:
        return None
    times = [day * DAY_S + _time_of_day(clock) for day, clock in zip(days, found, strict=True)]
    return times if found[0]["date"] or found[0]["days"] else _past_midnight(times)


def _unit(name: str) -> str:
    return "ms" if name.startswith("ms") else name


def _days(dates: list[str | None]) -> list[float] | None:
    """Number of each day. None where several days are not written as year, month, day, or some have none."""
    if len(set(dates)) == 1:
        return [0.0] * len(dates)
    try:
        found = [date.fromisoformat(re.sub(r"[/.]", "-", day or "")).toordinal() for day in dates]
    except ValueError:
        return None
    return [float(day - found[0]) for day in found]


def _time_of_day(clock: re.Match[str]) -> float:
    fields = [int(field) for field in clock["fields"].split(":")]
    if len(fields) == 2:  # minutes and seconds; beside a date hours and minutes
        fields = [*fields, 0] if clock["date"] or clock["half"] else [0, *fields]
    hours, minutes, seconds = fields
    if clock["half"]:
        hours = hours % 12 + (12 if clock["half"] in "Pp" else 0)
    fraction = float((clock["fraction"] or ".0").replace(",", "."))
    return int(clock["days"] or 0) * DAY_S + hours * 3600 + minutes * 60 + seconds + fraction


def _past_midnight(times: list[float]) -> list[float]:
    """Times of days that follow each other: a step back of more than half a day begins the next day."""
    shifted, days, last = [], 0, times[0]
    for time in times:
        days += time < last - DAY_S / 2
        last = time
        shifted.append(time + days * DAY_S)
    return shifted
