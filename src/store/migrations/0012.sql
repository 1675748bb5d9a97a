-- liveness_exempt: the reason for which the judgement on a living face sends the worker to no guard.
ALTER TABLE worker ADD COLUMN liveness_exempt TEXT;
