"""Write `ranks-1.0.ranks.h5`, the sample of format version 1.0 that later versions must read.

Run once, when the version was published; the file is kept, not made anew:
``python -m tests.data.files.make_ranks_1_0`` in the repository root.
"""

from __future__ import annotations

from pathlib import Path

from datacurate.formats import rankfile
from tests.made_ranks import made_rank_file

if __name__ == "__main__":
    sample = made_rank_file(60, 2, 12, profiled=[row for row in range(60) if row % 7 != 3])
    print(rankfile.write(Path(__file__).with_name("ranks-1.0.ranks.h5"), sample))
