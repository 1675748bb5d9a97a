-- Facts about the database: ledger id, gateway id, and a sealed word that proves the key.
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
    -- Days, as the site keeps them.
    consent TEXT,
    consent_on TEXT,
    contract_signed TEXT,
    trained_on TEXT,
    state TEXT NOT NULL CHECK (state IN ('active', 'removed')),
    -- A worker may be held back without leaving the roster.
    held TEXT CHECK (held IN ('suspended', 'barred')),
    held_reason TEXT
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

-- The ledger. idx counts all entries from 0. seq counts the entries that go upstream, from 1.
-- worker, lane, cause and at_ms repeat fields of bytes, for queries. The worker of an outcome is the
-- worker of its cause.
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
CREATE INDEX entry_cause ON entry (cause, kind) WHERE cause IS NOT NULL;
-- A cause has one outcome, which corrections may follow.
CREATE UNIQUE INDEX entry_outcome ON entry (cause) WHERE kind = 'outcome';

-- Grants and releases that have no outcome yet.
CREATE TABLE open_passage (
    passage BLOB PRIMARY KEY CHECK (length(passage) = 16),
    cause INTEGER NOT NULL REFERENCES entry (idx)
) STRICT, WITHOUT ROWID;

-- Upstreams for which the outbox was ever filled. left_at: the last seq when the upstream left the
-- configuration. When it is configured again, it gets the later records.
CREATE TABLE upstream (name TEXT PRIMARY KEY, left_at INTEGER) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    upstream TEXT NOT NULL,
    seq INTEGER NOT NULL REFERENCES entry (seq),
    PRIMARY KEY (upstream, seq)
) STRICT, WITHOUT ROWID;

-- Causes of passages by their time; for a supplement, the reported time. The other columns answer
-- queries before the bytes are read.
CREATE INDEX entry_attended ON entry (at_ms, idx, lane, kind, worker)
    WHERE worker IS NOT NULL AND kind IN ('grant', 'release', 'supplement');

-- Photos of passages: files in the folder `photos`. Each is sealed with a key of its own, which is
-- stored sealed here. An empty key: the photo is erased, and its file is removed next. folder: the
-- folder of the file. day: the start of the time for which it is kept; absent while the clock was
-- not trusted.
CREATE TABLE passage_photo (
    n INTEGER PRIMARY KEY,
    passage BLOB NOT NULL UNIQUE CHECK (length(passage) = 16),
    worker TEXT NOT NULL REFERENCES worker (id),
    folder TEXT NOT NULL,
    day TEXT,
    bytes INTEGER NOT NULL,
    key BLOB NOT NULL
) STRICT;
CREATE INDEX passage_photo_worker ON passage_photo (worker);
CREATE INDEX passage_photo_day ON passage_photo (day);
CREATE INDEX passage_photo_erased ON passage_photo (n) WHERE length(key) = 0;

-- Commands of platforms that change something. Each is carried out once, and a repeated one gets the
-- same reply. digest: a keyed hash of the command. proof: the same hash of a fixed word, which shows
-- whether the key is still the same. issued_ms: absent if no trusted clock could check it.
-- reply: JSON; absent until the command is done. attempts: how often the command was begun.
CREATE TABLE command (
    n INTEGER PRIMARY KEY,
    upstream TEXT NOT NULL,
    id TEXT NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    proof BLOB NOT NULL CHECK (length(proof) = 32),
    issued_ms INTEGER,
    reply TEXT CHECK (length(reply) <= 65536),
    attempts INTEGER NOT NULL DEFAULT 1,
    UNIQUE (upstream, id)
) STRICT;

-- The latest issue time of the commands that were deleted. An older command may have been carried
-- out already.
CREATE TABLE command_forgotten (
    upstream TEXT PRIMARY KEY,
    upto_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
