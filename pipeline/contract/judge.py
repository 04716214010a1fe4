"""Days of a log held to those before them: which rules they keep, and why not. Pure."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from steadyrank.pipeline.contract import rules
from steadyrank.pipeline.contract.rules import HOLD, PASS, REFUSE, Found, worst
from steadyrank.pipeline.raw_log.split import ALL

Profile = Mapping[str, Any]


def judge(
    days: Mapping[str, Profile],
    base: Mapping[str, Any],
    contract: Any,
    columns: Mapping[str, Mapping[str, str]],
) -> dict:
    """Hold the days that a base does not know to those that it does.

    Args:
        days: Day -> profile, of all that was read.
        base: ``contract`` of ``statistics.json``: ``columns``, and profiles by day.
        contract: The config's section of the name.
        columns: Of the log: name -> ``type`` and ``kind``.

    Returns:
        ``verdict``; ``against``, the days that held; ``days``, verdicts by day; and
        ``results``, what each rule found.
    """
    held = reference(base, contract)
    new = [day for day in sorted(days) if day not in base["days"] or day == ALL]
    results = [*_of_columns(columns, base["columns"], contract)] if held and new else []
    for day in new if held else ():
        results += _of_day(day, days[day], held, contract)
    by_day = {day: worst(r["verdict"] for r in results if r["day"] == day) for day in new}
    return {
        "verdict": worst(result["verdict"] for result in results),
        "against": sorted(held),
        "days": by_day if held else {},
        "results": results,
    }


def reference(base: Mapping[str, Any], contract: Any) -> dict[str, Profile]:
    """The last days of a base that hold."""
    since = str(contract.since) if contract.since else ""
    days = sorted(day for day in base["days"] if day >= since)[-contract.days :]
    return {day: base["days"][day] for day in days}


def refused(verdict: Mapping) -> list[str]:
    """The days that a verdict refuses: all new ones, where the log's columns are."""
    days = verdict["days"]
    if any(r["verdict"] == REFUSE and not r["day"] for r in verdict["results"]):
        return list(days)
    return [day for day, word in days.items() if word == REFUSE]


def reasons(verdict: Mapping, word: str = REFUSE) -> list[str]:
    """Why, in sentences."""
    return [r["reason"] for r in verdict["results"] if r["verdict"] == word]


def _result(rule, name, day, verdict, *, found: Found | None, limit, said: str) -> dict:
    where = f"{day}: " if day else ""
    return {
        "rule": rule,
        "name": name,
        "day": day,
        "verdict": verdict,
        "measured": found and found.measured,
        "before": found and found.before and list(found.before),
        "limit": limit,
        "reason": f"{where}{said}" + (f" (contract.{rule} {limit:g})" if limit else ""),
    }


def _of_columns(now: Mapping, before: Mapping, contract: Any) -> Iterable[dict]:
    """What became of the log's columns: one that changed its kind refuses."""

    def result(name: str, verdict: str, said: str) -> dict:
        said = f"column {name} {said}"
        return _result("columns", name, "", verdict, found=None, limit=None, said=said)

    for name in sorted({*now, *before} - {*contract.exempt}):
        if name not in now:
            yield result(name, HOLD, f"is gone: it was {before[name]['type']}")
        elif name not in before:
            yield result(name, HOLD, f"is new: {now[name]['type']}")
        elif now[name]["kind"] != before[name]["kind"]:
            said = f"is {now[name]['type']}, and was {before[name]['type']}"
            yield result(name, REFUSE, said)


def _of_day(day: str, profile: Profile, held: Mapping, contract: Any) -> list[dict]:
    before = list(held.values())
    results = [*_of_rows(day, profile, before, contract)]
    features = {
        name: found
        for name, found in profile["features"].items()
        if name not in contract.exempt
    }
    for name, found in features.items():
        theirs = [p["features"][name] for p in before if name in p["features"]]
        results += _of_feature(day, name, found, theirs, contract=contract)
    for name, found in profile["tasks"].items():
        theirs = [p["tasks"][name] for p in before if name in p["tasks"]]
        if name not in contract.exempt:
            results += _of_task(day, name, found, theirs, contract=contract)
    return _with_swaps(results, profile, before)


def _of_rows(day: str, profile: Profile, before: list, contract: Any) -> Iterable[dict]:
    rows, limit = profile["rows"], contract.rows
    if limit and rows:
        found = rules.times(rows, 1, [(p["rows"], 1) for p in before], limit)
        if found:
            low, high = (round(n) for n in found.before or (0, 0))
            said = f"{rows:,} rows, where days had {low:,} to {high:,}"
            yield _result(
                "rows", "", day, found.verdict, found=found, limit=limit, said=said
            )
    parts = (("duplicates", "repeated", "rows"), ("late", "late", "timely"))
    for rule, part, rest in parts:
        limit = getattr(contract, rule)
        if not limit or part not in profile:
            continue
        pairs = [(p[part], p[part] + p[rest]) for p in before if part in p]
        own = profile[part], profile[part] + profile[rest]
        found = rules.share(*own, pairs, limit, falls=False)
        if found:
            what = {"duplicates": "of the rows are there twice"}
            said = _shares(
                found, what.get(rule, "of the rows beside them are of days before")
            )
            yield _result(rule, "", day, found.verdict, found=found, limit=limit, said=said)


