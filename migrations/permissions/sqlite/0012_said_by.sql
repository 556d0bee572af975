-- "What did this person say and decide?" It is erased with them.
CREATE INDEX access_comments_by_author ON access_comments (author);
CREATE INDEX access_decisions_by_approver ON access_decisions (approver) WHERE approver IS NOT NULL;
