"""Ranks for others: fetched by name, published with a card, both checked."""
