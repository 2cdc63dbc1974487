"""Readers of other programs' ranks and scores, one format a module."""
