-- Signing in with providers outside: sign-ins that were begun, who is who, and which memberships a provider made.

-- Deleted when completed. What the browser carries is kept as a digest alone; `proof` is encrypted.
CREATE TABLE sign_ins (
    state_hash   blob PRIMARY KEY,
    token_hash   blob NOT NULL,
    provider     text NOT NULL,
    proof        blob NOT NULL,
    redirect_uri text NOT NULL,
    expires_at   integer NOT NULL
);
-- "Which were never completed?"
CREATE INDEX sign_ins_by_end ON sign_ins (expires_at);

CREATE TABLE identities (
    id           blob PRIMARY KEY,
    provider     text NOT NULL,
    subject      text NOT NULL,
    user_id      blob NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   integer NOT NULL,
    last_used_at integer NOT NULL,
    UNIQUE (provider, subject)
);
CREATE INDEX identities_by_user ON identities (user_id, id);

-- Memberships that are there because of an identity; those made by hand have no row here. One that is taken away by
-- hand takes its row along, so that making it again by hand makes it last.
CREATE TABLE identity_memberships (
    identity_id blob NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    group_id    blob NOT NULL,
    member_kind text NOT NULL DEFAULT 'user' CHECK (member_kind = 'user'),
    user_id     blob NOT NULL,
    PRIMARY KEY (identity_id, group_id),
    FOREIGN KEY (group_id, member_kind, user_id)
        REFERENCES memberships (group_id, member_kind, member_id) ON DELETE CASCADE
);
-- "Which identities put this user where?", and followed when a membership goes.
CREATE INDEX identity_memberships_by_user ON identity_memberships (user_id, group_id, member_kind);
