"""The tables of collections: one each, with everything of a document in its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from undrift.domain.space import Metric

#: How the tables are laid out; another number means that another version of undrift made them.
FORMAT = 1
#: The operators of pgvector whose ascending order is that of nearness, and the operator classes that index them.
OPERATORS = {Metric.COSINE: "<=>", Metric.DOT: "<#>", Metric.L2: "<->"}
_CLASSES = {Metric.COSINE: "cosine_ops", Metric.DOT: "ip_ops", Metric.L2: "l2_ops"}
#: What the comment on a table of ours begins with; the metric stands nowhere else.
_COMMENT = "undrift collection, format "
#: The longest name, in bytes of UTF-8, that PostgreSQL does not cut off.
LONGEST_NAME = 63

#: Made once for a schema, under a lock, because two that make it at once would both fail.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('undrift/store', 0))"
#: Where the extension lies: it need not be in the search path, and nothing below trusts that path.
EXTENSION = (
    "SELECT n.nspname, e.extversion FROM pg_catalog.pg_extension AS e "
    "JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
)
FIND = (
    "SELECT c.oid, a.atttypmod, a.atttypid, n.nspname, pg_catalog.obj_description(c.oid, 'pg_class') "
    "FROM pg_catalog.pg_class AS c "
    "JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace AND s.nspname = %s "
    "JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'embedding' AND NOT a.attisdropped "
    "JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid AND t.typname = 'vector' "
    "JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace WHERE c.relname = %s"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hnsw:
    """The parameters of an HNSW index.

    Attributes:
        m: connections of a vector in each layer.
        ef_construction: how many candidates are looked at when a vector is put in.
        ef_search: how many candidates a search looks at.
    """

    m: int = 16
    ef_construction: int = 64
    ef_search: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A collection and where it lies.

    Attributes:
        number: the database's own number of the table, which no later table of that name has.
        name: the table with its schema, quoted.
        home: the schema of the extension, quoted.
        element: the database's own number of the type `vector`.
        dimensions: of its vectors.
        metric: what it is searched by.
    """

    number: int
    name: str
    home: str
    element: int
    dimensions: int
    metric: Metric

    @property
    def operator(self) -> str:
        """The operator between two vectors that gives their distance."""
        return f"OPERATOR({self.home}.{OPERATORS[self.metric]})"


def quoted(name: str) -> str:
    """Return a name as SQL writes it, also within a statement that has placeholders."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def table_from(row: tuple[Any, ...], schema: str, collection: str) -> Table | int | None:
    """Return the table that `FIND` found, the number of its format if another one, or None if it is not ours."""
    number, dimensions, element, home, comment = row
    if not (comment or "").startswith(_COMMENT):
        return None
    format, _, metric = comment.removeprefix(_COMMENT).partition(", metric ")
    if format != str(FORMAT):
        return int(format)
    return Table(
        number=number,
        name=f"{quoted(schema)}.{quoted(collection)}",
        home=quoted(home),
        element=element,
        dimensions=dimensions,
        metric=Metric(metric),
    )


def creation(*, schema: str, collection: str, home: str, dimensions: int, metric: Metric) -> list[str]:
    """Return the statements that make a table."""
    name, home = f"{quoted(schema)}.{quoted(collection)}", quoted(home)
    return [
        f'CREATE TABLE {name} (id text COLLATE "C" PRIMARY KEY, text text NOT NULL, metadata jsonb NOT NULL '
        "CHECK (jsonb_typeof(metadata) = 'object'), space text NOT NULL, content text NOT NULL, "
        f"sequence bigint NOT NULL, embedding {home}.vector({dimensions}) NOT NULL)",
        f"COMMENT ON TABLE {name} IS '{_COMMENT}{FORMAT}, metric {metric.value}'",
    ]


def indexing(index: Hnsw, *, schema: str, collection: str, home: str, dimensions: int, metric: Metric) -> str:
    """Return the statement that makes the index of a table; longer vectors than it takes are indexed as halves."""
    kind = "vector" if dimensions <= MOST_INDEXED else "halfvec"
    return (
        f"CREATE INDEX ON {quoted(schema)}.{quoted(collection)} USING hnsw "
        f"({indexed('embedding', quoted(home), dimensions)} {quoted(home)}.{kind}_{_CLASSES[metric]}) "
        f"WITH (m = {index.m}, ef_construction = {index.ef_construction})"
    )


#: The most dimensions of a vector, of an indexed vector, and of one that is indexed in half precision.
MOST, MOST_INDEXED, MOST_HALVED = 16_000, 2_000, 4_000


def indexed(expression: str, home: str, dimensions: int) -> str:
    """Return a vector in the form in which an HNSW index has it."""
    return expression if dimensions <= MOST_INDEXED else f"({expression}::{home}.halfvec({dimensions}))"
