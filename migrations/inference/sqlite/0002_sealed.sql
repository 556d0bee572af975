-- What callers say and what they are answered is sealed, see shared::seal::rows: `seal` names the key of a row. What was
-- written before was in clear; no release has written any.
DELETE FROM batch_lines;
DELETE FROM batches;
DELETE FROM file_pieces;
DELETE FROM files;
DELETE FROM claims;

ALTER TABLE claims DROP COLUMN message;
ALTER TABLE claims ADD COLUMN message BLOB;
-- A keyed digest of what the owner's name of a request was given to.
ALTER TABLE claims ADD COLUMN request_body BLOB;
ALTER TABLE claims ADD COLUMN seal TEXT NOT NULL DEFAULT '';
CREATE INDEX claims_by_seal ON claims (seal);

ALTER TABLE files DROP COLUMN name;
ALTER TABLE files ADD COLUMN name BLOB NOT NULL DEFAULT X'';
ALTER TABLE files ADD COLUMN seal TEXT NOT NULL DEFAULT '';
CREATE INDEX files_by_seal ON files (seal);

ALTER TABLE file_pieces ADD COLUMN seal TEXT NOT NULL DEFAULT '';
CREATE INDEX file_pieces_by_seal ON file_pieces (seal);

ALTER TABLE batches DROP COLUMN metadata;
ALTER TABLE batches DROP COLUMN errors;
ALTER TABLE batches ADD COLUMN metadata BLOB NOT NULL DEFAULT X'';
ALTER TABLE batches ADD COLUMN errors BLOB;
ALTER TABLE batches ADD COLUMN seal TEXT NOT NULL DEFAULT '';
CREATE INDEX batches_by_seal ON batches (seal);

ALTER TABLE batch_lines ADD COLUMN seal TEXT NOT NULL DEFAULT '';
CREATE INDEX batch_lines_by_seal ON batch_lines (seal);

CREATE TABLE seals (id INTEGER PRIMARY KEY CHECK (id = 1), proof BLOB NOT NULL) STRICT;
