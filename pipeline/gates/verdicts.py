"""The three verdicts: it keeps its limits, the data cannot tell, it does not."""

PASS, HOLD, REFUSE = "PASS", "HOLD", "REFUSE"
