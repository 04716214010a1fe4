"""Optimizers of dense weights and of embedding rows, each rule a pure function."""
