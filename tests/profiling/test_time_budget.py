"""A budget through the library and the command line, and what it means for unfinished work."""

from __future__ import annotations

from pathlib import Path

import pytest

from datacurate import profiling
from datacurate.cli.profile import parse_time
from datacurate.data import load
from datacurate.errors import StateError, UsageError
from datacurate.formats import rankfile
from datacurate.profiling.time_budget import within_budget
from datacurate.recipes import PROFILE_RECIPES, with_settings

RECIPE = with_settings(PROFILE_RECIPES["smoke"], ["width=4", "dtype=float32", "epochs=3"])


def test_unfinished_work_keeps_its_numbers(tmp_path: Path) -> None:
    data, out = load("digits"), tmp_path / "digits.ranks.h5"
    chosen = within_budget(profiling.plan(RECIPE, data, out), 3600.0)
    recipe = chosen.requested
    assert (recipe.runs, recipe.training.epochs) == (10, 3)  # seconds of work in an hour
    assert (chosen.recipe.runs, chosen.recipe.training.epochs) == (10, 3)

    def stop(progress: profiling.ProfileProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profiling.run(chosen, on_epoch=stop)
    with pytest.raises(UsageError, match="not even 2 epochs"):
        within_budget(profiling.plan(RECIPE, data, tmp_path / "other.ranks.h5"), 1e-3)
    resumed = within_budget(profiling.plan(RECIPE, data, out), 1e-3)
    assert resumed.requested == recipe
    assert resumed.recipe == chosen.recipe
    with pytest.raises(UsageError, match="not even 2 epochs"):
        within_budget(profiling.plan(RECIPE, data, out, force=True), 1e-3)
    # The numbers of another recipe are not used, and `run` says what differs.
    other = with_settings(RECIPE, ["radius=5"])
    changed = within_budget(profiling.plan(other, data, out), 1e-3)
    assert changed.requested == other
    with pytest.raises(StateError, match="another recipe"):
        profiling.run(changed)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from datacurate.cli.profile import profile

    out = tmp_path / "d.ranks.h5"
    settings = ["width=4", "dtype=float32"]
    profile("digits", recipe="smoke", settings=settings, out=out, budget="1h")
    said = capsys.readouterr()
    assert "within 60 min: 10 runs of 2 epochs" in said.err
    assert rankfile.read(out).runs == 10


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("1h30m", 5400), ("90s", 90), ("0.5h", 1800)]
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["30", "m", "", "0m", "-5m", "1.2.3m", "soon"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        parse_time(text)
