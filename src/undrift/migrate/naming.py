"""The address of a field that a migration is to fill."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import assert_never

from undrift.domain.names import NameRule
from undrift.domain.shape import OWN, join_address, split_address, with_vector
from undrift.domain.space import SpaceId
from undrift.ports.store import Layout

#: Longest name of a vector: with what a store adds for tags it is still a name in every store.
_LONGEST_VECTOR = 40


def target_address(
    serving: str,
    name: str,
    space: SpaceId,
    layout: Layout,
    rule: NameRule,
    *,
    epoch: int,
    number: int,
    moves: bool = False,
) -> str:
    """Return the address of a field that nobody has filled before.

    No two migrations get the same one, whatever was dropped in between, because every migration makes the epoch grow:
    an operator who is late to drop the target of a cancelled one must not hit that of the next.

    Args:
        serving: the address of the field that serves.
        name: what the target is for: the alias.
        space: the space of its vectors.
        layout: where it is to be.
        rule: what the store lets collections be called.
        epoch: the route's number.
        number: 1, or more when a field of the address before is there.
        moves: whether it is to be in another store; there, names of columns and schemas mean nothing.
    """
    match layout:
        case Layout.COLLECTION:
            ends = [str(epoch)] if epoch > 1 or number > 1 else []
            name = rule.named(name, "_".join([space, *ends, *([str(number)] if number > 1 else [])]))
            return _in_a_like_shape(serving, name) if moves else _in_the_same_shape(serving, name)
        case Layout.IN_PLACE:
            # A name that needs no quotes in SQL.
            stem = re.sub(r"[^a-z0-9]+", "_", f"v{epoch}_{space}".lower())[:_LONGEST_VECTOR].rstrip("_")
            return with_vector(serving, f"{stem}_{number}" if number > 1 else stem)
        case _:
            assert_never(layout)


def _in_the_same_shape(serving: str, name: str) -> str:
    """Return the address of a collection that the same software can read: of the same shape, in the same schema."""
    before, shape = split_address(serving)
    if shape in (OWN, replace(OWN, vector=shape.vector)):
        return name
    schema, dot, _ = before.rpartition(".")
    return join_address(f"{schema}{dot}{name}", shape)


def _in_a_like_shape(serving: str, name: str) -> str:
    """Return the address of a collection in another store that the same framework can read there."""
    _, shape = split_address(serving)
    return join_address(name, replace(OWN, preset=shape.preset, tags=shape.tags))
