"""Look at a log and write a config that runs as it is.

steadyrank init --input 'log/*.parquet' --output config.yaml
"""

import os
from pathlib import Path

import yaml

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.config.document import Loader
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.urls import within
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.propose.choose import Choice, choose, two_words
from steadyrank.pipeline.propose.look import look_at
from steadyrank.pipeline.propose.write import as_yaml


def propose(patterns: list[str], folder: Path) -> tuple[str, Choice]:
    """A config for a log, as YAML, and why it says what it says.

    Args:
        patterns: Of the log.
        folder: What they are relative to: where the config will stand.

    Raises:
        InputError: The log cannot be read, or has no column of 0 and 1 to predict, or
            none to predict it from.
    """
    sample = look_at([within(folder, pattern) for pattern in patterns])
    choice = choose(sample)
    if not (choice.labels or choice.drawn or choice.amounts):
        raise InputError(
            f"{', '.join(patterns)}: no column holds 0 and 1, or true and false, or a "
            "rating, to be predicted, nor are there users and items of whom all rows are "
            f"positives. Columns: {', '.join(sample.columns)}.{two_words(sample)} Write "
            "the config by hand: tasks.*.at_least makes a label of a number, and "
            "data.negatives draws what users did not choose."
        )
    if not choice.features:
        raise InputError(
            f"{', '.join(patterns)}: no column is left to be a feature. Columns: "
            f"{', '.join(sample.columns)}. Write the config by hand."
        )
    text = as_yaml(sample, choice, patterns)
    make_plan(parse_config(yaml.load(text, Loader), "proposed"), folder)
    return text, choice


def as_written(patterns: list[str], folder: Path) -> list[str]:
    """Patterns of the working folder as a config says them that stands in another.

    What is below the config goes with it; of all else the whole path is said.
    """
    found, here = [], os.path.abspath(folder)
    for pattern in patterns:
        whole = pattern if "://" in pattern else os.path.abspath(pattern)
        inside = whole.startswith(os.path.join(here, ""))
        found.append(os.path.relpath(whole, here) if inside else whole)
    return found
