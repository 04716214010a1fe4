"""The command line: parse, call one function, say in a few lines how it went.

Exit status: 0 done, and gates passed; 1 a gate refused or held the model; 2 bad config
or input; 3 training diverged; 70 an error of ours, with a traceback; 75 a fault that may
be gone at the next try.
"""

from steadyrank.pipeline.cli import check, propose, stages, studies, views  # noqa: F401  (each adds its commands)
from steadyrank.pipeline.cli.application import app, main

__all__ = ["app", "main"]
