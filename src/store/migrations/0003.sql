-- Commands of platforms that change something: each is done once, and answered again. digest: a
-- keyed hash of what was asked for; proof: that of a fixed word, which tells whether the key is
-- still the one of the digest. issued_ms: absent where no clock could say whether it was true.
-- reply: JSON; absent until it was done. attempts: how often it was begun.
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

-- The latest time at which a command was issued that is no longer remembered: one from before it
-- may have been done.
CREATE TABLE command_forgotten (
    upstream TEXT PRIMARY KEY,
    upto_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
