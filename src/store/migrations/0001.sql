-- What the database itself is: ledger id, gateway id, and a sealed word that proves the key.
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- A worker's id is never used again, so a removed worker's row stays, without its templates.
-- identity: sealed ID type, number and commitment salt. identity_lookup: keyed hash of the number.
CREATE TABLE worker (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    team TEXT NOT NULL,
    contractor TEXT NOT NULL,
    trade TEXT NOT NULL,
    identity BLOB NOT NULL,
    identity_lookup BLOB NOT NULL,
    valid_from TEXT,
    valid_until TEXT,
    consent TEXT,
    state TEXT NOT NULL CHECK (state IN ('active', 'removed'))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX worker_identity ON worker (identity_lookup) WHERE state <> 'removed';

CREATE TABLE template (
    worker TEXT NOT NULL REFERENCES worker (id),
    ordinal INTEGER NOT NULL,
    model TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (worker, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE photo (
    worker TEXT NOT NULL REFERENCES worker (id),
    ordinal INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (worker, ordinal)
) STRICT;

-- The ledger. idx counts all entries from 0; seq counts from 1 those that go upstream.
-- worker, lane, cause and at_ms repeat what bytes says, for finding; an outcome's worker is its
-- cause's.
CREATE TABLE entry (
    idx INTEGER PRIMARY KEY,
    seq INTEGER UNIQUE,
    kind TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    worker TEXT,
    lane TEXT,
    cause INTEGER REFERENCES entry (idx),
    bytes BLOB NOT NULL,
    leaf BLOB NOT NULL CHECK (length(leaf) = 32)
) STRICT;
CREATE INDEX entry_worker ON entry (worker, at_ms) WHERE worker IS NOT NULL;
-- A cause has one outcome.
CREATE UNIQUE INDEX entry_cause ON entry (cause) WHERE cause IS NOT NULL;

-- Causes of release whose outcome is not yet an entry.
CREATE TABLE open_passage (
    passage BLOB PRIMARY KEY CHECK (length(passage) = 16),
    cause INTEGER NOT NULL REFERENCES entry (idx)
) STRICT, WITHOUT ROWID;

-- Upstreams that the outbox has ever been filled for. left_at: the last seq there was when one was
-- no longer configured; it gets what came after when it is configured again.
CREATE TABLE upstream (name TEXT PRIMARY KEY, left_at INTEGER) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    upstream TEXT NOT NULL,
    seq INTEGER NOT NULL REFERENCES entry (seq),
    PRIMARY KEY (upstream, seq)
) STRICT, WITHOUT ROWID;
