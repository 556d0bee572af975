//! Compiles the contract: messages, clients and servers, the descriptor set, and the access table.

use anyhow::{Context, Result};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};
use std::{fmt::Write as _, path::PathBuf};

const FILES: &[&str] = &[
    "tollgate/common/v1/access.proto",
    "tollgate/permissions/v1/authorization.proto",
    "tollgate/permissions/v1/grants.proto",
    "tollgate/permissions/v1/groups.proto",
    "tollgate/permissions/v1/keys.proto",
    "tollgate/permissions/v1/models.proto",
    "tollgate/permissions/v1/policy.proto",
    "tollgate/permissions/v1/users.proto",
    "tollgate/inference/v1/engines.proto",
    "tollgate/inference/v1/inference.proto",
    "tollgate/monitoring/v1/usage.proto",
];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=tollgate");
    println!("cargo:rerun-if-changed=google");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let pool = compiler.descriptor_pool();
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    std::fs::write(out.join("access.rs"), access_table(&pool)?)?;

    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(compiler.file_descriptor_set())
        .context("generate Rust from the contract")?;
    Ok(())
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
            "    Row {{ path: \"{}\", roles: {}, service: {} }},",
            path(&method),
            roles(access),
            matches!(access.get_field_by_name("service").as_deref(), Some(Value::Bool(true)))
        )?;
    }
    rows.push_str("]\n");
    Ok(rows)
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