def _shares(found: Found, what: str) -> str:
    low, high = (f"{100 * share:.1f}" for share in found.before or (0, 0))
    span = low if low == high else f"{low} to {high}"
    return f"{100 * found.measured:.1f} % {what}, where it was {span} %"


def _of_feature(
    day: str, name: str, now: Mapping, before: list, *, contract: Any
) -> Iterable[dict]:
    def result(rule: str, found: Found, said: str) -> dict:
        limit, said = getattr(contract, rule), f"feature {name}: {said}"
        return _result(rule, name, day, found.verdict, found=found, limit=limit, said=said)

    if contract.missing:
        pairs = [(p["missing"], p["rows"]) for p in before]
        if found := rules.share(now["missing"], now["rows"], pairs, contract.missing):
            yield result("missing", found, _shares(found, "of the rows have no value"))
    if contract.unseen and now.get("asked"):
        pairs = [(p["unseen"], p["asked"]) for p in before if p.get("asked")]
        own = now["unseen"], now["asked"], pairs or [(0, 1)]
        if found := rules.share(*own, contract.unseen, falls=False):
            yield result("unseen", found, _shares(found, "of the values are not known"))
    if contract.distance:
        numbers = "numbers" in now
        bins = [_bins(p) for p in before]
        how = {"numbers": numbers}
        if found := rules.distance(_bins(now), bins, contract.distance, **how):
            said = f"{100 * found.measured:.0f} % of the values lie elsewhere than before"
            yield result("distance", found, said)
    if contract.scale and "numbers" in now:
        yield from _scaled(now, before, contract, result)
    if contract.vanished and "named" in now:
        for value in sorted({v for p in before for v in p["named"]}):
            pairs = [(p["named"].get(value, 0), p["values"]) for p in before]
            own = now["named"].get(value, 0), now["values"], pairs
            found = rules.vanished(*own, contract.vanished)
            if found and found.verdict != PASS:
                what = f"of the values are {value!r}"
                yield result("vanished", found, _shares(found, what))


def _bins(found: Mapping) -> rules.Bins:
    return found["numbers"] if "numbers" in found else found["ids"]


def _scaled(now: Mapping, before: list, contract: Any, result) -> Iterable[dict]:
    found = rules.scale(now["numbers"], [p["numbers"] for p in before], contract.scale)
    if found:
        said = f"numbers are {_factor(found.measured)} what they were"
        unit = ": another unit?" if found.verdict != PASS else ""
        yield result("scale", found, said + unit)


def _factor(times: float) -> str:
    return f"{times:,.3g} times" if times >= 1 else f"1 / {1 / times:,.3g} of"


def _of_task(
    day: str, name: str, now: Mapping, before: list, *, contract: Any
) -> Iterable[dict]:
    def result(rule: str, found: Found, said: str) -> dict:
        limit, said = getattr(contract, rule), f"task {name}: {said}"
        return _result(rule, name, day, found.verdict, found=found, limit=limit, said=said)

    if contract.label_rate:
        pairs = [(p["positives"], p["rows"]) for p in before]
        found = rules.times(now["positives"], now["rows"], pairs, contract.label_rate)
        if found:
            yield result("label_rate", found, _shares(found, "of the labels are positive"))
    if contract.scale and "numbers" in now:
        yield from _scaled(now, before, contract, result)


def _with_swaps(results: list[dict], profile: Profile, before: list) -> list[dict]:
    """Results that say of features which one they look like now, if each the other."""
    found: dict[str, dict] = {}
    for result in results:
        name, rule = result["name"], result["rule"]
        if result["verdict"] != PASS and name in profile["features"]:
            found[name] = result if rule == "distance" else found.get(name, result)
    names = list(found)
    now = {name: profile["features"][name] for name in names}
    then = {name: _whole(before, name) for name in names}
    for one, other in itertools.combinations(names, 2):
        if all(
            _is_nearer(now[a], then[b], then[a]) for a, b in ((one, other), (other, one))
        ):
            for name, its in ((one, other), (other, one)):
                found[name]["verdict"] = REFUSE
                found[name]["reason"] += f": they are like those of {its}, swapped?"
    return results


def _whole(before: list, name: str) -> rules.Bins:
    return rules.add([_bins(p["features"][name]) for p in before if name in p["features"]])


def _is_nearer(now: Mapping, other: rules.Bins, own: rules.Bins) -> bool:
    """Whether values are like another feature's, and less like their own before."""
    mine = _bins(now)
    if not (mine and other and own):
        return False
    apart = rules.number_distance if "numbers" in now else rules.id_distance
    return apart(mine, other) < apart(mine, own) / 2
