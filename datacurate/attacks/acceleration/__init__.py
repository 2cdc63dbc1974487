"""Faster passes through a network under attack, each proved against the plain pass."""
