"""`datacurate demo`: profile, prune and verify in two minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datacurate.cli import console
from datacurate.cli.options import Force

if TYPE_CHECKING:
    from datacurate.verification import VerificationProgress


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files go.")] = Path(
        "demo"
    ),
    force: Force = False,
) -> None:
    """Find planted wrong labels in a small data set: all steps.

    scikit-learn's 8×8 digits, 5 % of the labels planted wrong: three profiling runs,
    the most problematic tenth dropped, kept against all against random. Two minutes
    on two cores, no downloads.

    Example: datacurate demo --out demo
    """
    import time

    from datacurate import demo as library
    from datacurate.cli.progress import LiveProgress, duration
    from datacurate.cli.verification_report import print_verification
    from datacurate.recipes import PROFILE_RECIPES, VERIFY_RECIPES

    profile_recipe, verify_recipe = PROFILE_RECIPES["demo"], VERIFY_RECIPES["demo"]
    profiled = profile_recipe.runs * profile_recipe.training.epochs
    epochs = verify_recipe.training.epochs
    trainings = verify_recipe.seeds * len(verify_recipe.arms)
    started = time.monotonic()
    with LiveProgress(profiled + trainings * epochs) as live:

        def on_verify(progress: VerificationProgress) -> None:
            what = f"verify {progress.arm}"
            if progress.epoch is not None:
                before = profiled + (progress.unit - 1) * epochs
                live.epoch(what, before, 1.0, progress.epoch)
            else:
                live.attack(what, progress.attack, progress.done, progress.total)

        result = library.demo(
            out,
            force=force,
            on_profile=lambda p: live.epoch(
                f"profile {p.run}/{p.runs}",
                (p.run - 1) * profile_recipe.training.epochs,
                1.0,
                p.report,
            ),
            on_verify=on_verify,
        )
    console.say_out(
        f"planted {result.planted} wrong labels among {len(result.ranks):,} digits; the "
        f"{result.planted} most problematic examples hold {result.caught} of them "
        f"({result.caught / result.planted:.0%})"
    )
    console.say_out(
        f"pruning dropped {result.dropped} examples, {result.dropped_planted} of the "
        f"{result.planted} planted ones among them"
    )
    print_verification(result.verification)
    console.say_out(
        f"recipe demo ({result.ranks.provenance.recipe_hash}), seeds 0 to 2, "
        f"{duration(time.monotonic() - started)} in all; files in {out}/"
    )
    console.note(f"Next: datacurate show {out}/digits.ranks.h5")
