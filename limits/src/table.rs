//! Which method and route is which action and how much it weighs, unless configured otherwise.
//!
//! `*` at the end stands for anything, and a verb before the path for that verb alone. The longest that fits counts.

use crate::{
    action::{BATCH, INFERENCE, MANAGEMENT, MODEL_READ, SUBMISSION},
    at_once::Weight::{self, Free, Heavy, Light, Middle},
};

/// Actions.
pub(crate) const ROUTES: &[(&str, &str)] = &[
    ("/*", MANAGEMENT),
    ("/v1/*", INFERENCE),
    ("/v2/rerank", INFERENCE),
    ("/rerank", INFERENCE),
    ("/score", INFERENCE),
    ("/tokenize", INFERENCE),
    ("/detokenize", INFERENCE),
    // Of OpenAI's routes, these ask no engine.
    ("/v1/files*", MANAGEMENT),
    ("POST /v1/files", BATCH),
    ("/v1/batches*", MANAGEMENT),
    ("POST /v1/batches", BATCH),
    ("/tollgate.inference.v1.InferenceService/*", INFERENCE),
    ("/tollgate.inference.v1.JobService/SubmitJob", SUBMISSION),
    ("/tollgate.inference.v1.InferenceBatchService/CreateBatch", BATCH),
    ("/tollgate.inference.v1.FileService/UploadFile", BATCH),
    ("/tollgate.permissions.v1.ModelService/GetModel", MODEL_READ),
    ("/tollgate.permissions.v1.ModelService/ListModels", MODEL_READ),
    ("/tollgate.permissions.v1.ModelService/ListAliases", MODEL_READ),
    ("/tollgate.permissions.v1.AliasService/ListAliases", MODEL_READ),
    ("/tollgate.permissions.v1.BatchService/BatchGrants", BATCH),
    ("/tollgate.permissions.v1.BatchService/ImportGrants", BATCH),
    ("/tollgate.permissions.v1.BatchService/ExportGrants", BATCH),
    ("/tollgate.permissions.v1.GroupService/BatchAddMembers", BATCH),
    ("/tollgate.permissions.v1.GroupService/BatchRemoveMembers", BATCH),
    ("/tollgate.permissions.v1.UserService/ImportUsers", BATCH),
];

/// Weights.
pub(crate) const WEIGHTS: &[(&str, Weight)] = &[
    ("/*", Light),
    // Prompts: as many as the engines admit.
    ("/v1/*", Free),
    ("/v2/rerank", Free),
    ("/rerank", Free),
    ("/score", Free),
    ("/tokenize", Free),
    ("/detokenize", Free),
    ("/tollgate.inference.v1.InferenceService/*", Free),
    ("/tollgate.inference.v1.GatewayService/*", Free),
    // Health and reflection.
    ("/grpc.*", Free),
    // Answered from memory in less time than it takes to count.
    ("/tollgate.permissions.v1.AuthorizationService/Check", Free),
    ("/tollgate.permissions.v1.AuthorizationService/BatchCheck", Free),
    ("/tollgate.permissions.v1.AuthorizationService/CheckStream", Free),
    ("/tollgate.permissions.v1.AuthorizationService/*", Middle),
    ("/tollgate.permissions.v1.AuditService/*", Heavy),
    ("/tollgate.permissions.v1.AuditService/GetEvent", Light),
    ("/tollgate.permissions.v1.AuditService/ListEvents", Middle),
    ("/tollgate.permissions.v1.BatchService/*", Heavy),
    ("/tollgate.permissions.v1.BatchService/GetImport", Light),
    ("/tollgate.permissions.v1.GroupService/BatchAddMembers", Heavy),
    ("/tollgate.permissions.v1.GroupService/BatchRemoveMembers", Heavy),
    ("/tollgate.permissions.v1.IncidentService/*", Middle),
    ("/tollgate.permissions.v1.PrivacyService/EraseUser", Heavy),
    // A password is hashed.
    ("/tollgate.permissions.v1.SessionService/SignIn", Middle),
    ("/tollgate.permissions.v1.SessionService/ChangePassword", Middle),
    ("/tollgate.permissions.v1.SessionService/SetPassword", Middle),
    ("/tollgate.permissions.v1.UserService/ImportUsers", Heavy),
    ("/tollgate.monitoring.v1.UsageService/*", Middle),
    ("/tollgate.inference.v1.CacheService/*", Middle),
    ("/tollgate.inference.v1.JobService/*", Middle),
    ("/tollgate.inference.v1.InferenceBatchService/*", Middle),
    ("/tollgate.inference.v1.FileService/*", Middle),
    ("/tollgate.inference.v1.FileService/UploadFile", Heavy),
    ("/tollgate.inference.v1.FileService/DownloadFile", Heavy),
    ("/v1/batches*", Middle),
    ("/v1/files*", Middle),
    ("POST /v1/files", Heavy),
];
