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
