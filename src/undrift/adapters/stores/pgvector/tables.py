"""Tables that collections are in, as the database's catalogue describes them, and as SQL addresses their parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from undrift.adapters.stores.pgvector.ids import IdKind
from undrift.domain.space import Metric

#: How undrift's own tables are laid out; another number means that another version of undrift made them.
FORMAT = 1
#: The operators of pgvector whose ascending order is that of nearness, and the operator classes that index them.
OPERATORS = {Metric.COSINE: "<=>", Metric.DOT: "<#>", Metric.L2: "<->"}
CLASSES = {Metric.COSINE: "cosine_ops", Metric.DOT: "ip_ops", Metric.L2: "l2_ops"}
#: The longest name, in bytes of UTF-8, that PostgreSQL does not cut off.
LONGEST_NAME = 63
#: The most dimensions of a vector, of an indexed vector, and of one that is indexed in half precision.
MOST, MOST_INDEXED, MOST_HALVED = 16_000, 2_000, 4_000

#: Made once for a schema, under a lock, because two that make it at once would both fail.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('undrift/store', 0))"
#: Where the extension lies: it need not be in the search path, and nothing below trusts that path.
EXTENSION = (
    "SELECT n.nspname, e.extversion FROM pg_catalog.pg_extension AS e "
    "JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
)
#: Every column of a table, in order.
FIND = (
    "SELECT c.oid, pg_catalog.obj_description(c.oid, 'pg_class'), a.attname, t.typname, n.nspname, "
    "(SELECT v.oid FROM pg_catalog.pg_type AS v WHERE v.typname = 'vector' AND v.typnamespace = t.typnamespace), "
    "a.atttypmod, a.attnotnull, a.attgenerated <> '', k.collname, pg_catalog.col_description(c.oid, a.attnum), "
    "EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate "
    "AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum), "
    "EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary "
    "AND a.attnum = ANY (i.indkey)), "
    "(SELECT min(o.opcname) FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_opclass AS o ON o.oid = i.indclass[0] "
    "WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid) "
    "FROM pg_catalog.pg_class AS c "
    "JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace AND s.nspname = %s "
    "JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace "
    "LEFT JOIN pg_catalog.pg_collation AS k ON k.oid = a.attcollation "
    "WHERE c.relname = %s AND c.relkind = 'r' ORDER BY a.attnum"
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
class Column:
    """A column as the catalogue has it; the order of the attributes is that of `FIND`.

    Attributes:
        name: its name.
        type: the name of its type.
        home: the schema of the type.
        element: the number of the type `vector` of the same schema; None when there is none.
        dimensions: of a vector, -1 when that is not said.
        required: whether it is never NULL.
        generated: whether the database computes it.
        collation: how texts in it are ordered; None for other types.
        comment: what is said about it.
        unique: whether no two rows have the same value, by an index on this column alone.
        primary: whether it is the primary key or a part of it.
        operators: the operators of an index on it, if there is one.
    """

    name: str
    type: str
    home: str
    element: int | None
    dimensions: int
    required: bool
    generated: bool
    collation: str | None
    comment: str | None
    unique: bool
    primary: bool
    operators: str | None

    @property
    def is_vector(self) -> bool:
        """Whether there are vectors in it."""
        return self.type in {"vector", "halfvec"} and self.element is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A table as the catalogue has it."""

    number: int
    comment: str
    columns: dict[str, Column]


