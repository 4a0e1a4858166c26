-- The control tables. Ids compare by code point (COLLATE "C"), as in every other part of undrift; times are seconds of
-- undrift.now(), so that one comparison decides everywhere.
CREATE SCHEMA IF NOT EXISTS undrift;

CREATE TABLE undrift.ledger_meta (key text PRIMARY KEY, value text NOT NULL);

CREATE TABLE undrift.space (
    id text COLLATE "C" PRIMARY KEY, definition text NOT NULL, model text NOT NULL, probes bytea NOT NULL);

-- `serving` and `follower` are JSON; `serving_key` is the name of the serving field in the journal.
CREATE TABLE undrift.alias (
    name text COLLATE "C" PRIMARY KEY, serving text NOT NULL, serving_key text NOT NULL, follower text,
    mode text NOT NULL, epoch bigint NOT NULL, sequence bigint NOT NULL DEFAULT 0,
    hold_until float8 NOT NULL DEFAULT 0, migration text COLLATE "C", model text NOT NULL, mirror text NOT NULL,
    needs_reconcile text NOT NULL DEFAULT '') WITH (fillfactor = 25);

CREATE TABLE undrift.client (
    id text COLLATE "C" PRIMARY KEY, host text NOT NULL, pid bigint NOT NULL, role text NOT NULL, version text NOT NULL,
    process text NOT NULL, lease_expires float8 NOT NULL) WITH (fillfactor = 50);

CREATE TABLE undrift.ack (
    alias text COLLATE "C" NOT NULL, client text COLLATE "C" NOT NULL, epoch bigint NOT NULL,
    PRIMARY KEY (alias, client)) WITH (fillfactor = 50);

CREATE TABLE undrift.op (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, alias text COLLATE "C" NOT NULL,
    client text COLLATE "C" NOT NULL, epoch bigint NOT NULL, field text NOT NULL, deadline float8 NOT NULL,
    keys text[] NOT NULL);
CREATE INDEX op_by_alias ON undrift.op (alias, deadline);

-- state: 0 clean, which still means touched; 1 dirty.
CREATE TABLE undrift.dirty (
    alias text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, state smallint NOT NULL, source text NOT NULL,
    seq bigint NOT NULL, open integer NOT NULL, since float8 NOT NULL, claim text COLLATE "C",
    claim_expires float8 NOT NULL DEFAULT 0, attempts integer NOT NULL DEFAULT 0, retry_at float8 NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '', PRIMARY KEY (alias, key)) WITH (fillfactor = 70);
CREATE INDEX dirty_now ON undrift.dirty (alias, since) WHERE state = 1;

-- state: 0 pending, 1 leased, 2 publishing, 3 published.
CREATE TABLE undrift.chunk (
    migration text COLLATE "C" NOT NULL, number bigint NOT NULL, lo text COLLATE "C" NOT NULL,
    hi text COLLATE "C" NOT NULL, count bigint NOT NULL, state smallint NOT NULL, owner text COLLATE "C",
    fence bigint NOT NULL, expires float8 NOT NULL, PRIMARY KEY (migration, number)) WITH (fillfactor = 70);
CREATE INDEX chunk_todo ON undrift.chunk (migration, number) WHERE state < 3;

CREATE TABLE undrift.quarantine (
    alias text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, reason text NOT NULL, detail text NOT NULL,
    first_seen timestamptz NOT NULL, PRIMARY KEY (alias, key));

CREATE TABLE undrift.migration (
    id text COLLATE "C" PRIMARY KEY, alias text COLLATE "C" NOT NULL, source text NOT NULL, target text NOT NULL,
    target_model text NOT NULL, phase text NOT NULL, run_status text NOT NULL, reason text NOT NULL,
    total bigint NOT NULL, planned boolean NOT NULL, tokens bigint NOT NULL, budget_tokens bigint, budget_usd float8,
    price float8 NOT NULL, started timestamptz NOT NULL, finished timestamptz, coordinator text COLLATE "C",
    coordinator_expires float8 NOT NULL DEFAULT 0, verification text) WITH (fillfactor = 25);

CREATE TABLE undrift.tuning (
    alias text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, value text NOT NULL, PRIMARY KEY (alias, key));

CREATE TABLE undrift.golden (name text COLLATE "C" PRIMARY KEY, content text NOT NULL);

CREATE TABLE undrift.history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL, alias text COLLATE "C" NOT NULL,
    who text NOT NULL, action text NOT NULL, epoch bigint NOT NULL, detail text NOT NULL);
CREATE INDEX history_by_alias ON undrift.history (alias, id);
