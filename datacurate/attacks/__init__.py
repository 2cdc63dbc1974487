"""Attacks on a model: one attack a module; see `table` for all of them and `suites` for suites.

Pixels are in [0, 1]; radii and steps are in pixel units unless a name says `255`.
"""
