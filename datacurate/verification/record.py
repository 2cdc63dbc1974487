"""The record of a verification. It holds enough to derive the verdicts again."""

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
from datacurate.verification.comparing import Comparison, compare_arms, correction
from datacurate.verification.results import StandardNetwork, TrainedNetwork, Verification
from datacurate.verification.summary import summarize_arms

FORMAT = "datacurate.verification"
FORMAT_VERSION = "1.0"


def as_record(verification: Verification) -> dict[str, Any]:
    """Return the result of a verification and what it rests on, for JSON."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "command": list(verification.command),
        "recipe": as_dict(verification.recipe),
        "recipe_hash": recipe_hash(verification.recipe),
        "data": dict(verification.data),
        "arms": {name: dict(about) for name, about in verification.arms.items()},
        "hardware": dict(verification.hardware),
        "selection": selection_in_words(verification.recipe),
        "expected_detectable_points": verification.expected_detectable,
        "upper_bound": is_upper_bound(verification.recipe.suite),
        "correction": correction(len(verification.comparisons)),
        "comparisons": [comparison.as_dict() for comparison in verification.comparisons],
        "summary": [summary.as_dict() for summary in summarize_arms(verification)],
        "members": [_describe_trained(network) for network in verification.networks],
        "standard": [_describe_standard(network) for network in verification.standard],
    }


def selection_in_words(recipe: VerifyRecipe) -> str:
    """Return in words which examples chose the best checkpoints."""
    if recipe.select == "test":
        return "test examples (as the paper does: the best checkpoint has seen them)"
    return f"{recipe.held_out:.0%} of the training examples, held out of every arm"


def read_record(path: Path) -> dict[str, Any]:
    """Read a record, and check that its conclusions follow from its outcome of each example.

    Raises
    ------
    FileError
        If it cannot be read, is not such a record, or if an accuracy, a verdict or the recipe's
        hash does not match its own figures.
    NewerFormatError
        If a later version wrote it.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"the record {path} cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise FileError(
            f"{path} is not the record of a verification", expected=f"format {FORMAT!r}"
        )
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


def compare_again(record: Mapping[str, Any]) -> tuple[Comparison, ...]:
    """Return the comparisons of a record, computed from the outcome of each example."""
    recipe = from_dict(VerifyRecipe, record["recipe"])
    robust = {
        (member["arm"], member["seed"]): broken_by(member["best"]) == SURVIVED
        for member in record["members"]
    }
    return compare_arms(robust, pairs(recipe), seeds_of(recipe))


def seeds_of(recipe: VerifyRecipe) -> range:
    """Return the seeds of a recipe."""
    return range(recipe.seed, recipe.seed + recipe.seeds)


def broken_by(evaluation: Mapping[str, Any]) -> npt.NDArray[np.int8]:
    """Return the outcome of each example in a record, as `AttackOutcome.broken_by`."""
    return unpack(evaluation["examples"]["broken_by"])


def pack(values: npt.NDArray[np.int8]) -> str:
    """Return small integers, one an example, as a short text: base64 of zlib of int8."""
    return base64.b64encode(zlib.compress(values.astype(np.int8).tobytes(), 9)).decode()


def unpack(text: str) -> npt.NDArray[np.int8]:
    """Return the integers that `pack` encoded."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.int8)


def _require_consistent(path: Path, record: Mapping[str, Any]) -> None:
    def require(what: str, stated: object, computed: object) -> None:
        if stated != computed:
            raise FileError(
                f"{path} is inconsistent: {what} does not match its own figures",
                expected=str(computed),
                got=str(stated),
            )

    require("the recipe's hash", record["recipe_hash"], stored_recipe_hash(record["recipe"]))
    for member in record["members"]:
        for which in ("best", "last"):
            stated = member[which]
            outcome, pgd10 = broken_by(stated), unpack(stated["examples"]["pgd10"])
            for name, correct in (
                ("clean", outcome != CLEAN_WRONG),
                ("robust", outcome == SURVIVED),
                ("pgd10", pgd10 == 1),
            ):
                what = f"{name} accuracy of {member['arm']}, seed {member['seed']}, {which}"
                counts = [stated[name]["correct"], stated[name]["n"]]
                require(what, counts, [int(correct.sum()), len(correct)])
                percent = Accuracy(*counts).percent
                require(what, stated[name]["percent"], percent)
    again = [comparison.as_dict() for comparison in compare_again(record)]
    stated_words = [(c["judged"], c["against"], c["word"]) for c in record["comparisons"]]
    require("a verdict", stated_words, [(c["judged"], c["against"], c["word"]) for c in again])
    for stated, computed in zip(record["comparisons"], again, strict=True):
        for end in ("mean", "low", "high"):
            close = stated[end] is computed[end] or np.isclose(stated[end], computed[end])
            require(f"{end} of {stated['judged']} against {stated['against']}", bool(close), True)


def _describe_trained(network: TrainedNetwork) -> dict[str, Any]:
    return {
        "arm": network.arm,
        "seed": network.seed,
        "examples": network.size,
        "rows_sha256": network.rows_sha256,
        "best_epoch": network.best_epoch,
        "epochs": network.epochs,
        "seconds": round(network.seconds, 3),
        "best": _describe_evaluation(network.best),
        "last": _describe_evaluation(network.last),
    }


def _describe_standard(network: StandardNetwork) -> dict[str, Any]:
    return {
        "arm": network.arm,
        "seed": network.seed,
        "best_epoch": network.best_epoch,
        "epochs": network.epochs,
        "seconds": round(network.seconds, 3),
        "best_clean": network.best.as_dict(),
        "last_clean": network.last.as_dict(),
    }


def _describe_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation for JSON, with the outcome of each example."""
    return {
        **evaluation.as_dict(),
        "examples": {
            "broken_by": pack(evaluation.outcome.broken_by),
            "pgd10": pack(evaluation.pgd10.astype(np.int8)),
        },
    }
