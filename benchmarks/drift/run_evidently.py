"""Evidently's methods for embeddings, on pairs of windows; run by the Python of an environment that has it.

They are taken as they come, and without the report and its picture, which would cost more than they do.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np


def main(windows: str) -> None:
    """Print for each method which pairs it flags, and how many seconds of the processor each pair took."""
    warnings.simplefilter("ignore")
    import pandas
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import distance, mmd, model, ratio

    results = {}
    with np.load(windows) as pairs:
        blocks = [(pairs[f"earlier{number}"], pairs[f"later{number}"]) for number in range(len(pairs.files) // 2)]
    makes = {
        # What the metric takes where no method is named: the classifier, by resampling below 1,000 earlier rows.
        "default (classifier)": lambda earlier: model(bootstrap=len(earlier) < 1000),
        "MMD": lambda earlier: mmd(),
        "distance": lambda earlier: distance(),
        "ratio of components": lambda earlier: ratio(),
    }
    for name, make in makes.items():
        flagged, seconds = [], []
        for pair in blocks:
            # Tables of its own each time: the classifier writes a column into those that it is given.
            earlier, later = (pandas.DataFrame(block) for block in pair)
            began = time.process_time()
            _, found, _ = make(earlier)(later, earlier)
            seconds.append(time.process_time() - began)
            flagged.append(int(found))
        results[name] = {"flagged": flagged, "seconds": seconds}
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])
