"""The look-out: what is looked at again and again, so that a change which nobody announced is noticed first."""

from __future__ import annotations
