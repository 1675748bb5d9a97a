-- Codes in QR that opened a gate: each counts once. code: its hash; expires: in seconds since the Unix
-- epoch.
CREATE TABLE used_code (
    n       INTEGER PRIMARY KEY,
    code    BLOB    NOT NULL UNIQUE,
    expires INTEGER NOT NULL
) STRICT;
