"""Attacks as functions of a model, pixels in [0, 1] and labels."""
