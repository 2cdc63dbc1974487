from __future__ import annotations

import pytest

from datacurate.attacks.plan import plan
from datacurate.attacks.reference import reference_attacks
from datacurate.errors import UnknownNameError, UsageError


@pytest.mark.parametrize(
    ("classes", "custom", "standard"),
    [
        (2, {"apgd-ce": 1}, {"apgd-ce": 1, "fab-t": 1, "square": 1}),
        (3, {"apgd-ce": 1}, {"apgd-ce": 1, "fab-t": 2, "square": 1}),
        (
            4,
            {"apgd-ce": 1, "apgd-t": 3},
            {"apgd-ce": 1, "apgd-t": 3, "fab-t": 3, "square": 1},
        ),
        (
            10,
            {"apgd-ce": 1, "apgd-t": 9},
            {"apgd-ce": 1, "apgd-t": 9, "fab-t": 9, "square": 1},
        ),
        (
            200,
            {"apgd-ce": 1, "apgd-t": 9},
            {"apgd-ce": 1, "apgd-t": 9, "fab-t": 9, "square": 1},
        ),
    ],
)
def test_targets_fit_the_classes(
    classes: int, custom: dict[str, int], standard: dict[str, int]
) -> None:
    for suite, expected in (("custom", custom), ("standard", standard)):
        planned = plan(suite, classes)
        assert planned.attacks == tuple(expected)
        names = [step.attack for step in planned.passes]
        assert {name: names.count(name) for name in planned.attacks} == expected
        assert all(step.target < classes for step in planned.passes)
        assert ("no APGD-T" in planned.label) == (classes < 4)
        assert suite in planned.label


@pytest.mark.parametrize(
    ("suite", "classes", "label"),
    [
        ("standard", 10, "AutoAttack standard (APGD-CE, APGD-T, FAB-T, Square)"),
        ("custom", 3, "AutoAttack custom (APGD-CE; no APGD-T, whose loss needs 4 classes)"),
        ("fast", 10, "fast, an upper bound of AutoAttack's robust accuracy"),
        ("pgd-1000", 10, "PGD-1,000, steps of 2/255 from the image"),
        ("square", 10, "Square alone, 5,000 queries"),
        ("rays", 10, "RayS, 10,000 queries for labels alone"),
        ("transfer", 10, "transfer of PGD and APGD examples from a surrogate"),
    ],
)
def test_labels_stay_because_saved_states_contain_their_hash(
    suite: str, classes: int, label: str
) -> None:
    assert plan(suite, classes).label == label


def test_steps_are_those_of_the_suite_unless_given() -> None:
    assert [step.steps for step in plan("pgd-20", 10).passes] == [20]
    assert [step.steps for step in plan("transfer", 10).passes] == [50, 100]
    given = plan("standard", 3, steps={"square": 60, "apgd-ce": 5})
    assert [step.steps for step in given.passes] == [5, 100, 100, 60]
    assert plan("square", 3, steps={"square": 60}).label == "Square alone, 60 queries"
    with pytest.raises(UnknownNameError, match="sqare"):
        plan("standard", 3, steps={"sqare": 60})


def test_passes_that_share_a_batch_divide_the_targets_evenly() -> None:
    planned = plan("standard", 10)
    for most, sizes in (
        (0, [1] * 20),
        (2, [1, 2, 2, 2, 2, 1, 2, 2, 2, 2, 1, 1]),
        (9, [1, 9, 9, 1]),
    ):
        done, reached = 0, []
        while done < len(planned.passes):
            passes = planned.next_passes(done, most)
            assert len({step.attack for step in passes}) == 1
            done += len(passes)
            reached.append(len(passes))
        assert sum(reached) == 20
        assert reached == sizes


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(UnknownNameError, match="standrad"):
        plan("standrad", 10)
    with pytest.raises(UsageError, match="one class"):
        plan("custom", 1)
    with pytest.raises(UsageError, match="does not have"):
        plan("fast", 10, attacks=reference_attacks())
