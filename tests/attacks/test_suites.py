from __future__ import annotations

import pytest

from datacurate.attacks.suites import plan
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
def test_targets_fit_the_classes(classes, custom, standard):
    for suite, expected in (("custom", custom), ("standard", standard)):
        found = plan(suite, classes)
        assert found.attacks == tuple(expected)
        names = [step.attack for step in found.passes]
        assert {name: names.count(name) for name in found.attacks} == expected
        assert all(step.target < classes for step in found.passes)
        assert ("no APGD-T" in found.label) == (classes < 4)
        assert suite in found.label


def test_refuses_what_it_does_not_know():
    with pytest.raises(UnknownNameError, match="standrad"):
        plan("standrad", 10)
    with pytest.raises(UsageError, match="one class"):
        plan("custom", 1)
