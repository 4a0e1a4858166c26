"""Views that show plain SQL what an alias serves, whatever table or column that is."""

from __future__ import annotations

from undrift.adapters.stores.pgvector.session import Statement
from undrift.adapters.stores.pgvector.tables import LONGEST_NAME, Table, literal, quoted
from undrift.errors import BadArgument

#: What the comment on a view begins with; behind it is what it shows.
_COMMENT = "undrift view of "
#: What is there under a name, and what is said about it.
FIND = (
    "SELECT c.relkind = 'v', pg_catalog.obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class AS c "
    "JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = %s WHERE c.relname = %s"
)


def shows(comment: str | None) -> str | None:
    """Return the field that a view of ours shows; None for one that is not ours."""
    return comment.removeprefix(_COMMENT) if comment is not None and comment.startswith(_COMMENT) else None


def showing(schema: str, name: str, table: Table, field: str) -> list[Statement]:
    """Return the statements that let a view show a field; who may read it still may.

    A view keeps its columns: they have the same names and types whatever is behind them.
    """
    view = f"{quoted(schema)}.{quoted(name)}"
    space = f"r.{table.tag[0]}" if table.tag else "NULL::text"
    columns = (
        f'{table.id_text}::text COLLATE "C" AS id, {table.text_value}::text COLLATE "default" AS text, '
        f"({table.metadata_value})::jsonb AS metadata, {space}::text COLLATE "
        f'"default" AS space, {table.vector_value}::{table.home}.vector AS embedding'
    )
    return [
        (f"CREATE OR REPLACE VIEW {view} AS SELECT {columns} FROM {table.name} AS r WHERE {table.present}", ()),
        (f"COMMENT ON VIEW {view} IS {literal(_COMMENT + field)}", ()),
    ]


def require_name(name: str) -> None:
    """Pass when a view can be called so.

    Raises:
        BadArgument: it cannot.
    """
    if len(name.encode(errors="replace")) > LONGEST_NAME or "\0" in name:
        raise BadArgument(
            f"no view can be called {name!r}",
            f"a name in PostgreSQL has at most {LONGEST_NAME} bytes",
            "leave `views` out of the store's settings, or give the alias a shorter name",
        )
