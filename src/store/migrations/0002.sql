-- A worker may be held back without leaving the roster: `held` is 'suspended' or 'barred'.
ALTER TABLE worker ADD COLUMN held TEXT CHECK (held IN ('suspended', 'barred'));
ALTER TABLE worker ADD COLUMN held_reason TEXT;
-- Days, as the site keeps them.
ALTER TABLE worker ADD COLUMN consent_on TEXT;
ALTER TABLE worker ADD COLUMN contract_signed TEXT;
ALTER TABLE worker ADD COLUMN trained_on TEXT;

-- What lets somebody through, by when it was (of a supplement: when it is said to have been); with
-- what else is asked of it before its bytes are read.
CREATE INDEX entry_attended ON entry (at_ms, idx, lane, kind, worker)
    WHERE worker IS NOT NULL AND kind IN ('grant', 'release', 'supplement');

-- Photos of passages: files in the folder `photos`, each sealed with a key of its own, and that key
-- sealed here. An empty key: the photo is erased, and its file goes right after. folder: where the
-- file is. day: until when it is kept counts from here; absent while no clock could be trusted.
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
