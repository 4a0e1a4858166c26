"""What every store looks at before it does what it is asked."""

from __future__ import annotations

from undrift.domain.filter import Condition, parse
from undrift.errors import BadArgument
from undrift.ports.store import Filter


def condition_of(filter: Filter | None) -> Condition | None:
    """Return what a filter asks for, None for everything.

    Raises:
        BadFilter: it is not one.
    """
    return None if filter is None else parse(filter)


def require_positive(name: str, value: int) -> None:
    """Pass when so many can be asked for.

    Raises:
        BadArgument: it is less than one.
    """
    if value < 1:
        raise BadArgument(f"{name} is {value}; at least 1 can be asked for")


def require_within(name: str, value: float, least: float, most: float) -> None:
    """Pass when a setting has a value that it can have.

    Raises:
        BadArgument: it has not.
    """
    if not least <= value <= most:
        raise BadArgument(f"{name} is {value}; it can be {least} to {most}")


def require_dimensions(
    collection: str, dimensions: int, *, most: int, who: str, least: int = 1, more: str = ""
) -> None:
    """Pass when a collection can have vectors of so many dimensions.

    Args:
        collection: its name.
        dimensions: of its vectors.
        most: of what the store takes.
        who: the store, as people call it.
        least: of what it takes.
        more: what else there is to say about it.

    Raises:
        BadArgument: it cannot.
    """
    if not least <= dimensions <= most:
        raise BadArgument(
            f"collection {collection} cannot have {dimensions} dimensions",
            f"{who} takes {least} to {most}{more}",
            f"choose {'a model with fewer dimensions' if dimensions > most else 'another model'}, or another store",
        )
