"""Raw logs to packed examples, as an Apache Beam job.

In: the log and side tables of a config.  Out: an example set (``example_set.py`` says
what it holds).  Arrow tables go from end to end; between workers they travel in Arrow's
own stream format.

    steadyrank preprocess --config C --output DIR [--append] [-- BEAM FLAGS]

    loads ─ read, fingerprint, key ─ group by split/window/shard ─ dedupe, join, type ┐
       ┌──────────────────────────────────────────────────────────────────────────────┘
       ├ training split: analyse ─ merge ─ learn ┐ (side input; with --append the
       │                                         │ base's counts and vocabularies, too)
       └───────────────────────────────── encode ┴ write ─ summary
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.log import Split
from steadyrank.pipeline.examples.example_set import ExampleSet, vocab_path
from steadyrank.pipeline.files.errors import (
    InputError,
    NoRowsError,
    NothingToTrainOnError,
)
from steadyrank.pipeline.files.publish import (
    finite,
    publish,
    read_json,
    refuse_existing,
    write_json,
)
from steadyrank.pipeline.files.room import require_room
from steadyrank.pipeline.preprocess import append
from steadyrank.pipeline.preprocess import vocabulary as vocab
from steadyrank.pipeline.preprocess.accounts import (
    counts_under,
    identities,
    take_account,
    told,
)
from steadyrank.pipeline.preprocess.append import require_same_kind
from steadyrank.pipeline.preprocess.beam_job import (
    Steps,
    run_job,
)
from steadyrank.pipeline.preprocess.blocks import Stored
from steadyrank.pipeline.preprocess.catalogue import catalogues
from steadyrank.pipeline.preprocess.encode import Encode, add_by_name
from steadyrank.pipeline.preprocess.files import create_file
from steadyrank.pipeline.preprocess.held import (
    base_of,
    count_late,
    first_profiled,
    hold,
    profiles_of,
    require_known,
)
from steadyrank.pipeline.preprocess.histories import (
    count_read,
    earlier_events,
    said_of_histories,
)
from steadyrank.pipeline.preprocess.memory import system_pool
from steadyrank.pipeline.preprocess.negatives import DRAW_THEM, HAD, UNREADABLE, WRITTEN
from steadyrank.pipeline.preprocess.overflow import require_finite
from steadyrank.pipeline.preprocess.past import Past, pasts_of
from steadyrank.pipeline.preprocess.plan import WHOLE_LOG, Addition, Plan, make_plan
from steadyrank.pipeline.preprocess.rows import BEYOND, DROPPED, UNGROUPED, key_rows
from steadyrank.pipeline.preprocess.settle import Settle
from steadyrank.pipeline.preprocess.shards import count_windows, filed
from steadyrank.pipeline.preprocess.side_join import carry, spreads_of
from steadyrank.pipeline.preprocess.size import EXAMPLES, size_of
from steadyrank.pipeline.preprocess.spill import SPILL, loads_of
from steadyrank.pipeline.raw_log.formats.base import Batch
from steadyrank.pipeline.raw_log.split import DAY, SPLITS


@system_pool()  # from the look at side tables on: Arrow's own keeps what that took
def preprocess(
    config: Config,
    folder: Path,
    output: Path,
    beam_flags: Iterable[str] = (),
    *,
    overwrite: bool = False,
    addition: Addition = WHOLE_LOG,
) -> dict:
    """Turn a raw log into an example set, or add to one what came since.

    An addition takes over the training windows of its base as they are, to the byte.
    The windows after them are read from the log: split by the config's moments, encoded
    with the grown vocabularies.  Whatever the base had for evaluation is left behind.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.
        output: Where the example set shall stand.
        beam_flags: Passed to Beam, such as ``--runner=FlinkRunner``.
        overwrite: Whether an example set that is there may be replaced.
        addition: What to add to, and which days.

    Returns:
        The manifest.

    Raises:
        InputError: The input does not suit, or too much of it had to be rejected.
        RefusedError: A day does not keep the contract.
    """
    refuse_existing(Path(output), overwrite)
    base = None if addition.base is None else ExampleSet.open(addition.base)
    after = "" if base is None else append.last_window(base, config.data)
    plan = make_plan(config, folder, addition, after)
    if base:
        append.require_final_labels(config)
        require_same_kind(plan, base)
        plan = replace(plan, spelled=base.manifest.get("spellings", {}))
    kept = append.events_of(plan, base) if base else []
    pasts = pasts_of(plan, base and base.path, kept)
    require_known(config, plan.log.schema.names)
    holds = base_of(config, folder, addition.base)
    require_room(Path(output), size_of(plan), EXAMPLES)
    with publish(output, overwrite) as work:
        loads = [
            load
            for log in filter(None, (plan.log, plan.earlier))
            for load in loads_of(log.pieces, log.rows)
        ]
        summary = run_job(loads, _steps(plan, pasts, work), work, beam_flags)
        days = profiles_of(summary["files"], summary["counts"])
        manifest = _manifest(plan, work, summary, base)
        manifest["contract"] = hold(plan, work, days, holds)
        write_json(work / "manifest.json", manifest)
    return manifest


def _steps(plan: Plan, pasts: Sequence[Past], output: Path) -> Steps:
    spreads = (*spreads_of(plan), *pasts)
    raws = {f.name: f.raw for f in plan.features if f.has_vocabulary}
    return Steps(
        key=partial(key_taken, plan=plan),
        settle=Settle(plan, str(output)),
        analyse=partial(vocab.analyse, plan=plan),
        values=partial(values_of, names=tuple(raws)),
        counted=raws,
        learn=partial(append.learn, plan=plan, folder=f"{output}/{SPILL}"),
        write_learned=partial(write_learned, output=str(output)),
        encode=Encode(str(output), first_profiled(plan.config), plan.derived),
        accumulate=partial(append.accumulate, plan=plan),
        base=plan.addition.base,
        horizons=plan.horizons,
        dated=dict.fromkeys(plan.horizons, plan.after[:DAY]),
        spreads=spreads,
        carry=partial(carry, plan=plan, output=str(output)) if spreads else None,
        filed=partial(filed, plan=plan),
        catalogues=partial(catalogues, plan=plan, output=str(output))
        if plan.config.data.negatives
        else None,
    )


def values_of(rows: Stored, names: tuple[str, ...]) -> dict:
    """Values that vocabularies are learned from, by feature."""
    return {name: rows.arrays(f"feature/{name}") for name in names}


def key_taken(batch: Batch, path: str, plan: Plan):
    """``key_rows``, of which the windows are kept that the plan asks for."""
    if plan.earlier and path in plan.earlier.files:
        return earlier_events(batch, plan)
    keyed, rejected, found = key_rows(batch, path, plan)
    taken = {key: part for key, part in keyed.items() if plan.takes(key.split("/")[1])}
    outside = sum(map(len, keyed.values())) - sum(map(len, taken.values()))
    counts = found | {"read": -outside, "outside": outside}
    if plan.config.data.rows_per_shard:
        counts |= count_windows(taken)
    days: Counter = Counter()
    for key, part in keyed.items():
        days[key.split("/")[1][:DAY]] += len(part)
    if plan.past_names:
        counts.update(count_read(keyed, plan))
    counts.update(count_late(days))
    return taken, [] if rejected is None else [rejected], counts


def write_learned(learned: vocab.Learned, output: str) -> dict:
    """Write vocabularies and statistics; give the schema back."""
    for name in learned.vocabularies:
        with create_file(str(vocab_path(Path(output) / "vocab", name))) as file:
            file.writelines(learned.lines(name))
    with create_file(f"{output}/statistics.json") as file:
        found = finite(learned.statistics)  # of no rows there is no range
        file.write(json.dumps(found, indent=1, default=str).encode())
    return learned.schema.to_dict()


def _manifest(plan: Plan, work: Path, summary: dict, base: ExampleSet | None) -> dict:
    """Check what the workers found, seal the schema, and sum everything up."""
    counts, files = summary["counts"], summary["files"]
    dropped, drawn = _dropped(plan, counts), counts.get(WRITTEN, 0)
    account = take_account(plan, summary, dropped, drawn=drawn)
    require_finite(plan.config, read_json(work / "statistics.json", "an example set"))
    account.require_all()
    joined = account.read - account.unkeyed - account.duplicates
    unmatched = counts_under(counts, "unmatched/")
    _check_joins(plan, unmatched, joined)
    first = max(plan.horizons.values(), default="")
    taken = append.take_over(base, work, first) if base else []
    files = taken + files
    splits = {split: _split_counts(files, split) for split in SPLITS}
    _check_splits(plan, splits)
    tasks = add_by_name(file["tasks"] for file in files)
    _require_users(plan, account.written - drawn, counts)
    negatives = _negatives(plan, counts, summary["schema"])
    _require_both_classes(plan, tasks)
    _require_final_labels(plan, files)
    write_json(work / "schema.json", summary["schema"])
    found = told(plan, summary, account, taken, sides=plan.sides)
    found["rows"] |= {"dropped": dropped} if plan.config.data.downsample else {}
    if negatives:
        found["rows"] |= {"drawn": drawn}
        found["negatives"] = negatives
    kept = [(each["name"].partition("/")[0], each["identity"]) for each in summary["kept"]]
    return {
        **found,
        **said_of_histories(plan, summary, base),
        "joined": joined,
        "unmatched": unmatched,
        "without_values": _without_values(work),
        "ungrouped": counts.get(UNGROUPED, 0),
        "infinite": {n: c for n, c in counts_under(counts, f"{BEYOND}/").items() if c},
        "splits": splits,
        "identity": identities(kept),
        "tasks": tasks,
        "files": sorted(_with_raw(files, summary["kept"]), key=lambda file: file["path"]),
    }


def _dropped(plan: Plan, counts: dict[str, int]) -> dict[str, int]:
    """Rows that the config leaves out, by why."""
    asked = plan.config.data.downsample
    if asked is None:
        return {}
    return {f"negatives of {asked.task} (data.downsample)": counts.get(DROPPED, 0)}


def _require_both_classes(plan: Plan, tasks: dict[str, dict]) -> None:
    """Raise where a task that exists in all rows is 1 in all of them."""
    for task in plan.tasks:
        rows, positives = (tasks[task.name][key] for key in ("rows", "positives"))
        if task.kind == "binary" and not task.given and rows and rows == positives:
            raise InputError(f"tasks.{task.name}: is 1 in all {rows:,} rows. {DRAW_THEM}")


def _require_final_labels(plan: Plan, files: list[dict]) -> None:
    """Raise where a task whose labels become final late has none to learn from."""
    late = [task for task in plan.config.tasks if task.matures_after]
    trained = add_by_name(f["tasks"] for f in files if f["split"] == "train" and late)
    for task in late:
        if not trained[task.name]["rows"]:
            raise InputError(
                f"tasks.{task.name}.matures_after: {task.matures_after} before the end of "
                "the log's last day no row trains, so that no label is final. Give a "
                "shorter time, or a longer log."
            )


def _require_users(plan: Plan, rows: int, counts: dict) -> None:
    """Raise where negatives were drawn for users whom no row of the log names."""
    data = plan.config.data
    if data.negatives and counts.get(UNGROUPED, 0) == rows > 0:
        raise InputError(
            f"data.negatives: column {data.group!r} (data.group) has no value in any of "
            f"{rows:,} rows, so that what a user had cannot be left out. Name the "
            "column of the users."
        )


def _negatives(plan: Plan, counts: dict, schema: dict) -> dict:
    """What the manifest says of rows that were drawn.

    Raises:
        InputError: There was next to nothing to draw from.
    """
    asked = plan.config.data.negatives
    if asked is None:
        return {}
    (task,) = (t for t in schema["tasks"] if t["name"] == plan.config.drawn_task)
    rate = task.get("negative_rate", 1.0)
    if not rate <= 1 or not counts.get(WRITTEN):
        items = asked.per_positive / rate
        if not items > 0:
            raise InputError(
                f"data.negatives: column {asked.item!r} has no value in the training rows; "
                "there is nothing to draw. Name another column."
            )
        raise InputError(
            f"data.negatives: a window of the training rows holds {items:.1f} different "
            f"{asked.item} on the average, too few to draw {asked.per_positive} of that "
            "its user has not. Draw fewer (per_positive), or make data.window and "
            "negatives.within longer; of users who have every item nothing can be drawn."
        )
    return {
        "task": task["name"],
        "rate": rate,
        "items": asked.per_positive / rate,
        "had": counts.get(HAD, 0),
        "unreadable": counts.get(UNREADABLE, 0),
    }


def _with_raw(files: list[dict], kept: list[dict]) -> list[dict]:
    """Files with what is said of their raw rows, where they have some."""
    raw = {f"{each['name']}.tfrecord": {"raw": each["raw"]} for each in kept}
    return [file | raw.get(file["path"], {}) for file in files]


def _check_joins(plan: Plan, unmatched: dict[str, int], joined: int) -> None:
    """Raise where a side table has none of the rows' keys."""
    for join, side in zip(plan.config.data.join, plan.sides, strict=True):
        path = side.files[0]
        if joined and unmatched.get(f"{join.on}: {path}") == joined:
            kinds = f"{side.schema.field(join.on).type} there"
            if join.on in plan.log.schema.names:
                kinds += f", {plan.log.schema.field(join.on).type} in the log"
            raise InputError(
                f"data.join: {path} has the {join.on!r} of none of the {joined} rows. "
                "Values must be written alike in both (17.0 is not 17 where it is text). "
                f"Types: {kinds}. Mend one of the two, or remove the join."
            )


