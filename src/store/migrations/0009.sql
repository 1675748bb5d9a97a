-- What a platform said of a row that it judges by itself. serial: the number under which its verdict
-- is asked for; the row is still in the outbox. words: why it refused the row, which stands aside as
-- UPSTREAM/refused. here: 1 where the gateway itself lacks something for the row.
CREATE TABLE verdict (
    upstream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    serial TEXT,
    words TEXT,
    here INTEGER NOT NULL DEFAULT 0 CHECK (here IN (0, 1)),
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (upstream, seq)
) STRICT, WITHOUT ROWID;
-- A verdict goes with its row.
CREATE TRIGGER verdict_of_row AFTER DELETE ON outbox BEGIN
    DELETE FROM verdict WHERE upstream = OLD.upstream AND seq = OLD.seq;
END;
-- The number of a worker at a platform.
CREATE TABLE platform_code (
    upstream TEXT NOT NULL,
    worker TEXT NOT NULL,
    code TEXT NOT NULL,
    PRIMARY KEY (upstream, worker)
) STRICT, WITHOUT ROWID;
