"""Rank arithmetic on numbers alone: scores, ranking, selection and agreement."""
