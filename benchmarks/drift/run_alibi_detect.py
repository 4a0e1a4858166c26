"""Alibi Detect's MMD, as it comes, on pairs of windows; run by the Python of an environment that has it."""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np


def main(windows: str) -> None:
    """Print for each method which pairs it flags, and how many seconds of the processor each pair took."""
    warnings.simplefilter("ignore")
    import torch
    from alibi_detect.cd import MMDDrift

    torch.set_num_threads(1)
    flagged, seconds = [], []
    with np.load(windows) as pairs:
        for number in range(len(pairs.files) // 2):
            earlier, later = pairs[f"earlier{number}"], pairs[f"later{number}"]
            began = time.process_time()
            # The detector's own default is 100 permutations at p < 0.05.
            found = MMDDrift(earlier, backend="pytorch").predict(later)["data"]
            seconds.append(time.process_time() - began)
            flagged.append(int(found["is_drift"]))
    print(json.dumps({"MMD, 100 permutations": {"flagged": flagged, "seconds": seconds}}))


if __name__ == "__main__":
    main(sys.argv[1])
