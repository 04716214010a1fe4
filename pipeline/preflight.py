"""All that can be known before a run begins: one that cannot pass begins not.

In: a config, and what the run is given.  Out: what was looked at, in sentences.

    steadyrank check --config C [--data DIR] [--baseline DIR] [--output DIR]
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.cluster import cluster
from steadyrank.pipeline.config.given import inputs_of
from steadyrank.pipeline.config.log import DAY_MARK
from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.export.card import read_card
from steadyrank.pipeline.files.errors import InputError, NoRowsError
from steadyrank.pipeline.files.places import Place, keep_apart
from steadyrank.pipeline.files.room import require_room, require_writable
from steadyrank.pipeline.files.urls import Url, locate, within
from steadyrank.pipeline.kinds import kind_of
from steadyrank.pipeline.kinds.protocol import RANKING
from steadyrank.pipeline.preprocess.size import EXAMPLES, size_of
from steadyrank.pipeline.raw_log.absent import said_of
from steadyrank.pipeline.tracking.tracked import require_tracking

STAGED = Path(tempfile.gettempdir())  # where what goes to a URL is written first


def require_passable(
    config: Config | SequenceConfig,
    *,
    baseline: bool,
    stability: bool,
    split: str = "test",
) -> list[str]:
    """Check the gates against what the judge will be given.

    Args:
        config: The run's config.
        baseline: Whether there is one; of nights there is, from the second on.
        stability: Whether the result of ``stability`` is given.
        split: What will be judged on.

    Returns:
        What was looked at.

    Raises:
        InputError: A gate can only refuse; all of them are named.
    """
    gates = config.gates.model_dump()
    said = [] if baseline else _needing_baseline(gates)
    said += _of_kept_rows(gates, split)
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
    """What is over a baseline, in a sentence."""
    found = _gains(gates) + (["gates.drift"] if gates.get("drift") else [])
    return [f"{', '.join(found)} needs --baseline"] if found else []


def _of_kept_rows(gates: dict, split: str) -> list[str]:
    """What is measured on raw rows, of which training keeps none."""
    found = [f"gates.{name}" for name in ("skew", "latency") if gates.get(name)]
    if split != "train" or not found:
        return []
    return [f"{', '.join(found)} needs raw rows, which are kept of validation and test"]


def _gains(gates: dict) -> list[str]:
    """The limits of gains, by the keys of the config."""
    places = [("gates", gates)]
    places += [
        (f"gates.slices {' × '.join(rule['by'])}", rule)
        for rule in gates.get("slices") or ()
    ]
    return [
        f"{place}.{metric}.{task}.min_gain"
        for place, limits in places
        for metric, by_task in limits.items()
        if isinstance(by_task, dict)
        for task, gate in by_task.items()
        if isinstance(gate, dict) and gate.get("min_gain") is not None
    ]


def require_log(config: Config | SequenceConfig, folder: Place, output=None) -> list[str]:
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
    plan = _plan_of(config, folder)
    files, rows = plan.log.files, plan.log.rows
    said = [f"log: {len(files)} files, about {rows:,} rows, {len(plan.carried)} columns"]
    sides = getattr(plan, "sides", ())
    said += [f"joined: {side.files[0]}" for side in sides]
    said += [
        line for log in (plan.log, *sides) for line in said_of(log.absent, log.renamed)
    ]
    if output is not None:
        said += require_output(output)
        local = STAGED if isinstance(output, Url) else output
        said.append(require_room(local, size_of(plan), EXAMPLES))
    return said


def _plan_of(config: Config | SequenceConfig, folder: Place):
    if isinstance(config, SequenceConfig):
        from steadyrank.pipeline.kinds.next_item.plan import make_plan
    else:
        from steadyrank.pipeline.preprocess.plan import make_plan
    return make_plan(config, folder)


def require_output(output: Place) -> list[str]:
    """Check that a place can be written to; what goes to a URL is written here first.

    Raises:
        InputError: It cannot.
        PassingError: The storage does not answer now.
    """
    said = [require_writable(output)]
    return said + [require_writable(STAGED)] if isinstance(output, Url) else said


def require_baseline_fits(config, baseline: Path | None) -> list[str]:
    """Check that a baseline can be read and compared with, by its card alone.

    Args:
        config: The run's config.
        baseline: An export, or a folder of versions; None: there is none.

    Returns:
        What was looked at.

    Raises:
        InputError: It is of another kind, predicts none of the tasks, or lacks one whose
            gain or drift is judged.
    """
    if baseline is None:
        return []
    card, kind = read_card(baseline), kind_of(config).name
    if card.get("kind", RANKING) != kind:
        raise InputError(
            f"baseline {baseline} is of kind {card['kind']}, and this config of kind "
            f"{kind}: they do not compare. Take an export of the same kind."
        )
    kind_of(config).keep_for(config, baseline)
    if isinstance(config, Config):
        known = {task["name"] for task in card["schema"]["tasks"]}
        lacking = [key for key, task in _over_baseline(config) if task not in known]
        if lacking:
            raise InputError(
                f"no model could pass: {', '.join(lacking)} is over a baseline, and "
                f"{baseline} predicts {', '.join(sorted(known))} alone. Take a baseline "
                "that has the task, or remove the limit."
            )
    return [f"baseline: {baseline}"]


def _over_baseline(config: Config) -> list[tuple[str, str]]:
    """Keys of the config that judge a task beside the baseline's, and the tasks."""
    gates = config.gates.model_dump()
    found = [(key, key.split(".")[-2]) for key in _gains(gates)]
    drift = [task.name for task in config.tasks] if gates.get("drift") else []
    return found + [(f"gates.drift of {task}", task) for task in drift]


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
    nights = config.data.split.within_test  # which `nightly` asks for
    if gates:
        given = bool(baseline) or nights
        yield from require_passable(config, baseline=given, stability=False)
    if gates and nights and not baseline:
        yield from _of_first_night(config)
    config = _of_all_days(config)
    yield from require_tracking(config)
    yield from require_baseline_fits(config, baseline)
    if output is not None:
        require_apart(config, folder, output)
    yield from require_log(config, folder, output)
    yield from look_at_rows(config, folder)


