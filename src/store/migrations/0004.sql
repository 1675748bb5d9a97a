-- The entries that say when a boot of the machine began.
CREATE INDEX entry_clock ON entry (idx) WHERE kind IN ('boot', 'clock');
