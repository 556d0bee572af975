-- Grants as people read them: one row per grant that counts, with names where the tables have ids. Names of people are
-- encrypted, so here people are their ids.
CREATE VIEW model_permissions_detailed AS
SELECT
    grants.id AS grant_id,
    grants.model_id,
    models.name AS model_name,
    grants.model_set_id,
    model_sets.name AS model_set_name,
    grants.grantee_kind,
    grants.grantee_id,
    CASE grants.grantee_kind
        WHEN 'user' THEN lower(substr(hex(grants.grantee_id), 1, 8) || '-' ||
            substr(hex(grants.grantee_id), 9, 4) || '-' ||
            substr(hex(grants.grantee_id), 13, 4) || '-' ||
            substr(hex(grants.grantee_id), 17, 4) || '-' ||
            substr(hex(grants.grantee_id), 21))
        WHEN 'group' THEN groups.name
        ELSE 'everyone'
    END AS grantee_name,
    grants.action,
    grants.effect,
    grants.starts_at,
    grants.expires_at,
    grants.granted_by,
    lower(substr(hex(grants.granted_by), 1, 8) || '-' ||
            substr(hex(grants.granted_by), 9, 4) || '-' ||
            substr(hex(grants.granted_by), 13, 4) || '-' ||
            substr(hex(grants.granted_by), 17, 4) || '-' ||
            substr(hex(grants.granted_by), 21)) AS granted_by_name,
    grants.created_at
FROM grants
LEFT JOIN models ON models.id = grants.model_id
LEFT JOIN model_sets ON model_sets.id = grants.model_set_id
LEFT JOIN groups ON grants.grantee_kind = 'group' AND groups.id = grants.grantee_id
WHERE grants.dead_ends = 0;

-- "What ends soon?" Most grants and memberships never do.
CREATE INDEX grants_ending ON grants (expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX memberships_ending ON memberships (expires_at) WHERE expires_at IS NOT NULL;
-- "Which keys still work?" A key that was revoked stays for the record alone.
CREATE INDEX keys_in_force ON keys (expires_at, id) WHERE revoked_at IS NULL;

-- What refers to a row is looked for when that row goes.
CREATE INDEX approval_policies_by_approver ON approval_policies (approver_group) WHERE approver_group IS NOT NULL;
CREATE INDEX approval_policies_by_auto_group ON approval_policies (auto_group) WHERE auto_group IS NOT NULL;
CREATE INDEX access_requests_by_model ON access_requests (model_id);
CREATE INDEX notifications_by_request ON notifications (request_id);
CREATE INDEX identity_memberships_by_group ON identity_memberships (group_id);
-- Sessions that ended, too: a person who is erased is erased from these as well.
CREATE INDEX sessions_of_user ON sessions (user_id);
