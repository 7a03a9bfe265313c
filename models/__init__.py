"""Weights to an Encoder."""
