"""``TF_CONFIG``: the machines that one training goes over, and which of them this is.

    {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}

The variable is TensorFlow's own; what it says is checked here before TensorFlow sees it,
which would wait for a machine that nobody can reach.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from steadyrank.pipeline.files.errors import InputError

VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")  # in the order in which their machines are counted
FORM = (
    '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Cluster:
    """Several processes that train one model together.

    Attributes:
        addresses: ``host:port`` of each, in their order; the first is the chief.
        index: Which of them this process is.
        has_chief: Whether the first stands under ``chief``, and not under ``worker``.
    """

    addresses: tuple[str, ...]
    index: int
    has_chief: bool = False

    @property
    def jobs(self) -> dict[str, int]:
        """TensorFlow's name of a kind of machine -> how many there are."""
        chiefs = {"chief": 1} if self.has_chief else {}
        return {**chiefs, "worker": len(self.addresses) - len(chiefs)}


def cluster(environment: Mapping[str, str] | None = None) -> Cluster | None:
    """What ``TF_CONFIG`` says; None: this process trains alone.

    Args:
        environment: By default that of the process.

    Raises:
        InputError: It is malformed, or names machines that are none of ours to use.
    """
    text = (os.environ if environment is None else environment).get(VARIABLE, "")
    if not text.strip():
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"it is no JSON ({error})", text) from None
    jobs, task = _objects(content, text)
    addresses = [_address(each, text) for job in JOBS for each in jobs.get(job, [])]
    if repeated := sorted({each for each in addresses if addresses.count(each) > 1}):
        raise _malformed(f"{repeated[0]} stands there twice", text)
    if not addresses:
        return None
    kind, index = task.get("type"), task.get("index")
    if kind not in JOBS or not _is_index(index, len(jobs.get(kind, []))):
        sizes = ", ".join(f"{job} 0 to {len(jobs[job]) - 1}" for job in JOBS if job in jobs)
        raise _malformed(f"task must be one of the cluster's: {sizes}", text)
    before = len(jobs.get("chief", [])) if kind == "worker" else 0
    if len(addresses) == 1:
        return None
    return Cluster(tuple(addresses), before + index, "chief" in jobs)


def require_one_machine(command: str) -> None:
    """Raise where ``TF_CONFIG`` names several machines, and a command is for one.

    Raises:
        InputError: It does, or is malformed.
    """
    found = cluster()
    if found:
        raise InputError(
            f"{VARIABLE} names {len(found.addresses)} machines, and `{command}` works on "
            "one: only `train` goes over several. Unset it for other commands, and call "
            "them once."
        )


def _objects(content: object, text: str) -> tuple[dict, dict]:
    """The lists of machines, and the task."""
    jobs = content.get("cluster", {}) if isinstance(content, dict) else None
    task = content.get("task", {}) if isinstance(content, dict) else None
    if not isinstance(jobs, dict) or not isinstance(task, dict):
        raise _malformed("cluster and task must be objects", text)
    if unknown := sorted(set(jobs) - set(JOBS)):
        raise _malformed(f"{unknown[0]} is neither chief nor worker", text)
    for job, machines in jobs.items():
        if not isinstance(machines, list) or not machines:
            raise _malformed(f"{job} must be a list of machines", text)
    if len(jobs.get("chief", [])) > 1:
        raise _malformed("there must be one chief", text)
    return jobs, task


def _address(given: object, text: str) -> str:
    host, _, port = str(given).rpartition(":")
    named = isinstance(given, str) and host and "/" not in host
    if not (named and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise _malformed(f"a machine must be host:port, and one is {given!r}", text)
    return given


def _is_index(index: object, size: int) -> bool:
    return type(index) is int and 0 <= index < size


def _malformed(what: str, text: str) -> InputError:
    return InputError(
        f"{VARIABLE} must look like {FORM}: {what}. Received: {text[:300]}. Unset it to "
        "train on one machine."
    )
