-- Hashes of complete subtrees of the ledger's Merkle tree, of the levels 8 and 16 alone (256 and
-- 65,536 leaves). number counts the subtrees of a level from the left.
CREATE TABLE subtree (
    level INTEGER NOT NULL,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, number)
) STRICT, WITHOUT ROWID;
