"""What a store can evaluate of a filter: the narrowest condition of its own that lets nothing through the net.

A store whose own filters say less than ours is asked for a superset, and `filter.matches` decides about what it
answers. So every store gives equal answers; it may only have to read more than it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from undrift.domain.filter import And, Compare, Condition, Exists, Not, OneOf, Or

Leaf = Compare | OneOf | Exists
#: True and false for every document.
_ALL, _NONE = And(parts=()), Or(parts=())


def relaxed(condition: Condition, can: Callable[[Leaf], bool]) -> tuple[Condition | None, bool]:
    """Return a condition of leaves that a store can evaluate, true wherever the given one is.

    Args:
        condition: what is asked for.
        can: whether the store evaluates a leaf exactly as `filter.matches` does.

    Returns:
        The condition, None when it would let everything through; and whether it is the given one, so that what the
        store answers needs no second look.
    """
    exact = all(can(leaf) for leaf in _leaves(condition))
    bound = condition if exact else _bound(condition, can, _ALL)
    return (None if bound == _ALL else bound), exact


def has_not(condition: Condition) -> bool:
    """Whether a store that turns no condition round, and knows no empty conjunction, cannot be asked for this one."""
    match condition:
        case Not():
            return True
        case And(parts=parts) | Or(parts=parts):
            return (isinstance(condition, And) and not parts) or any(map(has_not, parts))
        case Compare() | OneOf() | Exists():
            return False
        case _:
            assert_never(condition)


def _bound(condition: Condition, can: Callable[[Leaf], bool], instead: Condition) -> Condition:
    """Return the condition with true (for a superset) or false (for a subset) in place of what the store cannot say."""
    match condition:
        case Compare() | OneOf() | Exists():
            return condition if can(condition) else instead
        case Not(part=part):
            inside = _bound(part, can, _NONE if instead == _ALL else _ALL)
            return _ALL if inside == _NONE else _NONE if inside == _ALL else Not(part=inside)
        case And(parts=parts):
            bounds = [_bound(part, can, instead) for part in parts]
            return _NONE if _NONE in bounds else And(parts=tuple(part for part in bounds if part != _ALL))
        case Or(parts=parts):
            bounds = [_bound(part, can, instead) for part in parts]
            return _ALL if _ALL in bounds else Or(parts=tuple(part for part in bounds if part != _NONE))
        case _:
            assert_never(condition)


def _leaves(condition: Condition) -> list[Leaf]:
    match condition:
        case Compare() | OneOf() | Exists():
            return [condition]
        case Not(part=part):
            return _leaves(part)
        case And(parts=parts) | Or(parts=parts):
            return [leaf for part in parts for leaf in _leaves(part)]
        case _:
            assert_never(condition)
