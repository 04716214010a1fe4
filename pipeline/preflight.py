"""All that can be known before the first row is read: a run that cannot pass begins not.

In: a config, and what the run is given.  Out: what was looked at, in sentences.

    steadyrank check --config C [--data DIR] [--baseline DIR] [--output DIR]
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.files.whole_folders import exists

BYTES_A_VALUE = 4  # of ids and numbers in the examples


def require_passable(
    config: Config | SequenceConfig, *, baseline: bool, stability: bool
) -> list[str]:
    """Check the gates against what the judge will be given.

    Args:
        config: The run's config.
        baseline: Whether there is one; of nights there is, from the second on.
        stability: Whether the result of ``stability`` is given.

    Returns:
        What was looked at.

    Raises:
        InputError: A gate can only refuse; all of them are named.
    """
    gates = config.gates.model_dump()
    said = [] if baseline else _needing_baseline(gates)
    if gates.get("stability") and not stability:
        said.append(
            "gates.stability needs what `steadyrank stability` found, which evaluate "
            "--stability takes"
        )
    if said:
        raise InputError(f"no model could pass: {'; '.join(said)}. Give it, or remove it.")
    named = [name for name, gate in gates.items() if gate and name not in SETTINGS]
    none = "none is configured, and without one no model is released"
    return [f"gates: {', '.join(named) or none}"]


SETTINGS = ("confidence", "repetitions")


def _needing_baseline(gates: dict) -> list[str]:
    """What is over a baseline, in sentences, by the keys of the config."""
    places = [("gates", gates)]
    places += [
        (f"gates.slices {' × '.join(rule['by'])}", rule)
        for rule in gates.get("slices") or ()
    ]
    found = [
        f"{place}.{metric}.{task}.min_gain"
        for place, limits in places
        for metric, by_task in limits.items()
        if isinstance(by_task, dict)
        for task, gate in by_task.items()
        if isinstance(gate, dict) and gate.get("min_gain") is not None
    ]
    found += ["gates.drift"] if gates.get("drift") else []
    return [f"{', '.join(found)} needs --baseline"] if found else []


def require_log(config: Config | SequenceConfig, folder: Path, output=None) -> list[str]:
    """Open every file of the log: its columns and types, and the room for its examples.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.
        output: Where the run will write; None: that is not looked at.

    Returns:
        What was looked at.

    Raises:
        InputError: A file or a column is missing or does not suit, or there is no room.
    """
    if isinstance(config, SequenceConfig):
        from steadyrank.pipeline.kinds.next_item.plan import make_plan
    else:
        from steadyrank.pipeline.preprocess.plan import make_plan
    plan = make_plan(config, folder)
    files, rows = plan.log.files, plan.log.rows
    said = [f"log: {len(files)} files, about {rows:,} rows, {len(plan.carried)} columns"]
    said += [f"joined: {side.files[0]}" for side in getattr(plan, "sides", ())]
    if output is not None:
        values = sum(
            max(1, getattr(item, "max_values", 0))
            for item in (*getattr(config, "features", ()), *getattr(config, "tasks", ()))
        )
        said += require_place(output, rows * max(1, values) * BYTES_A_VALUE)
    return said


def require_place(output: Path | Url, size: int = 0) -> list[str]:
    """Check that a place can be written to, and has room.

    Args:
        output: A local folder, which need not be there yet, or a URL.
        size: Bytes that will be written, about.

    Raises:
        InputError: It cannot be reached or written, or is too full.
    """
    if isinstance(output, Url):
        exists(output)  # which raises where the storage does not answer
        return [f"output: {output} answers"]
    above = next(p for p in (output.absolute(), *output.absolute().parents) if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {output}: {above} is no folder to write to.")
    free = shutil.disk_usage(above).free
    if free < size:
        raise InputError(
            f"{output}: about {_gb(size)} will be written, and {_gb(free)} are free there. "
            "Make room, or choose another --output."
        )
    return [f"output: {output}, {_gb(free)} free, about {_gb(size)} for examples"]


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def require_baseline_fits(config, baseline: Path | None) -> list[str]:
    """Check that a baseline can be read, and predicts one of the tasks.

    Raises:
        InputError: It cannot, or predicts none.
    """
    if baseline is None:
        return []
    if isinstance(config, SequenceConfig):
        from steadyrank.pipeline.export.card import read_card

        read_card(baseline)
    else:
        from steadyrank.pipeline.evaluate.baseline import keep_for

        keep_for(config, baseline)
    return [f"baseline: {baseline}"]


def check(
    config: Config | SequenceConfig,
    folder: Path,
    *,
    baseline: Path | None = None,
    output: Path | Url | None = None,
    gates: bool = True,
) -> Iterable[str]:
    """Look at all that ``run`` could stumble over later.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.
        baseline: The export that gains are over; None: there is none.
        output: Where the run will write; None: that is not looked at.
        gates: Whether to check that a model could pass them.

    Yields:
        What was looked at, a sentence each.

    Raises:
        InputError: The first thing that cannot go well.
    """
    if gates:
        yield from require_passable(config, baseline=bool(baseline), stability=False)
    yield from require_baseline_fits(config, baseline)
    yield from require_log(config, folder, output)
