-- What the look-out has seen and told. A memo's version is never given out again, so that one that was removed and made
-- anew is not mistaken for the one that was read.

CREATE SEQUENCE undrift.memo_version;

CREATE TABLE undrift.memo (
    key text COLLATE "C" PRIMARY KEY, text text NOT NULL, version bigint NOT NULL) WITH (fillfactor = 50);

CREATE TABLE undrift.observation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, series text COLLATE "C" NOT NULL, moment float8 NOT NULL,
    text text NOT NULL);
CREATE INDEX observation_by_series ON undrift.observation (series, moment, id);
