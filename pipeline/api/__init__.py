"""The commands as functions: what ``import steadyrank`` gives, and the command line calls.

A function has the name of its command, and its options with their defaults.  Beside them
stand ``beam_flags``, on the command line after ``--``, and ``progress``.
"""

from steadyrank.pipeline.api.before import check, init
from steadyrank.pipeline.api.results import (
    CheckResult,
    CompareResult,
    ImportanceResult,
    InitResult,
    InspectResult,
    NightResult,
    PruneResult,
    ReleaseResult,
    ReplayResult,
    ScoreResult,
    ServeCheckResult,
    StabilityResult,
    SweepResult,
    SynthesizeResult,
)
from steadyrank.pipeline.api.runs import nightly, prune, release, run
from steadyrank.pipeline.api.scores import score
from steadyrank.pipeline.api.stages import evaluate, export, preprocess, synthesize, train
from steadyrank.pipeline.api.studies import stability, sweep
from steadyrank.pipeline.api.views import compare, importance, inspect, replay, serve_check
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.files.errors import (
    DivergenceError,
    InputError,
    PassingError,
    RefusedError,
)
from steadyrank.pipeline.kinds.results import (
    EvaluateResult,
    ExportResult,
    PreprocessResult,
    TrainResult,
)
from steadyrank.pipeline.run import Progress, RunResult

__all__ = [
    "CheckResult",
    "CompareResult",
    "Config",
    "DivergenceError",
    "EvaluateResult",
    "ExportResult",
    "ImportanceResult",
    "InitResult",
    "InputError",
    "InspectResult",
    "NightResult",
    "PassingError",
    "PreprocessResult",
    "Progress",
    "PruneResult",
    "RefusedError",
    "ReleaseResult",
    "ReplayResult",
    "RunResult",
    "ScoreResult",
    "SequenceConfig",
    "ServeCheckResult",
    "StabilityResult",
    "SweepResult",
    "SynthesizeResult",
    "TrainResult",
    "check",
    "compare",
    "evaluate",
    "export",
    "importance",
    "init",
    "inspect",
    "nightly",
    "preprocess",
    "prune",
    "release",
    "replay",
    "run",
    "score",
    "serve_check",
    "stability",
    "sweep",
    "synthesize",
    "train",
]
