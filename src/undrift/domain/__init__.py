"""Nouns, rules and plans: no I/O, no clock, no randomness."""
