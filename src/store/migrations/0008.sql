-- What came from afar and waits for a person at the site: the worker, or new faces of a worker who
-- is confirmed. pending_from: the upstream.
ALTER TABLE worker ADD COLUMN pending TEXT CHECK (pending IN ('worker', 'faces'));
ALTER TABLE worker ADD COLUMN pending_from TEXT;
-- 1: the worker once had templates, and they were erased.
ALTER TABLE worker ADD COLUMN face_erased INTEGER NOT NULL DEFAULT 0 CHECK (face_erased IN (0, 1));
-- anchor: of the first enrolment; new faces are compared with it. later: another one that the gate
-- matches. past: an anchor whose photo was replaced, and which the gate does not match any more.
-- waiting: from afar, until a person at the site confirms it. The templates at hand before this
-- column was added count as the first enrolment's.
ALTER TABLE template ADD COLUMN role TEXT NOT NULL DEFAULT 'anchor'
    CHECK (role IN ('anchor', 'later', 'past', 'waiting'));
