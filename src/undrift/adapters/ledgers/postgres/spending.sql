-- What is put aside for requests under way, what was spent before a price rose, and the pace of accounts.

CREATE TABLE undrift.reservation (
    migration text COLLATE "C" NOT NULL, client text COLLATE "C" NOT NULL, tokens bigint NOT NULL,
    PRIMARY KEY (migration, client)) WITH (fillfactor = 50);

CREATE TABLE undrift.repriced (
    migration text COLLATE "C" PRIMARY KEY, tokens bigint NOT NULL, usd double precision NOT NULL);

CREATE TABLE undrift.pace (account text COLLATE "C" PRIMARY KEY, content text NOT NULL) WITH (fillfactor = 50);
