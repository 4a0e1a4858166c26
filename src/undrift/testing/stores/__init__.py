"""What a store has to pass: `StoreConformance`, and the `SideDoor` through which it looks into the back-end.

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self): ...

        @pytest.fixture
        def side_door(self, store): ...

Every test names a promise of `undrift.ports.store.VectorStore`; its docstring says what to look at when it fails. A
test of an ability that the store does not declare skips itself and says why. For readable failures put
`pytest.register_assert_rewrite("undrift.testing")` into `conftest.py`.
"""

from __future__ import annotations

from undrift.testing.stores.bench import SideDoor, StoreBench, skip_for
from undrift.testing.stores.changes import ChangeTests
from undrift.testing.stores.fields import FieldTests
from undrift.testing.stores.filters import FilterTests
from undrift.testing.stores.in_place import InPlaceTests
from undrift.testing.stores.payloads import PayloadTests
from undrift.testing.stores.races import RaceTests
from undrift.testing.stores.reads import ReadTests
from undrift.testing.stores.samples import record, unit_vectors
from undrift.testing.stores.searches import SearchTests
from undrift.testing.stores.tagging import TaggingTests
from undrift.testing.stores.writes import WriteTests

__all__ = ["SideDoor", "StoreBench", "StoreConformance", "record", "skip_for", "unit_vectors"]


class StoreConformance(
    FieldTests,
    WriteTests,
    TaggingTests,
    PayloadTests,
    ChangeTests,
    ReadTests,
    FilterTests,
    SearchTests,
    RaceTests,
    InPlaceTests,
):
    """All promises of a store. Subclass it, and give it the fixtures `store` and `side_door`.

    A second client of the same back-end (fixture `other`) makes the tests of strong reads mean more; without one, the
    store itself is used.
    """
