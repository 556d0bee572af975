-- What a gateway says to the others that use the same engines, as the contract's message; nobody asks by what is in it.
-- An older report that arrives late changes nothing.
ALTER TABLE replicas ADD COLUMN sequence integer NOT NULL DEFAULT 0;
ALTER TABLE replicas ADD COLUMN gateway blob;
