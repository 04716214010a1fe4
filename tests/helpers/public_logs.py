"""Small logs in exactly the form in which the public ones are downloaded."""

import bz2
import csv
import gzip
import random

import numpy as np

from benchmarks.criteo import MISSING_IDS, generate, mix

AVAZU_HEADER = (
    "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,"
    "app_category,device_id,device_ip,device_model,device_type,device_conn_type,"
    "C14,C15,C16,C17,C18,C19,C20,C21"
)
KUAIRAND_LOG_HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,"
    "is_forward,is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,"
    "comment_stay_time,is_profile_enter,is_rand,tab"
)
KUAIRAND_USER_HEADER = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
    "follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,"
    "friend_user_num,friend_user_num_range,register_days,register_days_range,"
) + ",".join(f"onehot_feat{i}" for i in range(18))
KUAIRAND_VIDEO_HEADER = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag"
)
OPEN = {".gz": gzip.open, ".bz2": bz2.open}


def write_text(path, text: str) -> None:
    with OPEN.get(path.suffix, open)(path, "wt", newline="", encoding="utf-8") as file:
        file.write(text)


def criteo_lines(rows: int, seed: int = 1) -> list[list[str]]:
    """Label, I1 to I13, C1 to C26 of each row, as the Kaggle file has them."""
    data = generate(rows, 2000, seed)
    lines = []
    for label, numbers, ids in zip(data.labels, data.numbers, data.ids, strict=True):
        line = [str(int(label))]
        line += ["" if np.isnan(number) else str(int(number)) for number in numbers]
        for field, value in enumerate(ids):
            missing = value == 0 and MISSING_IDS[field]
            line.append("" if missing else hexadecimal(field, value))
        lines.append(line)
    return lines


def hexadecimal(field: int, value: int) -> str:
    return f"{int(mix(np.array([field * 10**6 + value], np.uint64))[0]) >> 32:08x}"


def write_criteo(path, lines: list[list[str]]) -> None:
    write_text(path, "".join("\t".join(line) + "\n" for line in lines))


def avazu_lines(rows: int, seed: int = 1) -> list[list[str]]:
    """As the Kaggle file has them, in the order of its header line."""
    draw = random.Random(seed)
    lines = []
    for _ in range(rows):
        device, site = draw.randrange(40), draw.randrange(12)
        click = int(draw.random() < 0.1 + 0.25 * (device % 2) + 0.02 * site)
        hour = f"1410{draw.randrange(21, 31)}{draw.randrange(24):02d}"
        line = [str(draw.randrange(10**19, 2 * 10**19)), str(click), hour, "1005", "0"]
        line += [hexadecimal(i, site if i < 3 else draw.randrange(9)) for i in range(6)]
        line += [hexadecimal(6 + i, device) for i in range(3)]
        line += ["1", "2", "15706", "320", "50", "1722", "0", "35", "-1", "79"]
        lines.append(line)
    return lines


def write_avazu(path, lines: list[list[str]]) -> None:
    text = "".join(",".join(line) + "\n" for line in lines)
    write_text(path, f"{AVAZU_HEADER}\n{text}")


def write_kuairand(folder, rows: int, seed: int = 1) -> list[dict]:
    """The four CSV files that the config reads; returns the log's rows."""
    draw = random.Random(seed)
    days = [*range(20220408, 20220431), *range(20220501, 20220509)]
    log = [_exposure(draw, days[i * len(days) // rows]) for i in range(rows)]
    first = [row for row in log if row["date"] <= 20220421]
    _write_csv(folder / "log_standard_4_08_to_4_21_pure.csv", KUAIRAND_LOG_HEADER, first)
    second = log[len(first) :]
    _write_csv(folder / "log_standard_4_22_to_5_08_pure.csv", KUAIRAND_LOG_HEADER, second)
    users = [_user(draw, user) for user in range(30)]
    _write_csv(folder / "user_features_pure.csv", KUAIRAND_USER_HEADER, users)
    videos = [_video(draw, video) for video in range(50)]
    _write_csv(folder / "video_features_basic_pure.csv", KUAIRAND_VIDEO_HEADER, videos)
    return log


def _write_csv(path, header: str, rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header.split(","), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _exposure(draw: random.Random, date: int) -> dict:
    user, video = draw.randrange(30), draw.randrange(50)
    click = int(draw.random() < 0.2 + 0.4 * (video % 2))
    hour = draw.randrange(24)
    days_since = (date // 100 % 100 - 4) * 30 + date % 100 - 1  # since 2022-04-01
    start = 1_648_742_400_000  # 2022-04-01 00:00 in Shanghai
    rare = {
        name: int(draw.random() < 0.1)
        for name in ("is_like", "is_follow", "is_comment", "is_profile_enter")
    }
    return {
        "user_id": user,
        "video_id": video,
        "date": date,
        "hourmin": hour * 100,
        "time_ms": start + (days_since * 24 + hour) * 3_600_000 + draw.randrange(3_600_000),
        "is_click": click,
        "is_forward": 0,
        "is_hate": 0,
        "long_view": int(click and draw.random() < 0.6),
        "play_time_ms": draw.randrange(60_000),
        "duration_ms": draw.randrange(5_000, 200_000),
        "profile_stay_time": 0,
        "comment_stay_time": 0,
        "is_rand": 0,
        "tab": draw.randrange(3),
        **rare,
    }


def _user(draw: random.Random, user: int) -> dict:
    row = dict.fromkeys(KUAIRAND_USER_HEADER.split(","), 0)
    row |= {f"onehot_feat{i}": draw.choice([0.0, 1.0, ""]) for i in range(12, 18)}
    row |= {
        "user_id": user,
        "user_active_degree": draw.choice(["full_active", "high_active", "UNKNOWN"]),
        "is_live_streamer": draw.choice([0, -124]),
        "follow_user_num": draw.randrange(500),
        "follow_user_num_range": draw.choice(["(0,10]", "(250,500]"]),  # quoted in CSV
        "fans_user_num_range": "[1,10)",
        "friend_user_num_range": "0",
        "register_days": draw.randrange(100, 2000),
        "register_days_range": "730+",
    }
    return row


def _video(draw: random.Random, video: int) -> dict:
    return {
        "video_id": video,
        "author_id": 7_000_000 + video // 3,
        "video_type": "NORMAL" if video else "UNKNOWN",
        "upload_dt": f"2022-04-{1 + video % 9:02d}",
        "upload_type": draw.choice(["LongImport", "Kmovie"]),
        "visible_status": 0.0,
        "video_duration": draw.choice([87433.0, ""]),
        "server_width": 720.0,
        "server_height": 1280.0,
        "music_id": 9_155_697_141 + video,
        "music_type": draw.choice([9.0, 4.0, ""]),
        "tag": draw.choice(["39", "2,12", ""]),
    }
