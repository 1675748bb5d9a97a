-- The passages of one lane, latest last.
CREATE INDEX entry_lane ON entry (lane) WHERE lane IS NOT NULL AND kind IN ('grant', 'release');
