"""How a config says that times are written in texts."""

import re
import zoneinfo

# after a time: UTC, Z, +00, -08:00 or +0530
ZONE = r"(?: ?(?:UTC|GMT|Z|z)| ?[+-]\d{2}(?::?\d{2})?)"
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()

# a directive of data.time_format -> what it stands for
DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<I>\d{1,2})",
    "M": r"(?P<M>\d{1,2})",
    "S": r"(?P<S>\d{1,2})",
    "f": r"(?P<f>\d{1,9})",
    "p": r"(?P<p>(?i:am|pm))",
    "b": rf"(?P<b>(?i:{'|'.join(MONTHS)}))[a-z]*",
    "B": rf"(?P<b>(?i:{'|'.join(MONTHS)}))[a-z]*",
    "a": r"[A-Za-z]+",
    "A": r"[A-Za-z]+",
    "z": rf"(?P<z>{ZONE})",
    "Z": rf"(?P<z>{ZONE})",
    "%": "%",
}


def time_pattern(form: str) -> str:
    """A format such as ``%d/%m/%Y %H:%M:%S`` as a regular expression.

    Raises:
        ValueError: It has a directive that is not known, twice the same, or no date.
    """
    pattern, names = [], []
    for part in re.findall(r"%.?|[^%]+", form):
        if not part.startswith("%"):
            pattern.append(re.escape(part))
            continue
        if part[1:] not in DIRECTIVES:
            allowed = " ".join(f"%{name}" for name in DIRECTIVES)
            raise ValueError(f"{part} is not known. Allowed: {allowed}")
        found = DIRECTIVES[part[1:]]
        names += re.findall(r"\?P<(\w)>", found)
        pattern.append(found)
    if len(names) > len({*names}):
        raise ValueError("it says the same twice")
    if not ({"Y", "y"} & {*names} and {"m", "b"} & {*names} and "d" in names):
        raise ValueError("it must hold a year, a month and a day: %Y or %y, %m or %b, %d")
    return f"^{''.join(pattern)}$"


def time_zone(value: str) -> str:
    """The name of a time zone, checked."""
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone name such as Asia/Shanghai") from None
    return value