def found(rows: list[tuple[Any, ...]]) -> Found | None:
    """Return the table that `FIND` found."""
    if not rows:
        return None
    names = tuple(Column.__dataclass_fields__)
    columns = [Column(**dict(zip(names, row[2:], strict=True))) for row in rows]
    return Found(number=rows[0][0], comment=rows[0][1] or "", columns={column.name: column for column in columns})


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A vector field, and where its parts are; names are quoted.

    Attributes:
        number: the database's own number of the table, which no later table of that name has.
        name: the table with its schema.
        home: the schema of the extension.
        element: the database's own number of the type `vector`.
        dimensions: of the vectors.
        metric: what they are searched by.
        kind: the type of the vectors: `vector` or `halfvec`.
        id: the column of the id.
        ids: what ids are in the database.
        unique: whether an id is there once at most; some software writes it twice.
        text: the column of the text; None when it is not there.
        metadata: the column of the metadata; None when there is none, or when they are in several.
        is_json: whether that is of the type `json`, which has no operators.
        is_sure: whether it is never NULL.
        rest: the columns that are the metadata, by name.
        vector: the column of the vector.
        tag: the columns of the tag; None when there are none.
        others: other columns with vectors.
        part: the collection's number in a table that several share; None when the table is the collection's own.
    """

    number: int
    name: str
    home: str
    element: int
    dimensions: int
    metric: Metric
    kind: str = "vector"
    id: str = '"id"'
    ids: IdKind = IdKind.TEXT
    unique: bool = True
    text: str | None = '"text"'
    metadata: str | None = '"metadata"'
    is_json: bool = False
    is_sure: bool = True
    rest: tuple[str, ...] = ()
    vector: str = '"embedding"'
    tag: tuple[str, str, str] | None = ('"space"', '"content"', '"sequence"')
    others: tuple[str, ...] = ()
    part: str | None = None

    @property
    def operator(self) -> str:
        """The operator between two vectors that gives their distance."""
        return f"OPERATOR({self.home}.{OPERATORS[self.metric]})"

    @property
    def type(self) -> str:
        """The type of the vectors."""
        return f"{self.home}.{self.kind}"

    @property
    def mine(self) -> str:
        """The condition that a row of the table is a record of the collection, whatever vectors it has."""
        return "true" if self.part is None else f"r.collection_id = '{self.part}'::uuid"

    @property
    def present(self) -> str:
        """The condition that a row is a record of the field."""
        mine = "" if self.part is None else f"{self.mine} AND "
        there = "" if self.unique else f"r.{self.id} IS NOT NULL AND "
        return f"{mine}{there}r.{self.vector} IS NOT NULL"

    @property
    def id_text(self) -> str:
        """The id as a text that orders by code point."""
        return f"r.{self.id}" if self.ids is IdKind.TEXT else f'(r.{self.id}::text COLLATE "C")'

    @property
    def text_value(self) -> str:
        """The text, NULL when there is none."""
        return "NULL::text" if self.text is None else f"r.{self.text}::text"

    @property
    def metadata_value(self) -> str:
        """The metadata as a `jsonb` object."""
        if self.metadata is not None:
            value = f"r.{self.metadata}::jsonb" if self.is_json else f"r.{self.metadata}"
            return value if self.is_sure else f"coalesce({value}, '{{}}'::jsonb)"
        parts = [f"{literal(name)}, r.{quoted(name)}" for name in self.rest]
        # A function takes a hundred arguments.
        groups = [f"jsonb_build_object({', '.join(parts[at : at + 40])})" for at in range(0, len(parts), 40)]
        return f"({' || '.join(groups)})" if groups else "'{}'::jsonb"

    @property
    def selected(self) -> str:
        """What is read of a row without its text and vector: id, metadata, space, content, sequence."""
        tag = ", ".join(f"r.{column}" for column in self.tag) if self.tag else "NULL::text, NULL::text, NULL::bigint"
        return f"{self.id_text}, {self.metadata_value}::text, {tag}"

    @property
    def vector_value(self) -> str:
        """The vector in full precision."""
        return f"r.{self.vector}" if self.kind == "vector" else f"r.{self.vector}::{self.home}.vector"


def quoted(name: str) -> str:
    """Return a name as SQL writes it, also within a statement that has placeholders."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def unquoted(name: str) -> str:
    """Return a name as it is, of how `quoted` writes it."""
    return name[1:-1].replace('""', '"').replace("%%", "%")


def literal(text: str) -> str:
    """Return a text as SQL writes it, also within a statement that has placeholders."""
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("%", "%%")
    return f"E'{escaped}'" if "\\" in text else f"'{escaped}'"


def indexed(expression: str, home: str, dimensions: int, kind: str = "vector") -> str:
    """Return a vector in the form in which an HNSW index has it."""
    if kind == "halfvec" or dimensions <= MOST_INDEXED:
        return expression
    return f"({expression}::{home}.halfvec({dimensions}))"
