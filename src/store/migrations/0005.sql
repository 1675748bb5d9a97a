-- The health journal: the entries that say when the gate was down or blind.
CREATE INDEX entry_health ON entry (idx, kind)
    WHERE kind IN ('boot', 'shutdown', 'gap', 'alarm', 'storage', 'clock');
