-- Jobs of batch APIs, and the pieces of back-fills that wait for them.

CREATE TABLE undrift.batch_job (
    id text COLLATE "C" PRIMARY KEY, alias text COLLATE "C" NOT NULL, migration text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL, state text NOT NULL, vault text NOT NULL, queued bigint NOT NULL,
    tokens bigint NOT NULL, price float8 NOT NULL, content text NOT NULL, owner text COLLATE "C", fence bigint NOT NULL,
    expires float8 NOT NULL, recorded float8 NOT NULL, changed float8 NOT NULL) WITH (fillfactor = 50);

CREATE TABLE undrift.batch_piece (
    migration text COLLATE "C" NOT NULL, number bigint NOT NULL, job text COLLATE "C" NOT NULL,
    PRIMARY KEY (migration, number, job));
CREATE INDEX batch_piece_by_job ON undrift.batch_piece (job);
