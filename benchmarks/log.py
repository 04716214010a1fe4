"""The input of the benchmarks: a synthetic log, and the config that goes with it."""

from pathlib import Path

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "demo.yaml"
SEED = 1


def write_log(rows: int, folder: Path) -> Path:
    """Write the synthetic log of ``rows`` rows into ``folder``, always the same bytes."""
    from steadyrank.pipeline.synthetic import synthesize

    log = Path(folder) / f"log-{rows}"
    synthesize(rows, SEED, log)
    return log
