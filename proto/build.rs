//! Compiles the contract: messages, clients and servers, the descriptor set, and the access table.

use anyhow::{Context, Result};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor, Value,
};
use std::{fmt::Write as _, path::PathBuf};

const FILES: &[&str] = &[
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "tollgate/common/v1/access.proto",
    "tollgate/common/v1/events.proto",
    "tollgate/common/v1/logs.proto",
    "tollgate/permissions/v1/access_requests.proto",
    "tollgate/permissions/v1/audit.proto",
    "tollgate/permissions/v1/authorization.proto",
    "tollgate/permissions/v1/batches.proto",
    "tollgate/permissions/v1/changes.proto",
    "tollgate/permissions/v1/consistency.proto",
    "tollgate/permissions/v1/database.proto",
    "tollgate/permissions/v1/grants.proto",
    "tollgate/permissions/v1/groups.proto",
    "tollgate/permissions/v1/imports.proto",
    "tollgate/permissions/v1/incidents.proto",
    "tollgate/permissions/v1/keys.proto",
    "tollgate/permissions/v1/me.proto",
    "tollgate/permissions/v1/models.proto",
    "tollgate/permissions/v1/policy.proto",
    "tollgate/permissions/v1/privacy.proto",
    "tollgate/permissions/v1/sets.proto",
    "tollgate/permissions/v1/providers.proto",
    "tollgate/permissions/v1/questions.proto",
    "tollgate/permissions/v1/replicas.proto",
    "tollgate/permissions/v1/sessions.proto",
    "tollgate/permissions/v1/users.proto",
    "tollgate/inference/v1/batches.proto",
    "tollgate/inference/v1/cache.proto",
    "tollgate/inference/v1/engines.proto",
    "tollgate/inference/v1/files.proto",
    "tollgate/inference/v1/gateways.proto",
    "tollgate/inference/v1/inference.proto",
    "tollgate/inference/v1/jobs.proto",
    "tollgate/inference/v1/limits.proto",
    "tollgate/inference/v1/mode.proto",
    "tollgate/inference/v1/queue.proto",
    "tollgate/monitoring/v1/budgets.proto",
    "tollgate/monitoring/v1/cost.proto",
    "tollgate/monitoring/v1/health.proto",
    "tollgate/monitoring/v1/metrics.proto",
    "tollgate/monitoring/v1/alerts.proto",
    "tollgate/monitoring/v1/notifications.proto",
    "tollgate/monitoring/v1/requests.proto",
    "tollgate/monitoring/v1/prices.proto",
    "tollgate/monitoring/v1/instances.proto",
    "tollgate/monitoring/v1/scaling.proto",
    "tollgate/monitoring/v1/silences.proto",
    "tollgate/monitoring/v1/usage.proto",
];

/// KEDA's contract: served on a port of its own, and neither part of ours nor behind its access table.
const KEDA: &str = "externalscaler/externalscaler.proto";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=tollgate");
    println!("cargo:rerun-if-changed=externalscaler");
    println!("cargo:rerun-if-changed=google");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let pool = compiler.descriptor_pool();
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    std::fs::write(out.join("access.rs"), access_table(&pool)?)?;
    std::fs::write(out.join("mutations.rs"), mutations(&pool)?)?;

    let redacted = redacted(&pool);
    std::fs::write(out.join("redacted.rs"), debug_of(&redacted)?)?;
    tonic_prost_build::configure()
        .bytes(".")
        .skip_debug(redacted.iter().map(|message| format!(".{}", message.full_name())))
        .boxed(".tollgate.permissions.v1.WatchChangesResponse.message.event")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(compiler.file_descriptor_set())
        .context("generate Rust from the contract")?;
    tonic_prost_build::configure()
        .compile_fds(protox::compile([KEDA], ["."])?)
        .context("generate Rust from KEDA's contract")?;
    Ok(())
}

/// Messages with a field marked `debug_redact`.
fn redacted(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    let ours = pool.all_messages().filter(|message| message.full_name().starts_with("tollgate."));
    ours.filter(|message| message.fields().any(|field| is_secret(&field))).collect()
}

fn is_secret(field: &FieldDescriptor) -> bool {
    let option = field.options().get_field_by_name("debug_redact").map(|value| value.as_bool());
    option.flatten().unwrap_or_default()
}

