-- For programs in other languages (docs/how-to/write-from-other-languages.md). Their names and arguments are a promise.

-- The bracket around a write of a program that keeps no lease: where no journal is wanted, the call itself is the lease,
-- and a migration waits for its deadline before it begins to copy.
CREATE OR REPLACE FUNCTION undrift.open_write(alias text, keys text[], client text, deadline_s float8)
RETURNS TABLE (outcome text, operation bigint, sequence bigint, epoch bigint, mode text, serving text, follower text,
    waiting text[]) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    lease text;
BEGIN
    IF $1 IS NULL OR $2 IS NULL OR array_position($2, NULL) IS NOT NULL OR cardinality($2) = 0 OR $3 IS NULL
        OR $4 IS NULL OR NOT ($4 > 0 AND $4 < 86400) THEN
        RAISE EXCEPTION 'undrift.open_write needs an alias, keys, a client and a deadline between 0 and 86400 seconds'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A mark that a power loss takes back, while the store keeps the write, would be a lost update.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN QUERY SELECT o.* FROM undrift.open_journaled($1, $2, $3, $4) AS o;
    -- A lease for each epoch: who writes all the time would otherwise prolong for ever what the next change waits for.
    SELECT $3 || '@' || a.epoch INTO lease FROM undrift.alias AS a WHERE a.name = $1 AND a.mode = 'passive';
    IF FOUND THEN
        INSERT INTO undrift.client AS c (id, host, pid, role, version, process, lease_expires)
            VALUES (lease, coalesce(host(inet_client_addr()), 'local'), 0, 'sql', '', '', undrift.now() + $4)
            ON CONFLICT (id) DO UPDATE SET lease_expires = greatest(c.lease_expires, excluded.lease_expires);
        INSERT INTO undrift.ack (alias, client, epoch)
            SELECT $1, lease, a.epoch FROM undrift.alias AS a WHERE a.name = $1
            ON CONFLICT ON CONSTRAINT ack_pkey DO NOTHING;
    END IF;
END $$;

-- True when the write may be acknowledged. The operation is NULL where no journal was wanted.
CREATE OR REPLACE FUNCTION undrift.close_write(alias text, operation bigint, keys text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF $1 IS NULL OR $3 IS NULL OR array_position($3, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'undrift.close_write needs the alias and the keys of the write'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF $2 IS NULL THEN
        RETURN true;
    END IF;
    RETURN undrift.close_journaled($1, $2, $3);
END $$;
