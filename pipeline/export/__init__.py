"""Trained weights to a SavedModel that takes raw features."""
