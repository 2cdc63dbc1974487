"""The named recipes: a table for `profile`, a table for `verify`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from datacurate.recipes.fields import (
    Attack,
    Augmentation,
    CheckpointSelection,
    Execution,
    Measure,
    Model,
    Optimizer,
    ProfileRecipe,
    Training,
    VerifyRecipe,
)

_SMALL = Training(
    epochs=12,
    model=Model("preact-small", width=16),
    attack=Attack(radius=3.0, step=3.75, steps=1),
    optimizer=Optimizer(learning_rate=0.2, schedule="one-cycle", milestones=()),
    selection=CheckpointSelection(examples=1000),
)
# The hardest examples differ in when they are memorised, and how firmly.
_MEMORIZED: tuple[Literal["late_probability", "final_probability"], ...] = (
    "late_probability",
    "final_probability",
)
_PROXY = ProfileRecipe(
    "proxy",
    "for a CPU: two single-step trainings of a small net at radius 3/255, 40 epochs",
    runs=2,
    rank_by=("instability", *_MEMORIZED),
    measures=_MEMORIZED,
    final_attack=Attack(radius=4.0, step=1.6, steps=4, start="zero"),
    training=replace(
        _SMALL,
        epochs=40,
        memorization=0.4,
        model=Model("preact-patch", width=32),
    ),
)
_SMOKE = replace(
    _SMALL,
    epochs=2,
    model=Model("preact-small", width=8),
    selection=CheckpointSelection(examples=200),
)
_DEMO = replace(
    _SMALL,
    epochs=12,
    model=Model("preact-small", width=8),
    attack=Attack(radius=8.0, step=10.0, steps=1),
    optimizer=replace(_SMALL.optimizer, batch_size=64),
    augmentation=Augmentation(padding=1, flip=False),
    selection=CheckpointSelection(examples=200, every=3),
)
# Small batches gain nothing from a second thread and lose much on a busy machine. Short trainings
# do not repay the time to compile.
_SHORT = Execution(threads=1, kernels="eager")
_PAPER = Training()
_PAPER_WRN = replace(
    _PAPER,
    epochs=120,
    model=Model("wrn-28-10"),
    optimizer=Optimizer(milestones=(100, 110)),
)
# Cost in passes over the data: the clean probability takes one, the minimum perturbation two for
# each 1/255 of it. Twelve single-step epochs take sixty passes, the paper's training 3,680.
_CHEAP: tuple[Measure, ...] = ("clean_probability",)

PROFILE_RECIPES: Mapping[str, ProfileRecipe] = {
    recipe.name: recipe
    for recipe in (
        ProfileRecipe(
            "paper",
            "the paper's: ten PGD-10 trainings of a PreAct ResNet-18, 160 epochs (CIFAR-10)",
            training=_PAPER,
        ),
        ProfileRecipe(
            "paper-wrn",
            "the paper's wide ResNet: ten PGD-10 trainings of a WRN-28-10, 120 epochs",
            training=_PAPER_WRN,
        ),
        ProfileRecipe("paper-cifar100", "the paper's, for CIFAR-100", training=_PAPER),
        ProfileRecipe(
            "paper-tiny-imagenet", "the paper's, for Tiny-ImageNet at 64×64", training=_PAPER
        ),
        _PROXY,
        replace(
            _PROXY,
            name="proxy-quick",
            summary="for a CPU and a first look: the proxy's with 10 epochs",
            training=replace(_PROXY.training, epochs=10),
        ),
        ProfileRecipe(
            "smoke",
            "two epochs of a tiny net: shows that things work",
            runs=2,
            measures=_CHEAP,
            training=_SMOKE,
            execution=_SHORT,
        ),
        ProfileRecipe(
            "demo",
            "three short trainings on 8×8 digits",
            runs=3,
            measures=_CHEAP,
            training=_DEMO,
            execution=_SHORT,
        ),
    )
}

VERIFY_RECIPES: Mapping[str, VerifyRecipe] = {
    recipe.name: recipe
    for recipe in (
        VerifyRecipe(
            "paper",
            "Table 1's PGD rows: radius 12/255, five seeds, AutoAttack standard on all tests",
            seeds=5,
            suite="standard",
            examples=0,
            training=replace(_PAPER, attack=Attack(radius=12.0)),
        ),
        VerifyRecipe(
            "paper-wrn",
            "a WRN-28-10 at radius 8/255, 120 epochs, five seeds, APGD-CE and APGD-T on all tests",
            seeds=5,
            examples=0,
            training=_PAPER_WRN,
        ),
        VerifyRecipe(
            "paper-cifar100", "radius 8/255, for CIFAR-100", seeds=5, examples=0, training=_PAPER
        ),
        VerifyRecipe(
            "paper-tiny-imagenet",
            "radius 8/255, for Tiny-ImageNet at 64×64",
            seeds=5,
            examples=0,
            training=_PAPER,
        ),
        VerifyRecipe(
            "proxy",
            "for a CPU: three seeds of a small net, single-step at radius 8/255, 12 epochs",
            training=replace(_SMALL, attack=Attack(radius=8.0, step=10.0, steps=1)),
        ),
        VerifyRecipe(
            "smoke",
            "one seed, two epochs of a tiny net: shows that things work",
            seeds=1,
            examples=64,
            training=_SMOKE,
            execution=_SHORT,
        ),
        VerifyRecipe(
            "demo",
            "one seed on 8×8 digits, 100 test images",
            seeds=1,
            examples=100,
            training=_DEMO,
            execution=_SHORT,
        ),
    )
}
