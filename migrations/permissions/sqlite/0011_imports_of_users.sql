-- Users are imported as grants are; an import is of one kind.
ALTER TABLE imports ADD COLUMN kind text NOT NULL DEFAULT 'grants';
ALTER TABLE imports ADD COLUMN existing integer NOT NULL DEFAULT 0;
