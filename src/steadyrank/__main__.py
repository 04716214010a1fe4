"""``python -m steadyrank`` is ``steadyrank``."""

from steadyrank.pipeline.cli import main

main()
