"""The record of a verification: written once, and enough to judge again."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.attacks.outcome import CLEAN_WRONG, SURVIVED
from datacurate.attacks.suites import is_upper_bound
from datacurate.errors import FileError, NewerFormatError
from datacurate.evaluation import Evaluation
from datacurate.ranks.statistics import Accuracy
from datacurate.recipes import VerifyRecipe, as_dict, from_dict, recipe_hash
from datacurate.recipes.settings import stored_recipe_hash
from datacurate.verification.arms import pairs
from datacurate.verification.comparing import Comparison, compared, correction
from datacurate.verification.results import Member, StandardMember, Verification
from datacurate.verification.summary import summaries

FORMAT = "datacurate.verification"
FORMAT_VERSION = "1.0"


def as_record(found: Verification) -> dict[str, Any]:
    """Return all that a verification found and that it rests on, for JSON."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "command": list(found.command),
        "recipe": as_dict(found.recipe),
        "recipe_hash": recipe_hash(found.recipe),
        "data": dict(found.data),
        "arms": {name: dict(about) for name, about in found.arms.items()},
        "hardware": dict(found.hardware),
        "selection": selection_in_words(found.recipe),
        "expected_detectable_points": found.expected_detectable,
        "upper_bound": is_upper_bound(found.recipe.suite),
        "correction": correction(len(found.comparisons)),
        "comparisons": [comparison.as_dict() for comparison in found.comparisons],
        "summary": [summary.as_dict() for summary in summaries(found)],
        "members": [_member(member) for member in found.members],
        "standard": [_standard(member) for member in found.standard],
    }


def selection_in_words(recipe: VerifyRecipe) -> str:
    """Return where the best checkpoints were chosen."""
    if recipe.select == "test":
        return "test examples (as the paper does: the best checkpoint has seen them)"
    return f"{recipe.held_out:.0%} of the training examples, held out of every arm"


def read_record(path: Path) -> dict[str, Any]:
    """Return a record, if what it concludes follows from what it says of each example.

    Raises
    ------
    FileError
        If it cannot be read, is no such record, or an accuracy, a verdict or its recipe's hash is
        not what its own figures give.
    NewerFormatError
        If a later version wrote it.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"the record {path} cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise FileError(f"{path} is no record of a verification", expected=f"format {FORMAT!r}")
    if not str(record.get("format_version")).startswith("1."):
        raise NewerFormatError(
            f"{path} was written by a later version of datacurate",
            expected="format version 1.x",
            got=str(record.get("format_version")),
            hint="pip install -U datacurate",
        )
    try:
        _require_consistent(path, record)
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        raise FileError(f"the record {path} is damaged: {type(error).__name__} {error}") from error
    return record


def judged_again(record: Mapping[str, Any]) -> tuple[Comparison, ...]:
    """Return the comparisons of a record, computed from what became of each example."""
    recipe = from_dict(VerifyRecipe, record["recipe"])
    robust = {
        (member["arm"], member["seed"]): broken_by(member["best"]) == SURVIVED
        for member in record["members"]
    }
    return compared(robust, pairs(recipe), seeds_of(recipe))


def seeds_of(recipe: VerifyRecipe) -> range:
    """Return the seeds of a recipe."""
    return range(recipe.seed, recipe.seed + recipe.seeds)


def broken_by(evaluation: Mapping[str, Any]) -> npt.NDArray[np.int8]:
    """Return what became of each example, as `AttackOutcome.broken_by`, from a record."""
    return unpacked(evaluation["examples"]["broken_by"])


def packed(values: npt.NDArray[np.int8]) -> str:
    """Return small whole numbers, one an example, as a short text: base64 of zlib of int8."""
    return base64.b64encode(zlib.compress(values.astype(np.int8).tobytes(), 9)).decode()


def unpacked(text: str) -> npt.NDArray[np.int8]:
    """Return what `packed` was given."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.int8)


def _require_consistent(path: Path, record: Mapping[str, Any]) -> None:
    def require(what: str, stated: object, computed: object) -> None:
        if stated != computed:
            raise FileError(
                f"{path} does not hold: {what} does not follow from its own figures",
                expected=str(computed),
                got=str(stated),
            )

    require("the recipe's hash", record["recipe_hash"], stored_recipe_hash(record["recipe"]))
    for member in record["members"]:
        for which in ("best", "last"):
            stated = member[which]
            outcome, pgd10 = broken_by(stated), unpacked(stated["examples"]["pgd10"])
            for name, right in (
                ("clean", outcome != CLEAN_WRONG),
                ("robust", outcome == SURVIVED),
                ("pgd10", pgd10 == 1),
            ):
                what = f"{name} accuracy of {member['arm']}, seed {member['seed']}, {which}"
                counts = [stated[name]["correct"], stated[name]["n"]]
                require(what, counts, [int(right.sum()), len(right)])
                percent = Accuracy(*counts).percent
                require(what, stated[name]["percent"], percent)
    again = [comparison.as_dict() for comparison in judged_again(record)]
    stated_words = [(c["judged"], c["against"], c["word"]) for c in record["comparisons"]]
    require("a verdict", stated_words, [(c["judged"], c["against"], c["word"]) for c in again])
    for stated, computed in zip(record["comparisons"], again, strict=True):
        for end in ("mean", "low", "high"):
            close = stated[end] is computed[end] or np.isclose(stated[end], computed[end])
            require(f"{end} of {stated['judged']} against {stated['against']}", bool(close), True)


def _member(member: Member) -> dict[str, Any]:
    return {
        "arm": member.arm,
        "seed": member.seed,
        "examples": member.size,
        "rows_sha256": member.rows_sha256,
        "best_epoch": member.best_epoch,
        "epochs": member.epochs,
        "seconds": round(member.seconds, 3),
        "best": _evaluated(member.best),
        "last": _evaluated(member.last),
    }


def _standard(member: StandardMember) -> dict[str, Any]:
    return {
        "arm": member.arm,
        "seed": member.seed,
        "best_epoch": member.best_epoch,
        "epochs": member.epochs,
        "seconds": round(member.seconds, 3),
        "best_clean": member.best.as_dict(),
        "last_clean": member.last.as_dict(),
    }


def _evaluated(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation for JSON, with what became of each example."""
    return {
        **evaluation.as_dict(),
        "examples": {
            "broken_by": packed(evaluation.outcome.broken_by),
            "pgd10": packed(evaluation.pgd10.astype(np.int8)),
        },
    }
