"""Slices that no config need name: rows of new users, of new items, of each weekday.

New is an id that training did not see, or fewer times than its feature's ``min_count``:
the model has no row of its own for it.
"""

import datetime
from collections.abc import Mapping, Sequence

import numpy as np

from steadyrank.models.features import Feature
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.gates import Gates
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.metrics.scored import Scored, compare
from steadyrank.pipeline.metrics.slices import WEEKDAYS, columns_within
from steadyrank.pipeline.raw_log.split import ALL, DAY

MANY = 100  # known values of a feature that are ids, not kinds
MOST = 6  # such features, those of the most values
FEWEST_ROWS = 100  # of a slice that is measured
DAY_MS = 86_400_000


def id_features(
    features: Sequence[Feature], columns: Mapping[str, str], group: str | None
) -> list[str]:
    """The features whose new values are a slice: the group's, then those of many ids.

    Args:
        features: Of the model.
        columns: Feature -> the raw column that it is read from.
        group: The raw column of the groups, or None.
    """
    ids = [f for f in features if f.kind == "categorical" and not f.max_values]
    own = [f for f in ids if group is not None and columns[f.name] == group]
    many = [f for f in ids if f not in own and f.vocabulary_size >= MANY]
    many.sort(key=lambda feature: -feature.vocabulary_size)
    return [feature.name for feature in (*own[:1], *many[:MOST])]


def weekdays_of(config: Config, examples: ExampleSet, split: str) -> np.ndarray | None:
    """Number of each row's weekday, Monday 0, in the order of the records.

    None where windows are longer than a day, cut by one, or the log has no time.
    """
    length, counts = config.data.window_ms, examples.manifest["splits"][split]["windows"]
    windows = list(examples.windows(split))
    if not length or DAY_MS % length or ALL in windows:
        return None
    days = [datetime.date.fromisoformat(window[:DAY]).weekday() for window in windows]
    return np.repeat(days, [counts[window] for window in windows])


def measure_standard_slices(
    model: Scored,
    baseline: Scored | None,
    features: Sequence[Feature],
    weekdays: np.ndarray | None,
    *,
    gates: Gates,
    tasks: Sequence,
) -> list[dict]:
    """The metrics of each slice, with their intervals.

    Args:
        model: The model's rows, with the encoded features of ``id_features``.
        baseline: The baseline's on the same rows; None: there is none.
        features: Those of ``id_features``.
        weekdays: Of each row, from ``weekdays_of``.
        gates: How many repetitions.
        tasks: The tasks.

    Returns:
        Of each slice its ``name``, ``rows``, and ``tasks`` (name -> metrics; without
        curves and tenths), or ``why`` it was not measured.
    """
    parts = [
        (f"new {f.name}", np.flatnonzero(f.ids.is_unknown(model.features[f.name])))
        for f in features
    ]
    if weekdays is not None:
        for number in np.unique(weekdays):
            parts.append((WEEKDAYS[number], np.flatnonzero(weekdays == number)))
    found = []
    for name, rows in parts:
        entry: dict = {"name": name, "rows": len(rows)}
        if len(rows) < FEWEST_ROWS:
            few = f"only {len(rows):,} rows; {FEWEST_ROWS} are the fewest to measure"
            entry["why"] = few if len(rows) else "there is none"
        elif len(rows) == model.rows:
            entry["why"] = "these are all rows"
        else:
            ours = Scored(**columns_within(vars(model), rows))
            theirs = baseline and Scored(**columns_within(vars(baseline), rows))
            results, _, _ = compare(ours, theirs, tasks, gates, curves=False)
            entry["tasks"] = {
                task: {k: v for k, v in result.items() if k != "deciles"}
                for task, result in results.items()
            }
        found.append(entry)
    return found