def _without_values(work: Path) -> list[str]:
    """The features of which training rows hold no value at all."""
    features = read_json(work / "statistics.json", "an example set")["features"]
    seen = {name: f.get("values_seen", f.get("rows")) for name, f in features.items()}
    return [name for name, values in seen.items() if values == 0]


def _split_counts(files: list[dict], split: str) -> dict:
    windows: Counter = Counter()
    for file in files:
        if file["split"] == split:
            windows[file["window"]] += file["rows"]
    return {"rows": sum(windows.values()), "windows": dict(sorted(windows.items()))}


def _in_words(split: Split) -> str:
    """What a split says: ``validation 0.2, test 2024-01-20``."""
    said = split.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(
        f"{key} {str(value).removesuffix('T00:00:00')}" for key, value in said.items()
    )


def _check_splits(plan: Plan, splits: dict[str, dict]) -> None:
    for split, counts in splits.items():
        if not counts["rows"]:
            found = {s: list(c["windows"]) for s, c in splits.items() if c["rows"]}
            spans = ", ".join(f"{s} {w[0]} to {w[-1]}" for s, w in found.items())
            raise (NothingToTrainOnError if split == "train" else NoRowsError)(
                f"the {split} split has no rows: data.split has "
                f"{_in_words(plan.config.data.split)}, and the log holds {spans}."
            )
