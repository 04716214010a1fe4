"""Preprocessing on clusters of Flink and Spark that are started on this machine."""
