"""The ``contract`` section of a config."""

import datetime
from typing import Annotated

from pydantic import Field

from steadyrank.pipeline.config.section import Section

Share = Annotated[float, Field(gt=0, le=1)]
Factor = Annotated[float, Field(gt=1)]


class Contract(Section):
    """What a new day of the log must keep of the days before it.

    A day is refused where it is surely beyond a limit, whatever luck its rows had, and on
    hold beyond half of one; how much the days before differ is not held against it.  A
    limit that is null does not judge.
    """

    against: str = ""
    """Examples whose days hold; empty: of those that are added to, if any."""
    days: Annotated[int, Field(ge=1)] = 14
    """Last days that are remembered, and that hold."""
    since: datetime.date | None = None
    """Days before this one hold no longer: what changed then was meant to. null: all
    hold."""
    exempt: list[str] = []
    """Columns, features and tasks that are not judged."""
    rows: Factor | None = 4.0
    """Times as many rows as a day has had, or as few."""
    missing: Share | None = 0.1
    """Share of a feature's rows without a value, more or less than it was."""
    unseen: Share | None = 0.3
    """Share of a feature's values that are not known, more than it was."""
    label_rate: Factor | None = 2.0
    """Times as high as a task's share of positives was, or as low."""
    distance: Share | None = 0.25
    """Share of a feature's values that lie elsewhere than they did."""
    scale: Factor | None = 10.0
    """Times as large as a number was, or as small."""
    vanished: Share | None = 0.05
    """Share of the values that a value must have had each day, for its end to refuse."""
    duplicates: Share | None = 0.1
    """Share of a day's rows that are there twice, more than it was."""
    late: Share | None = 0.1
    """Share of the rows beside a day's that are two days older or more, more than it
    was."""
