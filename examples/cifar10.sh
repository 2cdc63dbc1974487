#!/usr/bin/env bash
# From a data set to a verdict: rank, look, prune, verify.
#
#   bash examples/cifar10.sh                      CIFAR-10, with the recipes for this machine
#   DATASET=digits RECIPE=demo bash examples/cifar10.sh    the same on small images, in minutes
#
# Every step continues where it stopped if it is interrupted and run again.
set -euo pipefail

dataset=${DATASET:-cifar10}
keep=${KEEP:-80%}
recipe=(${RECIPE:+--recipe "$RECIPE"})   # without one: `paper` on CUDA, `proxy` on a CPU

# 1. Train several times and rank the examples by how unstably they are learned.
#    Somebody else's ranks save the time: datacurate fetch cifar10 --out cifar10.ranks.h5
[ -e "$dataset.ranks.h5" ] && [ ! -e "$dataset.state" ] ||
  datacurate profile "$dataset" "${recipe[@]}" --out "$dataset.ranks.h5"

# 2. Where the ranks come from, how they are distributed, and whether every number follows.
datacurate show "$dataset.ranks.h5" --check

# 3. Keep the examples that are learned most stably.
[ -e idx.npy ] || datacurate prune "$dataset.ranks.h5" --keep "$keep" --out idx.npy

# 4. Retrain on kept, all and random examples, attack all networks, and compare.
datacurate verify idx.npy "${recipe[@]}" --out verify.json

# In a training script: Subset(train, numpy.load("idx.npy"))
