"""Stages of one run as one run of MLflow, which no stage ever waits for."""
