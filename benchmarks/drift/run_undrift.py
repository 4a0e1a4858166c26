"""undrift's own test on pairs of windows, in a process like those of the others."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from undrift.quality.drift import compare, learn

#: As in the tests of the others; the alarm of the product asks for a fiftieth of it, twice.
_FLAGGED = 0.05


def main(windows: str) -> None:
    """Print which pairs it flags, and how many seconds of the processor each pair took, learning included."""
    flagged, seconds = [], []
    with np.load(windows) as pairs:
        for number in range(len(pairs.files) // 2):
            earlier, later = pairs[f"earlier{number}"], pairs[f"later{number}"]
            began = time.process_time()
            found = compare(learn(earlier), later)
            seconds.append(time.process_time() - began)
            flagged.append(int(found.chance <= _FLAGGED))
    print(json.dumps({"two lanes": {"flagged": flagged, "seconds": seconds}}))


if __name__ == "__main__":
    main(sys.argv[1])
