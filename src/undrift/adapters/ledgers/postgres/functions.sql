-- What has to happen beside the data: the clock, the locks, and the bracket around a write.
--
-- The order of locks, which every statement of the ledger keeps:
--   1. undrift.lock(alias, 1): shared by who begins on a route (open, join), exclusive for who changes it;
--   2. undrift.lock(alias, 2): shared by claim and lease, exclusive for publish and for every change of phase or status;
--   3. rows of alias; 4. of migration; 5. of op, by id, and of ended; 6. of chunk, by number; 7. of dirty, by key;
--   8. of client, then of ack; 9. the rest.
-- Advisory locks are of the transaction, never of the session, so a pool of transactions may stand between. They work
-- because READ COMMITTED gives every statement that comes after the lock a new look at the data.

CREATE OR REPLACE FUNCTION undrift.now() RETURNS float8 LANGUAGE sql VOLATILE AS
$$ SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8 $$;

CREATE OR REPLACE FUNCTION undrift.lock(p_alias text, p_place integer, p_exclusive boolean) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    name bigint := pg_catalog.hashtextextended('undrift/' || p_place || '/' || p_alias, 0);
BEGIN
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'undrift has to be called in a transaction of isolation level READ COMMITTED'
            USING ERRCODE = 'UD002', HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED';
    END IF;
    IF p_exclusive THEN
        PERFORM pg_catalog.pg_advisory_xact_lock(name);
    ELSE
        PERFORM pg_catalog.pg_advisory_xact_lock_shared(name);
        -- Here, so that a worker of an older undrift does it as well, which knows nothing of it.
        IF p_place = 2 AND EXISTS (SELECT 1 FROM undrift.ended AS e WHERE e.alias = p_alias) THEN
            PERFORM undrift.settle(p_alias);
        END IF;
    END IF;
END $$;

-- Locks the row of the alias and counts one on.
CREATE OR REPLACE FUNCTION undrift.bump(p_alias text) RETURNS undrift.alias LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    found_alias undrift.alias;
BEGIN
    UPDATE undrift.alias SET sequence = sequence + 1 WHERE name = p_alias RETURNING * INTO found_alias;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the ledger knows no alias %', p_alias USING ERRCODE = 'UD001', DETAIL = p_alias;
    END IF;
    RETURN found_alias;
END $$;

-- Marks documents dirty from the serving field; one that is dirty already keeps its source.
CREATE OR REPLACE FUNCTION undrift.mark(p_alias undrift.alias, p_keys text[], p_bump_dirty boolean) RETURNS void
LANGUAGE sql VOLATILE AS $$
    INSERT INTO undrift.dirty AS d (alias, key, state, source, seq, open, since)
    SELECT (p_alias).name, given.key, 1, (p_alias).serving_key, (p_alias).sequence, 0, (SELECT undrift.now())
    FROM (SELECT DISTINCT key COLLATE "C" AS key FROM unnest(p_keys) AS key) AS given ORDER BY given.key
    ON CONFLICT (alias, key) DO UPDATE SET
        source = CASE WHEN d.state = 1 THEN d.source ELSE excluded.source END,
        seq = CASE WHEN d.state = 1 AND NOT p_bump_dirty THEN d.seq ELSE excluded.seq END,
        since = CASE WHEN d.state = 1 THEN d.since ELSE excluded.since END,
        state = 1, attempts = 0, retry_at = 0
$$;

