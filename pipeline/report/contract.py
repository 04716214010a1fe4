"""The report's account of the data contract: which days were held, and what was found."""

from collections.abc import Mapping

from steadyrank.pipeline.report.elements import (
    Column,
    Markup,
    details,
    join,
    number,
    paragraph,
    table,
)


def contract(verdict: Mapping) -> Markup:
    """What each rule found of the new days.

    Args:
        verdict: ``contract`` of ``manifest.json``.
    """
    against, days = verdict["against"], verdict["days"]
    if not days:
        return paragraph("No new day was held to it.")
    said = f"{verdict['verdict']}: {', '.join(days)}, held to {len(against)} days from "
    said += f"{against[0]} to {against[-1]}."
    results = verdict["results"]
    apart = [found for found in results if found["verdict"] != "PASS"]
    reasons = table(
        [Column("Verdict", False), Column("Reason", False)],
        [[found["verdict"], found["reason"]] for found in apart],
    )
    parts = [paragraph(said), *([reasons] if apart else [])]
    return join([*parts, details("All rules", _all(results))])


def _all(results: list[dict]) -> Markup:
    columns = [Column(n, False) for n in ("Day", "Rule", "Of", "Verdict")]
    columns += map(Column, ("Measured", "Lowest before", "Highest before", "Limit"))
    return table(
        columns,
        [
            [found["day"], found["rule"], found["name"], found["verdict"]]
            + [_short(found["measured"]), *map(_short, found["before"] or (None, None))]
            + [_short(found["limit"])]
            for found in results
        ],
    )


def _short(value: float | None) -> str:
    return "" if value is None else number(value, ".4g")
