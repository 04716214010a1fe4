"""A set's days held to its contract, which lies in the statistics of the set before."""

import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from steadyrank.models.features import raw_features
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.contract import profile
from steadyrank.pipeline.contract.judge import judge, reasons, refused
from steadyrank.pipeline.contract.rules import REFUSE
from steadyrank.pipeline.contract.schema import as_schema
from steadyrank.pipeline.files.errors import InputError, RefusedError
from steadyrank.pipeline.files.publish import read_json, write_json
from steadyrank.pipeline.files.shapes import Statistics
from steadyrank.pipeline.files.urls import within
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.settle import REPEATED
from steadyrank.pipeline.raw_log.columns import is_list, is_moment, is_number, is_text
from steadyrank.pipeline.raw_log.split import ALL, DAY

NEVER = "~"  # after the name of every day
LATE, TIMELY = "late", "timely"  # in the counts, by the day of the rows beside them
FAR = 2  # days, from which on a row is late
FILE = "statistics.json"
SHOWN = 8  # reasons in a message


def first_profiled(config: Config) -> str:
    """The first day of which a profile is kept: earlier ones are no more looked at."""
    contract, split = config.contract, config.data.split
    if contract is None:
        return NEVER
    if not split.by_moments:
        return ""
    ends = split.training_ends
    return (ends - datetime.timedelta(contract.days)).isoformat()[:DAY]


def count_late(rows: Mapping[str, int]) -> dict[str, int]:
    """How many rows stand beside those of a later day, of some that were read together.

    Args:
        rows: Day -> rows.  Nothing is counted unless half of them are of one day.
    """
    main = max(rows, key=rows.__getitem__, default="")
    total = sum(rows.values())
    if not total or 2 * rows[main] < total or len(main) != DAY:
        return {}
    day = datetime.date.fromisoformat(main) - datetime.timedelta(FAR)
    late = sum(count for name, count in rows.items() if name <= day.isoformat())
    return {f"{LATE}/{main}": late, f"{TIMELY}/{main}": total - late}


def columns_of(schema: pa.Schema) -> dict[str, dict[str, str]]:
    """The columns of a log, with their types and what kinds of values these are."""
    return {
        field.name: {"type": str(field.type), "kind": _kind(field.type)} for field in schema
    }


def _kind(kind: pa.DataType) -> str:
    kinds = {"number": is_number, "text": is_text, "time": is_moment, "list": is_list}
    return next((name for name, holds in kinds.items() if holds(kind)), "other")


def profiles_of(files: Iterable[dict], counts: Mapping[str, int]) -> dict[str, dict]:
    """Day -> what it amounts to; the files of the manifest lose their share of it."""
    days: dict[str, dict] = {}
    for file in files:
        if found := file.pop("profile", None):
            day = file["window"][:DAY]
            days[day] = profile.total([days.get(day, {}), found])
    for day, found in days.items():
        found["repeated"] = counts.get(f"{REPEATED}/{day}", 0)
        if f"{TIMELY}/{day}" in counts:
            found |= {name: counts[f"{name}/{day}"] for name in (LATE, TIMELY)}
    return days


def base_of(config: Config, folder: Path, base: Path | None) -> Path | None:
    """The set whose days hold: what the config names, or what is added to."""
    contract = config.contract
    if contract is None or not contract.against:
        return base
    return Path(within(folder, contract.against))


def held_to(config: Any, base: Path | None) -> Any:
    """A config whose contract is that of a set, unless it names another itself."""
    contract = getattr(config, "contract", None)  # next-item models have none
    if base is None or contract is None or contract.against:
        return config
    contract = contract.model_copy(update={"against": str(base.absolute())})
    return config.model_copy(update={"contract": contract})


def contract_of(path: Path) -> dict | None:
    """The contract of a set; None: it was made by a version that kept none.

    Raises:
        InputError: There is no set.
    """
    return read_json(path / FILE, "an example set", Statistics).get("contract")


def hold(plan: Plan, work: Path, days: dict[str, dict], path: Path | None) -> dict | None:
    """Write the contract of a set, once its days have kept that of another.

    Args:
        plan: Of the set.
        work: The set.
        days: What each of its days amounts to; the days taken over are not among them.
        path: The set whose days hold; None: there is none.

    Returns:
        The verdict, for the manifest; None: nothing was judged.

    Raises:
        RefusedError: A day is refused.
    """
    contract, verdict = plan.config.contract, None
    if contract is None:
        return None
    columns, known = columns_of(plan.log.schema), {}
    base = path and contract_of(path)
    if base:
        verdict = judge(days, base, contract, columns)
        if verdict["verdict"] == REFUSE:
            raise refusal(verdict, path)
        known = {day: found for day, found in base["days"].items() if day != ALL}
    both = {**days, **known}  # as a day was when it was new: its values were not known
    kept = {day: both[day] for day in sorted(both)[-contract.days :]}
    held = {"columns": columns, "days": kept}
    statistics = read_json(work / FILE, "an example set")
    write_json(work / FILE, {**statistics, "contract": held})
    text = as_schema(held, contract, raw_features(plan.features))
    (work / "schema.pbtxt").write_text(text, encoding="utf-8")
    return verdict


def refusal(verdict: dict, path: Path | None) -> RefusedError:
    """The error to raise where a verdict refuses."""
    days, why = refused(verdict), reasons(verdict)
    more = f"; and {len(why) - SHOWN} more" if len(why) > SHOWN else ""
    return RefusedError(
        f"the data contract of {path} refuses {', '.join(days)}: "
        f"{'; '.join(why[:SHOWN])}{more}. Mend the log; or, if it was meant so, name what "
        "changed in contract.exempt, or say from which day on it holds: contract.since.",
        days,
        why,
    )


def require_known(config: Config, columns: Iterable[str]) -> None:
    """Raise where the contract exempts what is neither column, feature nor task."""
    contract = config.contract
    names = {item.name for item in (*config.features, *config.tasks)} | {*columns}
    for name in contract.exempt if contract else ():
        if name not in names:
            raise InputError(
                f"contract.exempt: {name!r} is no column of the log, feature or task. "
                "Remove it."
            )