-- Along the index, so that rows are locked in the order of their keys without a look at each beforehand.
CREATE OR REPLACE FUNCTION undrift.end_keys(p_alias text, p_sequence bigint, p_keys text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    UPDATE undrift.dirty SET seq = p_sequence, open = greatest(open - 1, 0)
        WHERE alias = p_alias AND key = ANY (p_keys);
END $$;

-- MARK BEFORE WRITE and FOREIGN SOURCE WAITS. The outcome is opened, passive, held or foreign.
CREATE OR REPLACE FUNCTION undrift.open_journaled(p_alias text, p_keys text[], p_client text, p_deadline_s float8)
RETURNS TABLE (outcome text, operation bigint, sequence bigint, epoch bigint, mode text, serving text, follower text,
    waiting text[]) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    found_alias undrift.alias;
    moment float8;
    marked bigint;
BEGIN
    PERFORM undrift.lock(p_alias, 1, false);
    moment := undrift.now();
    waiting := '{}';
    UPDATE undrift.alias AS a SET sequence = a.sequence + 1
        WHERE a.name = p_alias AND a.mode <> 'passive' AND a.hold_until <= moment RETURNING a.* INTO found_alias;
    IF NOT FOUND THEN
        SELECT a.* INTO found_alias FROM undrift.alias AS a WHERE a.name = p_alias;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the ledger knows no alias %', p_alias USING ERRCODE = 'UD001', DETAIL = p_alias;
        END IF;
        outcome := 'passive';
        IF found_alias.hold_until > moment THEN
            outcome := 'held'; found_alias.mode := 'hold';
        END IF;
    END IF;
    epoch := found_alias.epoch; mode := found_alias.mode; sequence := found_alias.sequence;
    serving := found_alias.serving; follower := found_alias.follower;
    IF outcome IS NOT NULL THEN
        RETURN NEXT; RETURN;
    END IF;
    BEGIN
        INSERT INTO undrift.op AS o (alias, client, epoch, field, deadline, keys)
            VALUES (p_alias, p_client, found_alias.epoch, found_alias.serving_key, moment + p_deadline_s, p_keys)
            RETURNING o.id INTO operation;
        INSERT INTO undrift.dirty AS d (alias, key, state, source, seq, open, since)
        SELECT p_alias, given.key, 1, found_alias.serving_key, found_alias.sequence, 1, moment
        FROM (SELECT DISTINCT k COLLATE "C" AS key FROM unnest(p_keys) AS k) AS given ORDER BY given.key
        ON CONFLICT ON CONSTRAINT dirty_pkey DO UPDATE SET
            state = 1, source = excluded.source, seq = excluded.seq, open = d.open + 1,
            since = CASE WHEN d.state = 1 THEN d.since ELSE excluded.since END, attempts = 0, retry_at = 0
            WHERE d.state <> 1 OR d.source = excluded.source;
        GET DIAGNOSTICS marked = ROW_COUNT;
        IF marked < cardinality(p_keys) THEN
            -- Some came twice, or are foreign: their truth is still in the other field. One that is not foreign cannot
            -- become so from here on: the source of a key that is marked is the serving field, and lock 1 keeps that as
            -- it is. The sum keeps the planner from the index of dirty documents, which may be all of them: before a
            -- table is analysed it takes that for the shorter way.
            SELECT coalesce(array_agg(d.key ORDER BY d.key), '{}') INTO waiting FROM undrift.dirty AS d
                WHERE d.alias = p_alias AND d.key = ANY (p_keys) AND d.state + 0 = 1
                AND d.source <> found_alias.serving_key;
            IF waiting <> '{}' THEN
                RAISE EXCEPTION 'some documents are still to be carried over' USING ERRCODE = 'UD003';
            END IF;
        END IF;
        outcome := 'opened';
    EXCEPTION WHEN SQLSTATE 'UD003' THEN
        -- Nothing of it is marked.
        outcome := 'foreign'; operation := NULL;
    END;
    RETURN NEXT;
END $$;

-- Counts what has ended since it was done last; whoever takes work does it first (undrift.lock). CLOSE BUMPS SEQ: a worker
-- that read the store before such a write landed may not clear the mark after it.
CREATE OR REPLACE FUNCTION undrift.settle(p_alias text) RETURNS void LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    found_alias undrift.alias;
    listed text[];
    times bigint[];
BEGIN
    -- Who counts holds the row of the alias, so nothing is counted twice. What belongs to a migration that is over says
    -- nothing of the documents of this one.
    found_alias := undrift.bump(p_alias);
    WITH gone AS (DELETE FROM undrift.ended WHERE alias = p_alias RETURNING migration, keys),
    counted AS (
        SELECT given.key, count(*) AS times
        FROM gone CROSS JOIN LATERAL (SELECT DISTINCT k COLLATE "C" AS key FROM unnest(gone.keys) AS k) AS given
        WHERE gone.migration IS NOT DISTINCT FROM found_alias.migration GROUP BY given.key)
    SELECT array_agg(c.key ORDER BY c.key), array_agg(c.times ORDER BY c.key) INTO listed, times FROM counted AS c;
    PERFORM 1 FROM undrift.dirty WHERE alias = p_alias AND key = ANY (listed) ORDER BY key FOR NO KEY UPDATE;
    UPDATE undrift.dirty AS d SET seq = found_alias.sequence, open = greatest(d.open - given.times, 0)
        FROM unnest(listed, times) AS given (key, times) WHERE d.alias = p_alias AND d.key = given.key;
END $$;

-- CLOSE CHECKS REAPED: false when the operation was ended by somebody else; its keys are dirty again.
-- A write waits for its close, so what that means for each of its documents is counted later (undrift.settle). Until
-- then they look as if they were still being written, which keeps every promise: nothing is cleared that is open.
CREATE OR REPLACE FUNCTION undrift.close_journaled(p_alias text, p_operation bigint, p_keys text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    found_alias undrift.alias;
BEGIN
    -- Where nobody looks for work, what waits to be counted shall not grow for ever. Not in a transaction that has written
    -- already: it holds rows of dirty, and counting locks others in their own order.
    IF p_operation % 64 = 0 AND pg_catalog.txid_current_if_assigned() IS NULL THEN
        PERFORM undrift.settle(p_alias);
    END IF;
    WITH gone AS (DELETE FROM undrift.op WHERE id = p_operation AND alias = p_alias RETURNING keys)
    INSERT INTO undrift.ended (alias, migration, keys)
        SELECT p_alias, a.migration, gone.keys FROM gone CROSS JOIN undrift.alias AS a WHERE a.name = p_alias;
    IF FOUND THEN
        RETURN true;
    END IF;
    found_alias := undrift.bump(p_alias);
    IF found_alias.follower IS NOT NULL THEN
        PERFORM undrift.mark(found_alias, p_keys, true);
    END IF;
    RETURN false;
END $$;

-- REAP WAITS D.
CREATE OR REPLACE FUNCTION undrift.reap(p_alias text, p_settle_s float8) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    found_alias undrift.alias;
    moment float8;
    listed text[];
    reaped bigint := 0;
BEGIN
    found_alias := undrift.bump(p_alias);
    moment := undrift.now();
    FOR listed IN
        DELETE FROM undrift.op WHERE alias = p_alias AND deadline + p_settle_s < moment RETURNING keys
    LOOP
        PERFORM undrift.end_keys(p_alias, found_alias.sequence, listed);
        reaped := reaped + 1;
    END LOOP;
    RETURN reaped;
END $$;
