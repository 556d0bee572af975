//! Which method and route is which action, unless configured otherwise.

/// Methods and routes; `*` at the end stands for anything.
pub(crate) const ROUTES: &[(&str, &str)] = &[
    ("/*", crate::action::MANAGEMENT),
    ("/v1/*", crate::action::INFERENCE),
    ("/v2/rerank", crate::action::INFERENCE),
    ("/rerank", crate::action::INFERENCE),
    ("/score", crate::action::INFERENCE),
    ("/tokenize", crate::action::INFERENCE),
    ("/detokenize", crate::action::INFERENCE),
    ("/tollgate.inference.v1.InferenceService/*", crate::action::INFERENCE),
    ("/tollgate.permissions.v1.ModelService/GetModel", "model_read"),
    ("/tollgate.permissions.v1.ModelService/ListModels", "model_read"),
    ("/tollgate.permissions.v1.ModelService/ListAliases", "model_read"),
    ("/tollgate.permissions.v1.BatchService/BatchGrants", "batch"),
    ("/tollgate.permissions.v1.BatchService/ImportGrants", "batch"),
    ("/tollgate.permissions.v1.BatchService/ExportGrants", "batch"),
    ("/tollgate.permissions.v1.GroupService/BatchAddMembers", "batch"),
    ("/tollgate.permissions.v1.GroupService/BatchRemoveMembers", "batch"),
];
