"""docs/recovery.md says of each status what the code, and the manifests, make of it."""

import re
from pathlib import Path

import yaml

from steadyrank.pipeline.cli import application

ROOT = Path(__file__).resolve().parents[1]
AGAIN, LOOK = "again", "look"


def statuses() -> dict[int, str]:
    """Status -> the word for what to do, of the page's table."""
    page = (ROOT / "docs/recovery.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (?:\*(\w+)\*)?", page, re.M)
    return {int(status): word for status, word in rows}


def test_each_status_of_the_command_line_has_its_row():
    names = ("REFUSED", "BAD_INPUT", "DIVERGED", "BROKEN", "PASSING", "INTERRUPTED")
    assert {0, *(getattr(application, name) for name in names)} == set(statuses())
    words = {name: statuses()[getattr(application, name)] for name in names}
    assert words["BAD_INPUT"] == "mend" and words["PASSING"] == AGAIN
    assert words["BROKEN"] == LOOK and words["INTERRUPTED"] == AGAIN


def test_manifests_try_again_what_the_page_says_may_pass():
    mended_by_people = {s for s, word in statuses().items() if word in ("mend", "decide")}
    for path in sorted((ROOT / "docker/k8s").glob("*.yaml")):
        job = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))[-1]["spec"]
        job = job.get("jobTemplate", {}).get("spec", job)
        failed = [r for r in job["podFailurePolicy"]["rules"] if r["action"] == "FailJob"]
        ended = {s for rule in failed for s in rule["onExitCodes"]["values"]}
        assert ended == mended_by_people, path
        assert job["backoffLimit"] > 0, path
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))
    stages = ("preprocess", "train", "export", "evaluate", "release")
    assert {compose["services"][stage]["restart"] for stage in stages} == {"no"}


def test_statuses_of_faults_are_among_them():
    page = (ROOT / "docs/recovery.md").read_text(encoding="utf-8")
    faults = page.split("## Which fault")[1].split("\n\n")[1]
    rows = [row.split("|")[-2] for row in faults.strip().splitlines()[2:]]
    named = {int(n) for row in rows for n in re.findall(r"\b(\d{1,3})\b(?! seconds)", row)}
    assert len(rows) > 12 and named <= set(statuses())
