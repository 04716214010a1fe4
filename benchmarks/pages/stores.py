"""Tables of stores of nights, and of tables that were scored."""

import textwrap

from benchmarks.pages.form import count, gain, listed, markdown, share, span
from benchmarks.pages.speed import QUIET

WHY = 110  # characters of what a night was refused for
SIZES = {"1000000": "1 M", "5000000": "5 M"}


def thirty(kept: dict) -> str:
    """A row a night, as the store's index has it, and what happened to it."""
    found, rows = kept["result"], []
    for night in found["nights"]:
        version = "" if night["version"] is None else f"{night['version']} {night['state']}"
        statuses = listed(map(str, night["statuses"]))
        figures = [_figure(night["figures"].get(task)) for task in ("click", "seconds")]
        why = textwrap.shorten("; ".join(night["why"]), WHY, placeholder=" …")
        verdict = f"{night['verdict']}: {why}" if why else night["verdict"]
        cells = [night["day"], night["event"], statuses, verdict]
        rows.append([*cells, night["base"] or "", version.strip(), *figures])
    heads = ["day", "what happened", "exit status", "verdict", "base", "version"]
    table = markdown([*heads, "click, AUC", "seconds, RMSE"], rows)
    verdicts = listed(f"{count} {name}" for name, count in found["verdicts"].items())
    kinds = len([night for night in found["nights"] if night["event"]])
    wrong = len(found["wrong"])
    return (
        f"{table}\n{len(found['nights'])} nights: {verdicts}; {kinds} with an event. Ended "
        f"otherwise than they must: {wrong}. Kept: {found['whole_nights']} whole "
        f"nights, {found['releases_kept']} releases, {found['store_mb']} MB in all.\n"
    )


def churn(kept: dict) -> str:
    """Rows of the items' table by night, of either store, and what living costs in AUC."""
    found = kept["result"]
    some = [0, *range(9, found["nights"], 10)]
    kinds = {
        f"`expire_after: {found['living']['expire_after']}`, "
        f"`max_size: {found['living']['max_size']}`": "living",
        "neither": "growing",
    }
    rows = [
        [
            said,
            *(f"{found[f'{kind}_rows'][night]:,}" for night in some),
            share(found[f"{kind}_auc"]),
        ]
        for said, kind in kinds.items()
    ]
    heads = ["rows of the table after night", *(str(night + 1) for night in some)]
    table = markdown([*heads, f"mean AUC of the last {found['last']}"], rows)
    one = found["gain"]
    return (
        f"{table}\nIn AUC the first less the second, on the same rows: {gain(one['mean'])} "
        f"(95 % interval over {len(one['values'])} blocks of nights: "
        f"{span(one['interval'])}). {found['living_passed']} and "
        f"{found['growing_passed']} of {found['nights'] * found['seeds']} nights passed.\n"
    )


def _figure(found: dict | None) -> str:
    """A figure with its interval."""
    if not found or found["value"] is None:
        return ""
    form = share if found["metric"] == "auc" else "{:.2f}".format
    bounds = found["interval"]
    said = f" ({form(bounds[0])} to {form(bounds[1])})" if bounds else ""
    return f"{form(found['value'])}{said}"


def scored(kept: dict) -> str:
    """A row a size: memory, work and, where the machine was quiet, rows a second."""
    found, quiet = kept["result"], kept["load"][0] < QUIET
    heads = ["rows", "peak memory", "CPU seconds a million rows"]
    heads += ["rows a second"] * quiet
    heads += ["largest difference from what is served: probabilities", "watch times"]
    rows = []
    for size, one in found["sizes"].items():
        each = f"{one['cpu_seconds'] / int(size) * 1e6:.1f}"
        speed = [f"{count(int(size) / one['seconds'])} rows/s"] * quiet
        cells = [SIZES.get(size, size), f"{one['peak_mb']} MB", each, *speed]
        gaps = [f"{one['difference'][kind]:.1g}" for kind in ("probability", "value")]
        rows.append([*cells, *gaps])
    return markdown(heads, rows)
