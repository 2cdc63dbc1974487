"""Scores → kept rows: one sampler a module, one table of them."""
