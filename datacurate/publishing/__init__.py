"""Fetch published ranks by name, and publish ranks with a card; both are checked."""
