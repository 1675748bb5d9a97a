-- Consents that were given or withdrawn by purpose: `face`, or `photo:` with the name of an upstream.
-- form, given_on: absent where a worker withdrew who had given none. withdrawn_on: absent while the
-- consent is in force. A row for the face repeats the consent of the worker's row, or says that it
-- was withdrawn. Rows of removed workers stay, because a withdrawal holds for the person.
CREATE TABLE consent (
    worker TEXT NOT NULL REFERENCES worker (id),
    purpose TEXT NOT NULL,
    form TEXT,
    given_on TEXT,
    withdrawn_on TEXT,
    PRIMARY KEY (worker, purpose)
) STRICT, WITHOUT ROWID;
