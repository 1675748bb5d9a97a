-- Photos that are still to go to an upstream, which has their records. seq: the record's.
CREATE TABLE photo_due (
    upstream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (upstream, seq)
) STRICT, WITHOUT ROWID;
