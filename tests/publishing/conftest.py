"""Publishing is tested against the same Hub server as fetching."""

from __future__ import annotations

from tests.remote.conftest import hub, hub_client, second_cache

__all__ = ["hub", "hub_client", "second_cache"]
