"""Frameworks that undrift works inside, or that work for it."""
