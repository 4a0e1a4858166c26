-- The bracket's two halves as transactions of their own, in one statement each: nothing is parsed or answered beside it.

CREATE FUNCTION undrift.open_alone(p_alias text, p_keys text[], p_client text, p_deadline_s float8)
RETURNS TABLE (outcome text, operation bigint, sequence bigint, epoch bigint, mode text, serving text, follower text,
    waiting text[]) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    -- Durable: a mark that a power loss takes back, while the store keeps the write, would be a lost update.
    PERFORM undrift.commit_waiting(true);
    RETURN QUERY SELECT * FROM undrift.open_journaled(p_alias, p_keys, p_client, p_deadline_s);
END $$;

CREATE FUNCTION undrift.close_alone(p_alias text, p_operation bigint, p_keys text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    -- Not durable: a close that a power loss takes back leaves an open operation, which is reaped.
    PERFORM undrift.commit_waiting(false);
    RETURN undrift.close_journaled(p_alias, p_operation, p_keys);
END $$;

-- How patient this transaction is with locks, and whether it waits for the disk: never less than the server asks for.
CREATE FUNCTION undrift.commit_waiting(p_durable boolean) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    asked text := pg_catalog.current_setting('synchronous_commit');
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '20s', true);
    IF NOT p_durable THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
    ELSIF asked IN ('off', 'local') THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'on', true);
    END IF;
END $$;
