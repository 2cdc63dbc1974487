"""Provenance of ranks: recipe, runs, software, hardware, source of the data, time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from datacurate.machine import environment
from datacurate.recipes import ProfileRecipe, as_dict, stored_recipe_hash


@dataclass(frozen=True)
class Provenance:
    """The origin of the ranks of a file.

    Attributes
    ----------
    kind : str
        ``"profile"``, ``"import"``, or a word of a later version.
    aggregation : str
        How `problematic_rank` follows from the runs: ``"mean-rank"``, ``"pooled"``; ``"column"``
        if it follows from the column that `source` names, or ``"given"`` if it was imported
        unchanged.
    runs : tuple of mapping
        For each run ``epochs`` and, where known, ``seed``, ``seconds``, ``best_epoch``,
        ``clean_accuracy`` and ``robust_accuracy`` (in [0, 1], at the best checkpoint), and other
        JSON values.
    recipe : mapping or None
        The complete recipe as `datacurate.recipes.as_dict` gives it.
    recipe_hash : str
        16 hex digits; empty without a recipe.
    environment : mapping
        See `environment`.
    source : mapping
        Where the data came from.
    created : str
        Time of writing, UTC, ISO 8601.
    parents : tuple of mapping
        ``name`` and ``sha256`` of each file that these ranks were derived from.
    """

    kind: str
    aggregation: str
    runs: tuple[Mapping[str, Any], ...]
    recipe: Mapping[str, Any] | None = None
    recipe_hash: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    parents: tuple[Mapping[str, str], ...] = ()

    @property
    def epochs(self) -> tuple[int, ...]:
        """The number of epochs of each run."""
        return tuple(int(run["epochs"]) for run in self.runs)

    @property
    def of_runs(self) -> bool:
        """Whether the rank follows from columns of the runs."""
        return self.aggregation not in ("column", "given")

    @property
    def rank_by(self) -> tuple[str, ...]:
        """The columns by which each run ranks the examples."""
        stated = (self.recipe or {}).get("rank_by")
        return tuple(map(str, stated)) if isinstance(stated, list) else ("instability",)


def of_profile(
    recipe: ProfileRecipe,
    runs: Sequence[Mapping[str, Any]],
    source: Mapping[str, Any],
    hardware: Mapping[str, Any] | None = None,
) -> Provenance:
    """Return the provenance of ranks that were profiled now on this machine.

    Parameters
    ----------
    recipe : ProfileRecipe
        Resolved.
    runs : sequence of mapping
        One for each finished run; see `Provenance`.
    source : mapping
        Where the data came from.
    hardware : mapping, optional
        Facts about the device, such as ``{"gpu": "NVIDIA A100"}``.
    """
    values = as_dict(recipe)
    return Provenance(
        kind="profile",
        aggregation=recipe.aggregate,
        runs=tuple(dict(run) for run in runs),
        recipe=values,
        recipe_hash=stored_recipe_hash(values),
        environment={**environment(), **(hardware or {})},
        source=dict(source),
        created=now(),
    )


def now() -> str:
    """Return the time, UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
