-- Sessions and what carries them, and the keys that sign access tokens. Opening and refreshing a session touches the
-- first two tables alone: no event, no revision.

CREATE TABLE sessions (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users (id),
    -- 'password', or the name of an external provider.
    method       text COLLATE "C" NOT NULL,
    -- User agent and network address, encrypted.
    client       bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    refreshed_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    -- From when on none of its access tokens would be valid anyway.
    tokens_until timestamptz,
    CHECK ((ended_at IS NULL) = (tokens_until IS NULL))
);
-- The sessions of a user that go on.
CREATE INDEX sessions_by_user ON sessions (user_id, id) WHERE ended_at IS NULL;
-- "Which ended lately?", and "What can go?"
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    -- SHA-256 of the token.
    hash       bytea PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    spent_at   timestamptz
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

CREATE TABLE signing_keys (
    kid        text COLLATE "C" PRIMARY KEY,
    public     bytea NOT NULL,
    -- The private half, encrypted.
    seed       bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- From when on it signs, until when, and until when its signatures count.
    active_at  timestamptz NOT NULL,
    retired_at timestamptz,
    until      timestamptz,
    CHECK ((retired_at IS NULL) = (until IS NULL))
);
