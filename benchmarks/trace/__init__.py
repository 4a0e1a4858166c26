"""What the usual recipes lose: one trace of events, played for each of them and for undrift, and an independent score.

Run it by `python -m benchmarks.trace` or `make bench ARGS=trace`; what it means is in `docs/explanation`.
"""