def _of_first_night(config: Config | SequenceConfig) -> list[str]:
    """What a store's first night does without, and a run does not."""
    return [
        f"{said}: a store's first night leaves it out, and `run` refuses without it"
        for said in _needing_baseline(config.gates.model_dump())
    ]


def _of_all_days(config: Config | SequenceConfig) -> Config | SequenceConfig:
    """The config of a night, of any day: all files that one could read."""
    paths = [path.replace(DAY_MARK, "*") for path in config.data.input]
    data = config.data.model_copy(update={"input": paths})
    return config.model_copy(update={"data": data})


def require_apart(config, folder: Place, output: Place) -> None:
    """Check that a run would not write into the place of its log.

    Raises:
        InputError: It would.
    """
    keep_apart(output, *(locate(within(folder, path)) for path in inputs_of(config)))


def look_at_rows(config: Config | SequenceConfig, folder: Place) -> list[str]:
    """Read a sample of the log: what would leak a label, and what breaks its contract.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.

    Returns:
        What was looked at, and warnings.

    Raises:
        InputError: The log holds no row, or too many that would be rejected.
        RefusedError: A day of it does not keep the contract of ``contract.against``.
    """
    from steadyrank.pipeline.raw_log.one_type import in_one_type
    from steadyrank.pipeline.raw_log.sample import is_whole, sampled

    cluster()  # that names no machines which training would wait for
    plan = _plan_of(config, folder)
    batches = list(sampled(plan.log))
    tables = [batch.table for _, batch in batches if len(batch.table)]
    if not tables and all(batch.malformed is None for _, batch in batches):
        raise NoRowsError(
            f"{', '.join(plan.log.files[:5])}: the log holds no rows. Mend data.input, or "
            "wait for the log."
        )
    if isinstance(config, SequenceConfig):
        return []
    from steadyrank.pipeline.preprocess.held import require_known
    from steadyrank.pipeline.preprocess.would_reject import look_for_rejected
    from steadyrank.pipeline.propose.leaks import items_columns, leaks_of, of_one_class

    require_known(config, {c for log in (plan.log, *plan.sides) for c in log.schema.names})
    whole = is_whole(plan.log, batches)
    rows, bad, rejected = look_for_rejected(plan, batches, whole=whole)
    if not tables:
        return [f"rows: {rows:,} looked at", *rejected]
    said = [
        f"warning: feature {name} alone tells {label} with an AUC of {auc:.3f}: is it "
        "known before the engagement?"
        for name, (label, auc) in leaks_of(config, in_one_type(tables)).items()
    ]
    return [
        f"rows: {rows:,} looked at" + f", {bad:,} would be rejected" * bool(bad),
        *rejected,
        *said,
        *of_one_class(config, in_one_type(tables)),
        *items_columns(config, in_one_type(tables)),
        *_held_sample(config, folder, plan, batches),
    ]


def _held_sample(config: Config, folder, plan, batches) -> list[str]:
    """How the days of a sample keep the contract that the config names."""
    from steadyrank.pipeline.contract.judge import judge, reasons
    from steadyrank.pipeline.contract.rules import HOLD, REFUSE
    from steadyrank.pipeline.preprocess.held import (
        base_of,
        columns_of,
        contract_of,
        refusal,
    )

    path = base_of(config, folder, None)
    held = path and contract_of(path)
    if not held or any(map(plan.is_spread, range(len(plan.sides)))):
        return []
    from steadyrank.pipeline.preprocess.sample import days_of

    of_all = dict.fromkeys(("rows", "duplicates", "late"))  # which a sample does not tell
    contract = config.contract.model_copy(update=of_all)
    columns = columns_of(plan.log.schema)
    verdict = judge(days_of(plan, path, batches), held, contract, columns)
    if verdict["verdict"] == REFUSE:
        raise refusal(verdict, path)
    days = ", ".join(verdict["days"]) or "no new day"
    said = [f"{HOLD}: {why}" for why in reasons(verdict, HOLD)]
    return [f"data contract: {verdict['verdict']}, {days}", *said]
