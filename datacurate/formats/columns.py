"""The columns of a rank file: what each is, its type, its range and which end is problematic.

A measure is added by adding a row here: the writer, the reader and the check take it from there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from datacurate.ranks.scores import packed_width

PER_EXAMPLE: tuple[str, ...] = ("N",)
PER_RUN: tuple[str, ...] = ("N", "R")
PER_RUN_BYTES: tuple[str, ...] = ("N", "R", "B")

NOT_PROFILED = -2
"""What integer columns per run hold where nothing was profiled; −1 means never learned."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name, dtype : str
        Types are little-endian in the file.
    axes : tuple of str
        N examples, R runs, B bytes.
    meaning : str
    least, most : float
        The range of what profiled examples hold, ends included.
    problematic : str
        Which end of the range is the problematic one, or ``"neither"``.
    missing : float
        What examples hold that were not profiled.
    required : bool
        Whether every rank file has it.
    never : bool
        Whether −1 stands for never learned, which is more problematic than any number.
    """

    name: str
    dtype: str
    axes: tuple[str, ...]
    meaning: str
    least: float = 0
    most: float = math.inf
    problematic: Literal["high", "low", "neither"] = "neither"
    missing: float = math.nan
    required: bool = False
    never: bool = False

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """The type in memory and in the file."""
        return np.dtype(self.dtype).newbyteorder("<")


def _measure(name: str, meaning: str, problematic: Literal["high", "low"], most: float) -> Column:
    """Return a float32 column per run, from 0 to `most`."""
    return Column(name, "float32", PER_RUN, meaning, most=most, problematic=problematic)


IDENTITY_COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("label", "int32", PER_EXAMPLE, "class of the example"),
        Column("content_hash", "uint64", PER_EXAMPLE, "hash of the example's pixels"),
        Column("perceptual_hash", "uint64", PER_EXAMPLE, "hash of the example's look"),
    )
}
"""Columns that say which data set it is; in memory they are the `Identity`."""

RANK_COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column(
            "problematic_rank",
            "float64",
            PER_EXAMPLE,
            "normalised problematic rank over all runs (Dong et al. 2021, Eq. 4 and appendix A.2)",
            most=math.nextafter(1.0, 0.0),
            problematic="high",
            required=True,
        ),
        Column(
            "position",
            "int64",
            PER_EXAMPLE,
            "place in the total order, 0 the most friendly",
            problematic="high",
            missing=-1,
            required=True,
        ),
    )
}
"""Columns over all runs."""

RUN_COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        _measure("instability", "learning instability (Dong et al. 2021, Eq. 1)", "high", 1),
        Column(
            "first_learned",
            "int32",
            PER_RUN,
            "first epoch, from 0, with a right adversarial prediction; −1 never",
            least=-1,
            problematic="high",
            missing=NOT_PROFILED,
            never=True,
        ),
        Column(
            "forgetting",
            "int32",
            PER_RUN,
            "how often right turned to wrong between two epochs; −1 never learned",
            least=-1,
            problematic="high",
            missing=NOT_PROFILED,
            never=True,
        ),
        _measure("probability", "mean adversarial true-class probability", "low", 1),
        Column(
            "margin",
            "float32",
            PER_RUN,
            "mean adversarial margin: true-class logit less the largest other one",
            least=-math.inf,
            problematic="low",
        ),
        Column(
            "correct",
            "uint8",
            PER_RUN_BYTES,
            "whether the adversarial prediction was right at each epoch, one bit an epoch",
            missing=0,
        ),
        _measure(
            "clean_probability",
            "true-class probability on the clean input at the best checkpoint "
            "(Data Quality Matters, B.1)",
            "low",
            1,
        ),
        _measure(
            "final_probability",
            "true-class probability under attack of the unaugmented input after the last epoch",
            "low",
            1,
        ),
        _measure(
            "late_probability",
            "mean adversarial true-class probability over the second half of the epochs",
            "low",
            1,
        ),
        _measure(
            "minimum_perturbation",
            "smallest radius, in 1/255, that changes the prediction (Data Quality Matters, B.2)",
            "low",
            255,
        ),
        _measure(
            "error_norm",
            "norm of the error on the clean input early in standard training",
            "high",
            math.sqrt(2),
        ),
    )
}
"""Columns with a value for each run."""


def _imported(
    name: str,
    meaning: str,
    problematic: Literal["high", "low", "neither"],
    least: float = -math.inf,
    never: bool = False,
) -> Column:
    """Return a float64 column of one value an example, wide enough to hold what was given."""
    return Column(
        name, "float64", PER_EXAMPLE, meaning, least=least, problematic=problematic, never=never
    )


IMPORTED_COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        _imported("score", "a score of other software; `source` states its direction", "neither"),
        _imported(
            "clean_forgetting",
            "forgetting events of standard training; −1 never learned",
            "high",
            least=-1,
            never=True,
        ),
        _imported("el2n", "norm of the error of standard training (EL2N)", "high", least=0),
        _imported("aum", "area under the margin of standard training (AUM)", "low"),
        _imported("confidence", "mean true-class probability of standard training", "low", least=0),
        _imported("variability", "its standard deviation over epochs", "high", least=0),
        _imported("correctness", "in how many epochs standard training was right", "low", least=0),
    )
}
"""Columns of one value an example: from other software, and EL2N from `error_norm` too."""

RECORD_COLUMNS = ("instability", "first_learned", "forgetting", "probability", "margin", "correct")
"""The run columns that the profiling record itself gives."""

KNOWN_COLUMNS: Mapping[str, Column] = {
    **IDENTITY_COLUMNS,
    **RANK_COLUMNS,
    **RUN_COLUMNS,
    **IMPORTED_COLUMNS,
}


@dataclass(frozen=True)
class Fault:
    """A column that is not as the format says: what, what was expected, what there is."""

    what: str
    expected: str
    got: str


def shape_fault(
    declared: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
    examples: int,
    epochs: Sequence[int],
) -> Fault | None:
    """Return the first fault in the types and shapes of a file's columns, or None.

    Columns that are not known here, of a later minor version, may have any shape.

    Parameters
    ----------
    declared : mapping of str to (dtype, shape)
    examples : int
        N.
    epochs : sequence of int
        T of each run.
    """
    longest = packed_width(max(epochs, default=0))
    sizes = {"N": examples, "R": len(epochs), "B": longest}
    for name, column in KNOWN_COLUMNS.items():
        if name not in declared:
            if column.required:
                return Fault(f"column {name} is missing", "every rank file has it", "none")
            continue
        dtype, shape = declared[name]
        expected = tuple(sizes[axis] for axis in column.axes)
        if dtype != column.numpy_dtype or shape != expected:
            return Fault(
                f"column {name} has the wrong type or shape",
                f"{column.dtype} {expected}",
                f"{dtype} {shape}",
            )
    if ("content_hash" in declared) != ("perceptual_hash" in declared):
        return Fault("one of the two hashes of images is missing", "both, or neither", "one")
    if "label" not in declared and "content_hash" in declared:
        return Fault("column label is missing", "labels wherever there are hashes", "none")
    return None
