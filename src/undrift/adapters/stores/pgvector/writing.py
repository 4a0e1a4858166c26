"""Changes of a collection, one or a few statements each.

Rows are locked in the order of their ids, so that two calls wait for each other instead of stopping each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from undrift.adapters.stores.pgvector.conditions import Sql, on
from undrift.adapters.stores.pgvector.nodes import merged
from undrift.adapters.stores.pgvector.rows import Row, packed_vectors
from undrift.adapters.stores.pgvector.session import Statement
from undrift.adapters.stores.pgvector.tables import Table, quoted
from undrift.domain.record import DocumentId, Vectors

#: What a call gives for each record, in the order of `Row`, and its vector.
_GIVEN = "given (id, text, metadata, space, content, sequence, embedding)"
_ARRAYS = "%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[]"


def upsert(table: Table, rows: Sequence[Row], block: Vectors) -> list[Statement]:
    """Return the statements that write records, replacing those that are there; the last names those it wrote."""
    source, values = _given(table, rows, block)
    replaced = _assigned(table)
    if table.unique:
        names = [name for name in replaced if name not in {table.id, '"collection_id"'}]
        changes = ", ".join(f"{name} = excluded.{name}" for name in names)
        mine = "" if table.part is None else f" WHERE {table.mine} RETURNING r.{table.id}"
        return [(f"{_insert(table, source)} ON CONFLICT ({table.id}) DO UPDATE SET {changes}{mine}", values)]
    changes = ", ".join(f"{name} = {value}" for name, value in replaced.items() if name != table.id)
    # Without an index that would tell, two calls must not find at once that a document is not there.
    return [
        _turn(table),
        (f"UPDATE {table.name} AS r SET {changes} FROM {source} WHERE r.{table.id} = given.id", values),
        (f"{_insert(table, source)} WHERE {_absent(table)}", values),
    ]


def insert_absent(table: Table, rows: Sequence[Row], block: Vectors) -> list[Statement]:
    """Return the statements that write the records that are not there."""
    source, values = _given(table, rows, block)
    if table.unique:
        return [(f"{_insert(table, source)} ON CONFLICT ({table.id}) DO NOTHING", values)]
    return [_turn(table), (f"{_insert(table, source)} WHERE {_absent(table)}", values)]


def attach(table: Table, rows: Sequence[Row], block: Vectors) -> list[Statement]:
    """Return the statement that puts vectors beside the texts that they were made of."""
    source, values = _given(table, rows, block)
    fit = "true" if table.text is None else f"coalesce(r.{table.text}, '') = there.text"
    changes = [f"{table.vector} = {_vector(table, 'there')}"]
    if table.tag:
        changes += [f"{c} = there.{part}" for c, part in zip(table.tag, ("space", "content", "sequence"), strict=True)]
    return [
        (
            f"WITH there AS MATERIALIZED (SELECT r.{table.id} AS key, given.* FROM {table.name} AS r JOIN {source} "
            f"ON r.{table.id} = given.id{table.ids.cast} WHERE {table.mine} ORDER BY r.{table.id} FOR UPDATE OF r) "
            f"UPDATE {table.name} AS r SET {', '.join(changes)} FROM there WHERE r.{table.id} = there.key AND {fit}",
            values,
        )
    ]


def tag(table: Table, rows: Sequence[tuple[str, str, str, str, int]]) -> Statement:
    """Return the statement that puts tags beside vectors whose texts are these; it names those that got one.

    Args:
        table: the field.
        rows: id, text, space, content and sequence.
    """
    assert table.tag is not None
    changes = (f"{c} = there.{part}" for c, part in zip(table.tag, ("space", "content", "sequence"), strict=True))
    return (
        f"WITH there AS MATERIALIZED (SELECT r.{table.id} AS key, given.* FROM {table.name} AS r JOIN "
        "unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[]) "
        f"AS given (id, text, space, content, sequence) ON r.{table.id} = given.id{table.ids.cast} "
        f"WHERE {table.present} ORDER BY r.{table.id} FOR UPDATE OF r) "
        f"UPDATE {table.name} AS r SET {', '.join(changes)} FROM there "
        f"WHERE r.{table.id} = there.key AND {table.text_value} = there.text RETURNING {table.id_text}",
        [list(column) for column in zip(*rows, strict=True)],
    )


def detach(table: Table, ids: Iterable[DocumentId]) -> Statement:
    """Return the statement that takes vectors out of records, which stay."""
    nothing = ", ".join(f"{column} = NULL" for column in (table.vector, *(table.tag or ())))
    return (
        f"WITH there AS MATERIALIZED (SELECT r.{table.id} AS key FROM {table.name} AS r "
        f"WHERE r.{table.id} = ANY (%b::text[]{table.ids.array}) AND {table.present} ORDER BY r.{table.id} FOR UPDATE) "
        f"UPDATE {table.name} AS r SET {nothing} FROM there WHERE r.{table.id} = there.key",
        [list(ids)],
    )


def delete(table: Table, ids: Iterable[DocumentId], condition: Sql | None) -> Statement:
    """Return the statement that deletes the records of these ids that meet the condition."""
    sql, bound = on(condition, table.metadata_value)
    return (
        f"WITH gone AS MATERIALIZED (SELECT r.{table.id} AS key FROM {table.name} AS r "
        f"WHERE r.{table.id} = ANY (%b::text[]{table.ids.array}) AND {table.mine} AND {sql} "
        f"ORDER BY r.{table.id} FOR UPDATE) DELETE FROM {table.name} AS r USING gone WHERE r.{table.id} = gone.key",
        [list(ids), *bound],
    )


def merge_metadata(table: Table, changes: Mapping[DocumentId, str], *, sequence: int) -> Statement:
    """Return the statement that puts keys into the metadata of the records that are there; values are JSON objects."""
    sets = []
    if table.metadata is not None:
        json = "::json" if table.is_json else ""
        stored, change = table.metadata_value, "there.change::jsonb"
        made = merged(f"r.{table.id}", stored, change) if table.has_nodes else f"{stored} || {change}"
        sets.append(f"{table.metadata} = ({made}){json}")
    sets += [f"{quoted(name)} = (jsonb_populate_record(r, there.change::jsonb)).{quoted(name)}" for name in table.rest]
    values: list[object] = [list(changes), list(changes.values())]
    if table.tag:
        sets.append(f"{table.tag[2]} = %s::bigint")
        values.append(sequence)
    assigned = ", ".join(sets) or f"{table.id} = r.{table.id}"
    return (
        f"WITH there AS MATERIALIZED (SELECT r.{table.id} AS key, given.change FROM {table.name} AS r "
        f"JOIN unnest(%b::text[]{table.ids.array}, %b::text[]) AS given (id, change) ON given.id = r.{table.id} "
        f"WHERE {table.present} ORDER BY r.{table.id} FOR UPDATE OF r) "
        f"UPDATE {table.name} AS r SET {assigned} FROM there WHERE r.{table.id} = there.key",
        values,
    )


def _given(table: Table, rows: Sequence[Row], block: Vectors) -> tuple[str, list[object]]:
    # The order is that in which the rows come out of `unnest`.
    order = sorted(range(len(rows)), key=lambda number: rows[number][0])
    columns = [list(column) for column in zip(*(rows[number] for number in order), strict=True)]
    vectors = packed_vectors(block[order], element=table.element)
    return f"unnest({_ARRAYS}, %b::{table.home}.vector[]) AS {_GIVEN}", [*columns, vectors]


def _insert(table: Table, source: str) -> str:
    assigned = _assigned(table)
    return f"INSERT INTO {table.name} AS r ({', '.join(assigned)}) SELECT {', '.join(assigned.values())} FROM {source}"


def _assigned(table: Table) -> dict[str, str]:
    """Return what each column of a record gets."""
    assigned = {table.id: f"given.id{table.ids.cast}"}
    if table.text is not None:
        assigned[table.text] = "given.text"
    if table.metadata is not None:
        assigned[table.metadata] = f"given.metadata::{'json' if table.is_json else 'jsonb'}"
    for name in table.rest:
        assigned[quoted(name)] = f"(jsonb_populate_record(NULL::{table.name}, given.metadata::jsonb)).{quoted(name)}"
    if table.tag:
        assigned |= dict(zip(table.tag, ("given.space", "given.content", "given.sequence"), strict=True))
    if table.part is not None:
        assigned['"collection_id"'] = f"'{table.part}'::uuid"
    return {**assigned, table.vector: _vector(table, "given")}


def _vector(table: Table, source: str) -> str:
    return f"{source}.embedding" if table.kind == "vector" else f"{source}.embedding::{table.type}"


def _absent(table: Table) -> str:
    return f"NOT EXISTS (SELECT FROM {table.name} AS o WHERE o.{table.id} = given.id{table.ids.cast})"


def _turn(table: Table) -> Statement:
    return (f"SELECT pg_advisory_xact_lock(hashtextextended('undrift/{table.number}', 0))", ())
