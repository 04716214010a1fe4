"""What became of every row that was read, and what a manifest says of it, of any kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steadyrank.pipeline.examples.compatibility import read_by_preprocessing
from steadyrank.pipeline.examples.identity import union
from steadyrank.pipeline.files.errors import InputError, NoRowsError
from steadyrank.pipeline.raw_log.findings import spellings
from steadyrank.pipeline.raw_log.open import Log
from steadyrank.pipeline.raw_log.rejected import explained


@dataclass(frozen=True)
class Account:
    """The rows of the log, each under one of the counts.

    Attributes:
        read: Rows of the windows asked for, and those of which nobody knows the window.
        unkeyed: The latter.
        outside: Rows of other windows.
        written: Rows of the record files, drawn ones among them.
        duplicates: Rows that were there twice.
        rejected: Reason -> rows.
        dropped: Reason -> rows that the config leaves out.
        drawn: Rows that are not of the log.
    """

    read: int
    unkeyed: int
    outside: int
    written: int
    duplicates: int
    rejected: Mapping[str, int]
    dropped: Mapping[str, int]
    drawn: int = 0

    def require_all(self) -> None:
        """Raise where a row is neither written nor said to be left out.

        Raises:
            RuntimeError: Some are lost, or doubled.
        """
        gone = self.duplicates + sum(self.rejected.values()) + sum(self.dropped.values())
        if self.read + self.drawn != self.written + gone:
            said = f"read={self.read} written={self.written} drawn={self.drawn} {gone=}"
            raise RuntimeError(f"rows were lost: {said}, of which {self}")


def take_account(
    plan, summary: dict, dropped: Mapping[str, int], *, drawn: int = 0
) -> Account:
    """Count what a job found: rows are there, and few of them were rejected.

    Args:
        plan: Of the job, of either kind.
        summary: What ``run_job`` gave.
        dropped: Reason -> rows that the config leaves out.
        drawn: Rows that are not of the log.

    Raises:
        InputError: There are no rows, or more were rejected than the config allows.
    """
    counts = summary["counts"]
    found = Account(
        read=counts.get("read", 0),
        unkeyed=counts.get("unkeyed", 0),
        outside=counts.get("outside", 0),
        written=sum(file["rows"] for file in summary["files"]),
        duplicates=counts.get("duplicates", 0),
        rejected=counts_under(counts, "rejected/"),
        dropped=dropped,
        drawn=drawn,
    )
    if not found.read or (found.outside and found.read == found.unkeyed):
        raise NoRowsError(
            f"{', '.join(plan.log.files)}: no rows{plan.addition.span(plan.after)}."
        )
    check_rejected(
        plan,
        found.rejected,
        found.read,
        found.unkeyed,
        outside=found.outside,
        samples=summary["samples"],
    )
    return found


def counts_under(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    """The counters whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): n for k, n in counts.items() if k.startswith(prefix)}


def check_rejected(
    plan,
    rejected: dict[str, int],
    read: int,
    unkeyed: int = 0,
    *,
    outside: int = 0,
    samples: dict[str, dict] | None = None,
) -> None:
    """Raise where more rows had to be rejected than the config allows.

    Args:
        plan: Of the job.
        rejected: Reason -> rows.
        read: Rows of the windows asked for, and those of which nobody knows the window.
        unkeyed: The latter.  Windows that were not asked for bear their share of them.
        outside: Rows of those windows.
        samples: Reason -> what is to be shown of its first row.
    """
    total, limit = sum(rejected.values()), plan.config.data.max_rejected
    inside = read - unkeyed
    share = inside / (inside + outside) if outside else 1
    counted = total - unkeyed + unkeyed * share
    if counted > limit * (inside + unkeyed * share) or (read and total == read):
        reasons = "; ".join(
            f"{reason}: {n}{explained(reason, (samples or {}).get(reason))}"
            for reason, n in sorted(rejected.items())
        )
        raise InputError(
            f"{total} of {read} rows were rejected, more than data.max_rejected="
            f"{limit} allows. Reasons: {reasons}. Mend the log, or raise the limit."
            + f" ({unkeyed} of them, of no readable day, count by a share of {share:.2%}: "
            f"{outside} rows are of other days.)" * (outside > 0)
        )


def told(
    plan,
    summary: dict,
    account: Account,
    taken: Sequence[dict],
    *,
    sides: Sequence[Log] = (),
) -> dict:
    """What a manifest of either kind says of where its rows come from.

    Args:
        plan: Of the job.
        summary: What ``run_job`` gave.
        account: Of its rows.
        taken: Files of the base that were taken over.
        sides: Side tables that were joined.
    """
    logs = (plan.log, *sides)
    old = sum(file["rows"] for file in taken)
    return {
        "fingerprint": summary["schema"]["fingerprint"],
        "rows": {
            "read": old + account.read,
            "written": old + account.written,
            "duplicates": account.duplicates,
            "rejected": account.rejected,
        },
        "samples": summary["samples"],
        "spellings": spellings(summary["counts"], plan.spelled),
        "passed_over": plan.log.passed_over,
        "absent": {n: list(paths) for log in logs for n, paths in log.absent.items()},
        "renamed": {n: near for log in logs for n, near in log.renamed.items()},
        "taken_over": old,
        "outside": account.outside,
        "input": list(plan.log.files),
        "config": read_by_preprocessing(plan.config),
    }


def identities(found: Sequence[tuple[str, dict]]) -> dict[str, dict]:
    """Evaluation split -> which rows it holds, of what was said of each file's."""
    by_split: dict[str, list] = {}
    for split, identity in found:
        by_split.setdefault(split, []).append(identity)
    return {split: union(each) for split, each in sorted(by_split.items())}
