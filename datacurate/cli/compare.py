"""`datacurate compare`: agreement of rank files, or of the runs in one file."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datacurate.cli import console
from datacurate.cli.options import Json

if TYPE_CHECKING:
    from datacurate.formats.rankfile import RankFile
    from datacurate.ranks.comparison import Comparison
    from datacurate.ranks.enough import Enough
    from datacurate.ranks.ranking import Ranking

_PAIRS_SHOWN = 6


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(help="Rank files (.ranks.h5) of one data set. With one file: its runs."),
    ],
    *,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="COLUMN",
            help="Order by this column instead of the rank. Repeatable, to compare measures.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        str, typer.Option(metavar="AMOUNT", help="How many most problematic to compare.")
    ] = "20%",
    keep: Annotated[
        str, typer.Option(metavar="AMOUNT", help="How many most friendly to compare.")
    ] = "80%",
    per_class: Annotated[bool, typer.Option("--per-class", help="Compare each class too.")] = False,
    repetitions: Annotated[
        int, typer.Option(help="Random draws for each interval of the runs.", min=10)
    ] = 100,
    as_json: Json = False,
) -> None:
    """Compare ranks: Spearman, Kendall, the most problematic and the kept examples.

    With a single file, its runs are compared: how well halves of the runs agree, and how
    many of the kept examples other runs might drop.

    Example: datacurate compare mine.ranks.h5 theirs.ranks.h5 --per-class
    """
    from datacurate.errors import UsageError
    from datacurate.formats import rankfile
    from datacurate.ranks.agreement import shared_rows
    from datacurate.ranks.comparison import compare as compare_orders
    from datacurate.ranks.comparison import compare_by_class
    from datacurate.selection.amounts import parse_amount

    loaded = [rankfile.read(path) for path in files]
    _require_same_data(files, loaded)
    of_runs = len(files) == 1 and len(by or []) < 2
    orders = _runs(files[0], loaded[0], by) if of_runs else _orders(files, loaded, by)
    if len(orders) < 2:
        raise UsageError(
            f"{files[0]} has one run and nothing to compare it with",
            hint="name a second file, or profile with --set runs=3",
        )
    names = list(orders)
    shared = min(len(shared_rows(orders[a], orders[b], None)) for a, b in combinations(names, 2))
    kept, most = parse_amount(keep, shared), parse_amount(top, shared, "--top")
    found = {
        (a, b): compare_orders(orders[a], orders[b], kept, fraction=most / shared)
        for a, b in combinations(names, 2)
    }
    labels = loaded[0].identity.labels
    if per_class and not loaded[0].identity.labelled:
        raise UsageError(f"{files[0]} does not know the classes of its examples")
    classes = {
        (a, b): compare_by_class(
            orders[a], orders[b], labels, kept / shared, fraction=most / shared
        )
        for a, b in (found if per_class else ())
    }
    enough = _enough(list(orders.values()), kept, most / shared, repetitions) if of_runs else None
    class_names = loaded[0].identity.class_names
    if as_json:
        console.print_json(_result(found, classes, class_names, enough))
        return
    _print(found)
    for pair, by_class in classes.items():
        console.say_out(f"{pair[0]} and {pair[1]}, by class:")
        for label, each in by_class.items():
            console.say_out(f"  {class_names[label]}: {_line(each)}")
    if enough is not None:
        _print_enough(enough, shared)


def _require_same_data(files: list[Path], loaded: list[RankFile]) -> None:
    from datacurate.identity import require_match

    for path, ranks in zip(files[1:], loaded[1:], strict=True):
        match = require_match(ranks.identity, loaded[0].identity, f"the ranks in {path}")
        if match.warning is not None:
            console.warn(f"{path} and {files[0]}: {match.warning}")


def _runs(path: Path, ranks: RankFile, by: list[str] | None) -> dict[str, Ranking]:
    """Return the order of every run of a file, by the columns that its recipe ranks by."""
    from datacurate.errors import UsageError

    if by:
        raise UsageError(
            "the runs of one file are compared by the columns of its recipe",
            hint="name two columns, or two files, to compare by columns",
        )
    if "instability" not in ranks.columns:
        raise UsageError(f"{path} has no runs to compare", hint="name a second file")
    return {f"run {run}": ranks.run_ranking(run) for run in range(ranks.runs)}


def _orders(files: list[Path], loaded: list[RankFile], by: list[str] | None) -> dict[str, Ranking]:
    """Return the order of every file by every column named, or by its rank."""
    from datacurate.formats.ordering import RANK, rank_by

    orders: dict[str, Ranking] = {}
    for number, (path, ranks) in enumerate(zip(files, loaded, strict=True), start=1):
        for column in by or [RANK]:
            order = ranks.ranking() if column == RANK else rank_by(ranks, column)
            name = column if len(files) == 1 else f"{path.name} {column}" if by else path.name
            orders[name if name not in orders else f"{name} ({number})"] = order
    return orders


def _enough(runs: list[Ranking], keep: int, fraction: float, repetitions: int) -> Enough:
    from datacurate.ranks.enough import enough_runs

    return enough_runs(runs, keep, fraction=fraction, repetitions=repetitions)


def _result(
    found: dict[tuple[str, str], Comparison],
    classes: dict[tuple[str, str], dict[int, Comparison]],
    class_names: tuple[str, ...],
    enough: Enough | None,
) -> dict[str, Any]:
    from dataclasses import asdict

    from datacurate.ranks.comparison import mean_comparison

    pairs = []
    for pair, each in found.items():
        stated: dict[str, Any] = {"between": list(pair), **each.as_dict()}
        if pair in classes:
            stated["classes"] = [
                {"name": class_names[label], **part.as_dict()}
                for label, part in classes[pair].items()
            ]
        pairs.append(stated)
    return {
        "pairs": pairs,
        "mean": mean_comparison(list(found.values())),
        "enough_runs": None if enough is None else asdict(enough),
    }


def _print(found: dict[tuple[str, str], Comparison]) -> None:
    from datacurate.ranks.comparison import mean_comparison

    if len(found) <= _PAIRS_SHOWN:
        for (a, b), each in found.items():
            console.say_out(f"{a} and {b}: {_line(each)}")
    if len(found) > 1:
        means = mean_comparison(list(found.values()))
        low, high = (limit(each.spearman for each in found.values()) for limit in (min, max))
        console.say_out(
            f"mean of {len(found)} pairs: Spearman {means['spearman']:.3f} ({low:.3f} to "
            f"{high:.3f}), Kendall {means['kendall']:.3f}, IoU {means['iou']:.3f}, "
            f"kept by both {means['overlap']:.1%}"
        )


def _line(each: Comparison) -> str:
    return (
        f"Spearman {each.spearman:.3f}, Kendall {each.kendall:.3f}, "
        f"IoU of the {each.top:,} most problematic {each.iou:.3f}, "
        f"{each.overlap:.1%} of {each.kept:,} kept by both; {each.examples:,} examples"
    )


def _print_enough(enough: Enough, examples: int) -> None:
    console.say_out(f"are {enough.runs} runs enough? ({enough.repetitions} draws, 95 % intervals)")
    for half in enough.halves:
        rho, iou = half.spearman, half.iou
        console.say_out(
            f"  {half.runs} against {half.runs} other runs: "
            f"Spearman {rho.mean:.3f} [{rho.low:.3f}, {rho.high:.3f}], "
            f"IoU {iou.mean:.3f} [{iou.low:.3f}, {iou.high:.3f}]"
        )
    console.say_out(
        f"  {enough.runs} against {enough.runs} other runs: Spearman about "
        f"{enough.expected_spearman:.3f} (extrapolated)"
    )
    console.say_out(
        f"  of {enough.kept:,} kept examples {enough.uncertain_kept:,} are uncertain, of "
        f"{examples - enough.kept:,} dropped ones {enough.uncertain_dropped:,}"
    )
