-- The bracket's two halves as transactions of their own, in one statement each: nothing is parsed or answered beside it.
-- How patient they are with locks, and whether they wait for the disk: never less than the server asks for.

CREATE OR REPLACE FUNCTION undrift.open_alone(p_alias text, p_keys text[], p_client text, p_deadline_s float8)
RETURNS TABLE (outcome text, operation bigint, sequence bigint, epoch bigint, mode text, serving text, follower text,
    waiting text[]) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    was text := pg_catalog.set_config('lock_timeout', '20s', true);
BEGIN
    -- Durable: a mark that a power loss takes back, while the store keeps the write, would be a lost update.
    IF pg_catalog.current_setting('synchronous_commit') IN ('off', 'local') THEN
        was := pg_catalog.set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN QUERY SELECT * FROM undrift.open_journaled(p_alias, p_keys, p_client, p_deadline_s);
END $$;

CREATE OR REPLACE FUNCTION undrift.close_alone(p_alias text, p_operation bigint, p_keys text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    was text := pg_catalog.set_config('lock_timeout', '20s', true);
BEGIN
    -- Not durable: a close that a power loss takes back leaves an open operation, which is reaped.
    was := pg_catalog.set_config('synchronous_commit', 'off', true);
    RETURN undrift.close_journaled(p_alias, p_operation, p_keys);
END $$;
