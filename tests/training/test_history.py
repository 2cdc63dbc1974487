"""The monitor of catastrophic overfitting."""

from __future__ import annotations

from datacurate.training.history import EpochReport, catastrophic_overfitting


def history(*figures: tuple[float, float | None]) -> list[EpochReport]:
    return [
        EpochReport(epoch, len(figures), 1.0, train, robust, robust, 0.1, 1.0, 1.0)
        for epoch, (train, robust) in enumerate(figures, start=1)
    ]


def test_the_collapse_of_a_single_step_training_is_noticed_at_its_first_epoch() -> None:
    collapse = history((0.3, 0.3), (0.4, None), (0.4, 0.4), (0.8, 0.19), (0.9, 0.0))
    assert catastrophic_overfitting(collapse) == 4


def test_other_falls_are_not_it() -> None:
    assert catastrophic_overfitting([]) is None
    assert catastrophic_overfitting(history((0.3, 0.3), (0.5, 0.2), (0.9, 0.16))) is None  # robust
    assert catastrophic_overfitting(history((0.3, 0.3), (0.2, 0.1))) is None  # all of it got worse
    assert catastrophic_overfitting(history((0.3, None), (0.9, 0.0), (0.9, 0.0))) is None
