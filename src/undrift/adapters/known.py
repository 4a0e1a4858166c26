"""What a process knows of collections, so that it need not ask for their dimensions before each request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from undrift.domain.route import VectorField
from undrift.errors import BadArgument, CollectionMissing, StoreRejected, StoreUnavailable

_F = TypeVar("_F")
_T = TypeVar("_T")


class Known(Generic[_F]):
    """Collections as they were last seen.

    Another process may drop one and make another of that name. So a request that fails is made once more if the
    collection is another one by then, and a request that would not fail looks the collection up first.
    """

    def __init__(
        self, look: Callable[[VectorField], _F | None], missing: Callable[[VectorField], CollectionMissing]
    ) -> None:
        """Know nothing yet.

        Args:
            look: asks the store for a collection; None when there is none.
            missing: makes the error for one that is not there.
        """
        self._look = look
        self._missing = missing
        self._guard = threading.Lock()
        self._known: dict[str, _F] = {}

    def get(self, field: VectorField, *, fresh: bool = False) -> _F:
        """Return a collection as it was last seen, or as it is now.

        Raises:
            CollectionMissing: there is none.
        """
        known = None if fresh else self._known.get(field.collection)
        if known is None:
            known = self.find(field)
        if known is None:
            raise self._missing(field)
        return known

    def find(self, field: VectorField) -> _F | None:
        """Look a collection up; None when there is none."""
        found = self._look(field)
        with self._guard:
            if found is None:
                self._known.pop(field.collection, None)
            else:
                self._known[field.collection] = found
        return found

    def forget(self, field: VectorField) -> None:
        """Look a collection up when it is used next."""
        with self._guard:
            self._known.pop(field.collection, None)

    def on(
        self,
        field: VectorField,
        work: Callable[[_F], _T],
        *,
        asks: bool = True,
        changed: Callable[[VectorField], None],
    ) -> _T:
        """Do something with a collection as it was last seen, and once more when it is another one by now.

        Args:
            field: whose collection.
            work: what is done with it.
            asks: whether a collection that is gone would be noticed; else it is looked up first.
            changed: called when the collection is another one by now, or gone.

        Raises:
            CollectionMissing: it is not there.
        """
        known = self.get(field, fresh=not asks)
        try:
            return work(known)
        except (CollectionMissing, StoreRejected, StoreUnavailable, BadArgument):
            present = self.find(field)
            if present is None:
                changed(field)
                raise self._missing(field) from None
            if present == known:
                raise
        changed(field)
        return work(present)
