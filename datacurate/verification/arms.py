"""What each arm is trained on, and what is held out of all of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.data import DataSet, ImageData
from datacurate.errors import UnknownNameError, UsageError
from datacurate.fingerprints import U64, mix64, seed64
from datacurate.recipes import VerifyRecipe
from datacurate.selection.per_class import keep_per_class

I64 = npt.NDArray[np.int64]

KEPT_ARM = "kept"
RESERVED = ("all", KEPT_ARM, "random", "class-matched")
_DRAWN_LIKE_KEPT = ("random", "class-matched")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class GivenRows:
    """The rows of an arm that somebody chose.

    Attributes
    ----------
    rows : ndarray of int64, shape (K,)
        Of the training split, ascending, each once.
    about : mapping
        Where they come from, for the record.
    """

    rows: I64
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arms:
    """The arms of a verification, without what is held out of them.

    Attributes
    ----------
    labels : ndarray of int64, shape (N,)
        Of the training split.
    content : ndarray of uint64, shape (N,)
        Content hashes of its images.
    classes : int
    held_out : ndarray of int64
        Rows on which the best checkpoint is chosen; empty where it is chosen on the test split.
    available : ndarray of int64
        All other trainable rows, ascending.
    given : mapping of str to ndarray of int64
        Of them, those of each arm that somebody chose.
    """

    labels: I64
    content: U64
    classes: int
    held_out: I64
    available: I64
    given: Mapping[str, I64]

    def rows(self, arm: str, seed: int) -> I64:
        """Return the rows that an arm is trained on, ascending.

        The random arms are drawn anew for every seed, so that the verdict does not hang on one
        lucky draw.
        """
        if arm in _DRAWN_LIKE_KEPT:
            kept = self.given[KEPT_ARM]
            lot = mix64(
                seed64("arm", seed),
                self.content[self.available],
                self.available.astype(np.uint64),
            )
            order = self.available[np.argsort(lot, kind="stable")]
            if arm == "random":
                return np.sort(order[: len(kept)])
            counts = np.bincount(self.labels[kept], minlength=self.classes)
            return keep_per_class(order, self.labels, counts)
        return self.available if arm == "all" else self.given[arm]

    def size(self, arm: str) -> int:
        """Return how many examples an arm is trained on, whatever the seed."""
        if arm == "all":
            return len(self.available)
        return len(self.given[KEPT_ARM if arm in _DRAWN_LIKE_KEPT else arm])


def arms_of(recipe: VerifyRecipe, data: DataSet, given: Mapping[str, GivenRows]) -> Arms:
    """Return the arms of a recipe, checked.

    Parameters
    ----------
    recipe : VerifyRecipe
    data : DataSet
    given : mapping of str to GivenRows
        ``"kept"`` and the user's own arms. That the rows belong to this data is for the caller to
        check; see `datacurate.formats.indexfile`.

    Raises
    ------
    UsageError
        If a name cannot be an arm's, arms and rows do not go together, a class has no example in
        an arm, or sizes differ that are said to be equal.
    UnknownNameError
        For an arm that nothing defines.
    """
    check_names(recipe, tuple(given))
    held_out = np.empty(0, dtype=np.int64)
    if recipe.select == "held-out":
        held_out = held_out_rows(data, recipe.held_out)
    available = np.setdiff1d(data.trainable, held_out)
    rows = {name: np.intersect1d(arm.rows, available) for name, arm in given.items()}
    train = data.train
    arms = Arms(train.labels, content_of(train), train.identity.classes, held_out, available, rows)
    for name in given:
        _refuse_lost_class(name, rows[name], data)
    if recipe.equal_sizes:
        _refuse_unequal(recipe, arms)
    return arms


def with_own_arms(recipe: VerifyRecipe, given: Collection[str]) -> VerifyRecipe:
    """Return a recipe whose arms include those given.

    A recipe that names one of the user's own arms is taken to name all that it wants. Otherwise
    they come after the recipe's, or, where no kept examples are given, instead of them.
    """
    own = tuple(name for name in given if name != KEPT_ARM)
    if not own or set(own) & set(recipe.arms):
        return recipe
    return replace(recipe, arms=(*recipe.arms, *own) if KEPT_ARM in given else own)


def check_names(recipe: VerifyRecipe, given: tuple[str, ...]) -> None:
    """Raise unless every arm is defined, once, and every comparison is of two arms.

    Raises
    ------
    UsageError, UnknownNameError
    """
    own = tuple(name for name in given if name != KEPT_ARM)
    for name in own:
        if name in RESERVED or not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be the name of an arm",
                expected="letters, digits, dots, hyphens and underscores, and none of "
                + ", ".join(RESERVED),
            )
    if len(set(recipe.arms)) != len(recipe.arms) or not recipe.arms:
        raise UsageError(
            "a verification needs each arm once", expected="arms=all,kept", got=_list(recipe.arms)
        )
    for name in recipe.arms:
        if name not in RESERVED and name not in own:
            raise UnknownNameError(
                "arm", name, (*RESERVED, *own), hint=f"--arm {name}=FILE.npy defines it"
            )
    if KEPT_ARM not in given and any(name in (KEPT_ARM, *_DRAWN_LIKE_KEPT) for name in recipe.arms):
        raise UsageError(
            "the arms kept, random and class-matched need an index file of what was kept",
            got=f"arms={_list(recipe.arms)}",
            hint="datacurate verify idx.npy, or --set arms=" + _list(("all", *own)),
        )
    if unused := [name for name in given if name not in recipe.arms and name != KEPT_ARM]:
        raise UsageError(
            f"the arm {unused[0]!r} was given, but is not among the arms",
            got=f"arms={_list(recipe.arms)}",
            hint=f"--set arms={_list((*recipe.arms, *unused))}",
        )
    pairs(recipe)


def pairs(recipe: VerifyRecipe) -> tuple[tuple[str, str], ...]:
    """Return which arm is judged against which.

    Raises
    ------
    UsageError, UnknownNameError
        If a comparison is not of two different arms, or made twice.
    """
    if not recipe.compare:
        judged = KEPT_ARM if KEPT_ARM in recipe.arms else recipe.arms[0]
        return tuple((judged, other) for other in recipe.arms if other != judged)
    found: list[tuple[str, str]] = []
    for text in recipe.compare:
        first, _, second = (part.strip() for part in text.partition(":"))
        if not first or not second or first == second:
            raise UsageError(
                f"{text!r} does not say what to compare with what",
                expected="ARM:OTHER, such as kept:all",
            )
        for name in (first, second):
            if name not in recipe.arms:
                raise UnknownNameError("arm to compare", name, recipe.arms)
        if (first, second) in found or (second, first) in found:
            raise UsageError(f"{first} and {second} would be compared twice")
        found.append((first, second))
    return tuple(found)


def held_out_rows(data: DataSet, fraction: float) -> I64:
    """Return a fixed, class-balanced fraction of the trainable rows, drawn by content hash.

    Equally many of each class, those whose mixed hash is smallest, so that the same images are
    held out whatever their order.

    Raises
    ------
    UsageError
        If a class would be left without a held-out or without a trained example.
    """
    rows = data.trainable
    labels = data.train.labels[rows]
    classes = data.train.identity.classes
    each = max(1, round(fraction * len(rows) / classes))
    counts = np.bincount(labels, minlength=classes)
    if counts.min() <= each:
        scarce = int(counts.argmin())
        raise UsageError(
            f"class {data.train.identity.class_names[scarce]!r} is too small to hold out {each}",
            expected=f"more than {each} examples of each class",
            got=str(int(counts[scarce])),
            hint="--set select=test chooses the best checkpoint on the test examples instead",
        )
    lot = mix64(seed64("held-out"), content_of(data.train)[rows])
    order = rows[np.argsort(lot, kind="stable")]
    return keep_per_class(order, data.train.labels, np.full(classes, each))


def content_of(images: ImageData) -> U64:
    """Return the content hashes of images that are at hand, shape (N,)."""
    content = images.identity.content_hash
    assert content is not None  # only data without images has none
    return content


def _refuse_lost_class(arm: str, rows: I64, data: DataSet) -> None:
    """Raise if a class has no example in an arm: no network could learn it."""
    identity = data.train.identity
    counts = np.bincount(data.train.labels[rows], minlength=identity.classes)
    lost = np.flatnonzero(counts == 0)
    if len(lost):
        raise UsageError(
            f"{len(lost)} classes have no {'kept ' if arm == KEPT_ARM else ''}example"
            + ("" if arm == KEPT_ARM else f" in the arm {arm!r}"),
            got=", ".join(repr(identity.class_names[c]) for c in lost[:5]),
            hint="prune with --balanced or a --floor",
        )


def _refuse_unequal(recipe: VerifyRecipe, arms: Arms) -> None:
    sizes = {name: arms.size(name) for name in recipe.arms if name != "all"}
    if len(set(sizes.values())) > 1:
        hint = "prune them to the same --keep, or drop equal_sizes"
        if recipe.select == "held-out":
            hint += "; --set select=test leaves the arms whole"
        raise UsageError(
            "the arms are not trained on equally many examples, as equal_sizes asks",
            expected="one size without what is held out",
            got=", ".join(f"{name} {size:,}" for name, size in sizes.items()),
            hint=hint,
        )


def _list(names: tuple[str, ...]) -> str:
    return ",".join(names)