/// `Debug` for these messages, which shows every field but the secret ones and those of a oneof.
fn debug_of(messages: &[MessageDescriptor]) -> Result<String> {
    let mut code = String::new();
    for message in messages {
        let name = message.name();
        writeln!(code, "impl std::fmt::Debug for {} {{", rust_type(message.full_name()))?;
        writeln!(code, "    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{")?;
        write!(code, "        f.debug_struct(\"{name}\")")?;
        for field in message.fields() {
            let oneof = field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic());
            if !oneof && !is_secret(&field) {
                write!(code, ".field(\"{0}\", &self.{0})", field.name())?;
            }
        }
        writeln!(code, ".finish_non_exhaustive()\n    }}\n}}")?;
    }
    Ok(code)
}

/// One row per method: its path, the roles that may call it, and whether services may.
fn access_table(pool: &DescriptorPool) -> Result<String> {
    let option =
        pool.get_extension_by_name("tollgate.common.v1.access").context("the access option is missing")?;
    let mut rows = String::from("&[\n");
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let access = method.options().get_extension(&option).into_owned();
        let access = access.as_message().context("access is a message")?;
        writeln!(
            rows,
            "    Row {{ path: \"{}\", roles: {}, service: {}, public: {}, scope: {}, streams: {} }},",
            path(&method),
            roles(access),
            flag(access, "service"),
            flag(access, "public"),
            scope(pool, &method, access)?,
            method.is_server_streaming() || method.is_client_streaming()
        )?;
    }
    rows.push_str("]\n");
    Ok(rows)
}

fn flag(access: &DynamicMessage, field: &str) -> bool {
    matches!(access.get_field_by_name(field).as_deref(), Some(Value::Bool(true)))
}

/// The scope that the option states, or what the REST verb says: reading for GET, else writing.
fn scope(pool: &DescriptorPool, method: &MethodDescriptor, access: &DynamicMessage) -> Result<i32> {
    const READ: i32 = 2;
    const WRITE: i32 = 3;
    let stated =
        access.get_field_by_name("scope").and_then(|value| value.as_enum_number()).unwrap_or_default();
    if stated != 0 {
        return Ok(stated);
    }
    let http = pool.get_extension_by_name("google.api.http").context("the http option is missing")?;
    let http = method.options().get_extension(&http).into_owned();
    let http = http.as_message().context("the http option is a message")?;
    Ok(if http.has_field_by_name("get") { READ } else { WRITE })
}

/// What every request that changes something has in common, and every answer that carries a revision token.
fn mutations(pool: &DescriptorPool) -> Result<String> {
    let mut code = String::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let (request, answer) = (method.input(), method.output());
        // Those that are remembered by their id and answered with a token.
        if request.get_field_by_name("validate_only").is_none() || answer.get_field_by_name("token").is_none()
        {
            continue;
        }
        let urgent = request
            .get_field_by_name("urgent")
            .map_or("", |_| "\u{20}   fn urgent(&self) -> bool { self.urgent }\n");
        let laggards = answer.get_field_by_name("laggards").map_or(
            "",
            |_| "\u{20}   fn set_laggards(&mut self, laggards: Vec<String>) { self.laggards = laggards; }\n",
        );
        let (path, request, answer) =
            (path(&method), rust_type(request.full_name()), rust_type(answer.full_name()));
        writeln!(
            code,
            "impl Mutation for {request} {{\n    type Answer = {answer};\n    const PATH: &'static str = \"{path}\";\n\
             \x20   fn reason(&self) -> &str {{ &self.reason }}\n\
             \x20   fn request_id(&self) -> &str {{ &self.request_id }}\n\
             \x20   fn validate_only(&self) -> bool {{ self.validate_only }}\n{urgent}}}\n\
             impl Written for {answer} {{\n    fn token(&self) -> &str {{ &self.token }}\n\
             \x20   fn set_token(&mut self, token: String) {{ self.token = token; }}\n{laggards}}}"
        )?;
    }
    Ok(code)
}

/// `tollgate.permissions.v1.Grant` as `permissions::v1::Grant`.
fn rust_type(full_name: &str) -> String {
    full_name.trim_start_matches("tollgate.").replace('.', "::")
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn roles(access: &DynamicMessage) -> String {
    let numbers: Vec<i32> = access
        .get_field_by_name("roles")
        .and_then(|value| Some(value.as_list()?.iter().filter_map(Value::as_enum_number).collect()))
        .unwrap_or_default();
    format!("&{numbers:?}")
}
