-- The cards of workers. lookup: a keyed hash of the number; sealed: the number.
CREATE TABLE card (
    lookup BLOB    NOT NULL PRIMARY KEY,
    worker TEXT    NOT NULL REFERENCES worker (id),
    sealed BLOB    NOT NULL,
    lost   INTEGER NOT NULL DEFAULT 0 CHECK (lost IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX card_worker ON card (worker);
