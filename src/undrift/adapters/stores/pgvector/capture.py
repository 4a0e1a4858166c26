"""Triggers that tell the ledger what others write into a collection, in the very transactions in which they write it.

They mark documents dirty as `undrift.mark` does. The mark is made when the transaction ends, so that the row of the
alias is held for a moment only; whether a write is ours is seen at once, by a setting of its transaction.
"""

from __future__ import annotations

from undrift.adapters.stores.pgvector.session import Statement
from undrift.adapters.stores.pgvector.tables import Table, literal, quoted, unquoted

NAME = "undrift_capture"
LEDGER = "SELECT to_regclass('undrift.dirty') IS NOT NULL"
#: The field that the trigger of a table tells of.
TOLD = f"SELECT tgargs FROM pg_catalog.pg_trigger WHERE tgrelid = %s::oid AND tgname = '{NAME}'"
#: The rights are those of the table's owner: who may write the table need not be able to write the ledger.
_FUNCTION = """
CREATE OR REPLACE FUNCTION {schema}.undrift_capture() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    field CONSTANT text := TG_ARGV[0];
    key CONSTANT text := coalesce(TG_ARGV[1], 'id');
    old_id text;
    new_id text;
    is_new_each_time CONSTANT boolean := current_setting('transaction_isolation') = 'read committed';
    listed text[];
    alias_name text;
    found_alias undrift.alias;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        EXECUTE format('SELECT array_agg(%I::text) FROM %I.%I', key, TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO listed;
    ELSE
        IF TG_OP <> 'INSERT' THEN
            EXECUTE format('SELECT ($1).%I::text', key) USING OLD INTO old_id;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            EXECUTE format('SELECT ($1).%I::text', key) USING NEW INTO new_id;
        END IF;
        listed := array_remove(ARRAY[old_id, new_id], NULL);
    END IF;
    FOR alias_name IN
        -- Two fields may be in one table: behind the question mark is which of its vectors.
        SELECT a.name FROM undrift.alias AS a WHERE field IN (split_part(a.serving_key, '?', 1), split_part(
            (a.follower::jsonb ->> 'store') || '/' || (a.follower::jsonb ->> 'collection'), '?', 1)) ORDER BY a.name
    LOOP
        IF is_new_each_time THEN
            -- As undrift.open_write: a change of the route waits for this transaction, or this one sees it.
            PERFORM undrift.lock(alias_name, 1, false);
            SELECT a.* INTO found_alias FROM undrift.alias AS a WHERE a.name = alias_name;
            IF found_alias.mode = 'passive' OR split_part(found_alias.serving_key, '?', 1) <> field THEN
                CONTINUE;
            END IF;
        END IF;
        -- In a transaction that looks at an older moment this fails when the route has changed since then.
        found_alias := undrift.bump(alias_name);
        IF found_alias.mode <> 'passive' AND split_part(found_alias.serving_key, '?', 1) = field THEN
            PERFORM undrift.mark(found_alias, listed, true);
        END IF;
    END LOOP;
    RETURN NULL;
END $$
"""


def argument(field: str, table: Table) -> bytes:
    """Return what the trigger of a table is told, as the catalogue has it."""
    return f"{field}\0{unquoted(table.id)}\0".encode()


def installation(table: Table, schema: str, field: str) -> list[Statement]:
    """Return the statements that let a table tell the ledger what others write, also where it tells already.

    Args:
        table: the collection.
        schema: its schema.
        field: the name of the field in the journal, without its shape.
    """
    unless_ours = "WHEN (current_setting('undrift.bracketed', true) IS DISTINCT FROM 'on')"
    call = f"EXECUTE FUNCTION {quoted(schema)}.undrift_capture({literal(field)}, {literal(unquoted(table.id))})"
    return [
        (_FUNCTION.replace("{schema}", quoted(schema)).replace("%I", "%%I"), ()),
        (f"DROP TRIGGER IF EXISTS {NAME} ON {table.name}", ()),
        (f"DROP TRIGGER IF EXISTS {NAME}_all ON {table.name}", ()),
        (
            f"CREATE CONSTRAINT TRIGGER {NAME} AFTER INSERT OR UPDATE OR DELETE ON {table.name} "
            f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW {unless_ours} {call}",
            (),
        ),
        # Before, because afterwards nobody knows what was there.
        (
            f"CREATE TRIGGER {NAME}_all BEFORE TRUNCATE ON {table.name} FOR EACH STATEMENT {unless_ours} {call}",
            (),
        ),
    ]
