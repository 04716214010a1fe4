"""What a new day of the log must keep of those before: counts, rules on them, a verdict.

preprocess ─ a profile of each day ─ statistics.json ─ the next days are held to it
"""
