"""Tables of what takes time, each with the load of the machine that it was taken at."""

from benchmarks.pages.form import markdown, times


def preprocess(kept: dict) -> str:
    """The whole job beside a naive Beam pipeline."""
    found = kept["result"]
    rows = [
        ["rows a second", _rounded(found["rows_per_s"])],
        ["the naive pipeline's", _rounded(found["naive_rows_per_s"])],
        ["ratio", f"{times(found['ratio'])} times"],
        ["peak memory", f"{found['peak_memory_mb']:,.0f} MB"],
        ["the naive pipeline's", f"{found['naive_peak_memory_mb']:,.0f} MB"],
        ["rows; the naive pipeline's", f"{found['rows']:,}; {found['naive_rows']:,}"],
    ]
    return markdown(["", "measured"], [*rows, _load(kept)])


def reading(kept: dict) -> str:
    """Packed examples beside one ``tf.Example`` a row, by the size of a batch."""
    rows = [
        [
            f"{int(size):,}",
            _rounded(found["rows_per_s"]),
            _rounded(found["row_layout_rows_per_s"]),
            times(found["ratio"]),
            times(found["cpu_ratio"]),
        ]
        for size, found in kept["result"]["batches"].items()
    ]
    heads = ["rows of a batch", "rows a second", "row by row", "ratio", "of CPU seconds"]
    found = kept["result"]
    more = [
        ["bytes a row", f"{found['bytes_per_row']:.0f}"],
        ["bytes a row, row by row", f"{found['row_layout_bytes_per_row']:.0f}"],
        _load(kept),
    ]
    return f"{markdown(heads, rows)}\n{markdown(['', 'measured'], more)}"


def step(kept: dict) -> str:
    """A step of CowClip's, over others: of 1 is as long as theirs."""
    found = kept["result"]
    words = {
        "dense_ratio_8m_1k": "the dense form's time over ours, 8 M ids, batch 1,024",
        "dense_ratio_8m_64k": "the same, batch 65,536",
        "keras_ratio_8m_1k": "Keras' Adam without L2, over ours, 8 M ids, batch 1,024",
        "vocab_growth": "ours at 33 M ids over ours at 1 M, batch 1,024",
        "floor_ratio_1k": "ours over the MLP alone, batch 1,024",
        "floor_ratio_8k": "the same, batch 8,192",
        "memory_ratio": "largest resident set over parameters and their slots, 8 M ids",
    }
    rows = [[text, times(found[key], 2)] for key, text in words.items()]
    return markdown(["", "measured"], [*rows, _load(kept)])


def storage(kept: dict) -> str:
    """Reading for training from a bucket beside reading local files."""
    found = kept["result"]
    rows = [
        ["rows; size", f"{found['rows']:,}; {found['megabytes']:.0f} MB"],
        ["rows a second, local files", _rounded(found["local_rows_per_s"])],
        ["rows a second, bucket, by tensorflow-io", _rounded(found["s3_rows_per_s"])],
        ["rows a second, bucket, without it", _rounded(found["without_tfio_rows_per_s"])],
        ["bucket over local, by tensorflow-io", times(found["s3_over_local"], 2)],
        ["bucket over local, without it", times(found["without_tfio_over_local"], 2)],
        ["without tensorflow-io over with it", times(found["without_over_with_tfio"], 2)],
    ]
    return markdown(["", "measured"], [*rows, _load(kept)])


def scoring(kept: dict) -> str:
    """Tables of each size: speed, memory, and how far from what is served."""
    rows = [
        [
            f"{int(size):,}",
            _rounded(int(size) / found["seconds"]),
            f"{found['cpu_seconds']:.0f}",
            f"{found['peak_mb']:,} MB",
            f"{found['difference']['probability']:.2g}",
            f"{found['difference']['value']:.2g}",
        ]
        for size, found in kept["result"]["sizes"].items()
    ]
    heads = ["rows", "rows a second, start included", "CPU seconds", "peak memory"]
    heads += ["largest difference of a probability", "of a watch time, as a share"]
    return f"{markdown(heads, rows)}\n{markdown(['', 'measured'], [_load(kept)])}"


def serving(kept: dict) -> str:
    """Latency by threads, candidates and signature."""
    runs = [
        [
            str(run["threads"]),
            f"{run['rows']:,}",
            run["signature"],
            f"{run['p50_ms']:.1f}",
            f"{run['p99_ms']:.1f}",
        ]
        for run in kept["result"]["runs"]
    ]
    heads = ["threads", "candidates", "signature", "p50, ms", "p99, ms"]
    found = kept["result"]
    rows = [
        [
            "raw over candidates, p50, 500 candidates, one thread",
            times(found["candidate_over_raw_speedup"], 2),
        ],
        ["the same without the handing over of inputs", times(found["graph_speedup"], 2)],
        ["raw over encoded", times(found["raw_overhead"], 2)],
        _load(kept),
    ]
    return f"{markdown(heads, runs)}\n{markdown(['', 'measured'], rows)}"


def _rounded(value: float) -> str:
    """To three digits."""
    return f"{float(f'{value:.3g}'):,.0f}"


def _load(kept: dict) -> list[str]:
    """Times count at a load of about 0; ratios of sides that took turns, at any."""
    cores = kept["machine"]["cores"]
    before, after = kept["load"]
    return [f"load of the machine before and after, of {cores} cores", f"{before}, {after}"]
