"""A small event log in plain Python, a config that reads it, and a naive reference."""

import copy
import csv
import datetime
import random

START = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
HOUR = 3600
CONFIG = {
    "data": {
        "input": ["events.csv"],
        "time_unit": "s",
        "sequences": {
            "user": "user",
            "item": "item",
            "time": "at",
            "length": 6,
            "min_length": 3,
            "min_count": 2,
            "keep": {"column": "stars", "at_least": 2},
        },
        "split": "leave_last_out",
        "max_rejected": 0.2,
    },
    "model": {"kind": "next_item", "dim": 8},
    "train": {
        "batch_size": 32,
        "dense": {"optimizer": "adam", "learning_rate": 0.03, "clip": "none"},
        "embedding": {"learning_rate": 0.03, "clip": "none"},
        "phases": [
            {"blocks": 1, "epochs": 4, "data_fraction": 0.5},
            {"blocks": 2, "grow": "unchanged", "epochs": 4},
        ],
    },
    "serving": {"k": 4},
}


def config_document(**changes) -> dict:
    """The config as a dictionary of its own; ``data__split={...}`` changes a key."""
    document = copy.deepcopy(CONFIG)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = document
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return document


def make_events(users=200, seed=1, dirty=True) -> list[dict]:
    """Events in which an item mostly is followed by the one after it, of twenty.

    With ``dirty``: repeated lines, missing users and items, times that cannot be read,
    events of few stars, items that occur once, and many events of one moment.
    """
    draw, events = random.Random(seed), []
    for user in range(users):
        item, at = draw.randrange(20), START.timestamp() + user * HOUR
        for _ in range(draw.randrange(1, 16)):
            item = (item + 1) % 20 if draw.random() < 0.8 else draw.randrange(20)
            at += draw.choice([0, 60, 30 * HOUR])
            events.append(
                {"user": f"u{user}", "item": f"i{item}", "at": int(at), "stars": 4}
            )
    if dirty:
        draw.shuffle(events)
        for event in events:
            chance = draw.random()
            if chance < 0.05:
                event["stars"] = 1
            elif chance < 0.08:
                event["item"] = f"rare{draw.randrange(10_000)}"
            elif chance < 0.09:
                event["user"] = ""
            elif chance < 0.1:
                event["at"] = "yesterday"
            elif chance < 0.11:
                event["item"] = ""
        events += [dict(event) for event in events[:7]]
    return events


def write_events(folder, events) -> None:
    """The log under the name that the config has."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(events[0]))
        writer.writeheader()
        writer.writerows(events)


def naive_histories(events, counts=None) -> dict[str, list[dict]]:
    """User -> its events in order, after what is rejected, left out and repeated."""
    counts = {} if counts is None else counts
    seen, histories = set(), {}
    for place, event in enumerate(events):
        if event["user"] == "" or event["item"] == "" or event["at"] == "yesterday":
            counts["rejected"] = counts.get("rejected", 0) + 1
        elif event["stars"] < 2:
            counts["below"] = counts.get("below", 0) + 1
        elif tuple(event.values()) in seen:
            counts["duplicates"] = counts.get("duplicates", 0) + 1
        else:
            seen.add(tuple(event.values()))
            histories.setdefault(event["user"], []).append({**event, "place": place})
    for history in histories.values():
        history.sort(key=lambda event: (event["at"], event["place"]))
    return histories


def naive_split(histories, split, length=6, shortest=3, moments=None):
    """Split -> sequences of raw items, and how many events are in none.

    Args:
        histories: From ``naive_histories``.
        split: ``"last"``, ``"time"`` or ``"pieces"`` (all in one part).
        length, shortest: As in the config.
        moments: Seconds since 1970 at which validation and test begin.
    """
    found, lost = {"train": [], "validation": [], "test": []}, 0
    for history in histories.values():
        if split != "pieces":  # of the whole history; a sequence needs two items
            if len(history) < shortest:
                lost += len(history)
                continue
            least = 2
        else:
            least = shortest
        items, ahead = [event["item"] for event in history], []
        for place in range(len(items)):
            part = "train"
            if split == "last" and place == len(items) - 1:
                part = "test"
            elif split == "last" and place == len(items) - 2:
                part = "validation"
            elif split == "time" and history[place]["at"] >= moments[1]:
                part = "test"
            elif split == "time" and history[place]["at"] >= moments[0]:
                part = "validation"
            if part == "train":
                ahead.append(items[place])
                continue
            sequence = items[: place + 1][-length:]
            if len(sequence) < least:
                lost += 1
            else:
                found[part].append(tuple(sequence))
        while ahead:
            ahead, piece = ahead[:-length], ahead[-length:]
            if len(piece) < least:
                lost += len(piece)
            else:
                found["train"].append(tuple(piece))
    return found, lost


def naive_vocabulary(sequences, least=2) -> list[str]:
    """Items of training sequences, the most frequent first, ties in their order."""
    counts = {}
    for sequence in sequences:
        for item in sequence:
            counts[item] = counts.get(item, 0) + 1
    known = [item for item, count in counts.items() if count >= least]
    return sorted(known, key=lambda item: (-counts[item], item))
