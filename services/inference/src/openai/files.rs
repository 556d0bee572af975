//! `/v1/files`: what batches read and write.

use super::{Asker, OpenAi, person};
use crate::{
    error::{Error, Kept},
    files::{self, BATCH, File, Files, Filter, Upload},
};
use axum::{
    Json,
    body::Body,
    extract::{
        FromRequest, Multipart, Path, Query, Request, State,
        multipart::{Field, MultipartError},
        rejection::{PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use shared::auth::Caller;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Time in which more of a file must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a field that is not the file.
const FIELD: usize = 1_000;
/// Files of a list when nothing is said, and at most.
const MOST: u32 = 10_000;

#[derive(Serialize)]
pub(super) struct FileObject {
    id: String,
    object: &'static str,
    bytes: u64,
    created_at: i64,
    expires_at: i64,
    filename: String,
    purpose: String,
    status: &'static str,
    status_details: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct FileList {
    object: &'static str,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
    data: Vec<FileObject>,
}

#[derive(Serialize)]
pub(super) struct Deleted {
    id: String,
    object: &'static str,
    deleted: bool,
}

#[derive(Deserialize)]
pub(super) struct Listed {
    purpose: Option<String>,
    limit: Option<u32>,
    order: Option<String>,
    after: Option<String>,
}

type Asked = Result<Path<String>, PathRejection>;

pub(super) async fn upload(State(openai): State<Arc<OpenAi>>, request: Request) -> Result<Response, Error> {
    let person = person(request.extensions().get::<Caller>())?;
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| {
        Error::Malformed("the body must be multipart/form-data with the fields `file` and `purpose`".into())
    })?;
    let (mut file, mut purpose, mut keep) = (None, None, None);
    while let Some(field) = timely(form.next_field()).await? {
        match field.name().unwrap_or_default() {
            "file" if file.is_none() => {
                let name = field.file_name().unwrap_or("upload.jsonl").to_owned();
                file = Some(take(openai.files.upload(person.user, name).await?, field).await?);
            }
            "file" => return Err(Error::Invalid { param: "file", problem: "may be there once" }),
            "purpose" => purpose = Some(text(field).await?),
            "expires_after[anchor]" => anchor(&text(field).await?)?,
            "expires_after[seconds]" => {
                keep = Some(files::keep(text(field).await?.parse().unwrap_or(0))?);
            }
            _ => {}
        }
    }
    match purpose.as_deref() {
        Some(BATCH) => {}
        Some(_) => return Err(Error::Invalid { param: "purpose", problem: "must be `batch`" }),
        None => return Err(Error::Invalid { param: "purpose", problem: "is required: `batch`" }),
    }
    let mut file = file.ok_or(Error::Invalid { param: "file", problem: "is required" })?;
    if let Some(keep) = keep {
        file.keep_for(keep);
    }
    Ok(Json(described(file.end().await?)).into_response())
}

/// Takes the file in as it comes.
async fn take(mut upload: Upload, mut field: Field<'_>) -> Result<Upload, Error> {
    while let Some(bytes) = timely(field.chunk()).await? {
        upload.feed(&bytes).await?;
    }
    Ok(upload)
}

/// From when on a file is kept.
fn anchor(said: &str) -> Result<(), Error> {
    let invalid = Error::Invalid { param: "expires_after[anchor]", problem: "must be created_at" };
    if said == "created_at" { Ok(()) } else { Err(invalid) }
}

async fn text(mut field: Field<'_>) -> Result<String, Error> {
    let mut text = Vec::new();
    while let Some(bytes) = timely(field.chunk()).await? {
        text.extend_from_slice(&bytes);
        if text.len() > FIELD {
            return Err(Error::Malformed("a field of the form is too long".into()));
        }
    }
    String::from_utf8(text).map_err(|_| Error::Malformed("a field of the form is not UTF-8".into()))
}

async fn timely<T>(part: impl Future<Output = Result<T, MultipartError>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, part).await {
        Ok(Ok(part)) => Ok(part),
        Ok(Err(_)) => Err(Error::Malformed("the form broke off, or is not multipart/form-data".into())),
        Err(_) => Err(Error::Malformed("the form did not arrive in time".into())),
    }
}

pub(super) async fn list(
    State(openai): State<Arc<OpenAi>>,
    caller: Asker,
    query: Result<Query<Listed>, QueryRejection>,
) -> Result<Json<FileList>, Error> {
    let person = person(caller.as_ref().map(|caller| &caller.0))?;
    let Query(asked) = query.map_err(|_| Error::Invalid { param: "limit", problem: "must be a number" })?;
    let limit = super::limit(asked.limit, MOST, MOST)?;
    let ascending = match asked.order.as_deref() {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(Error::Invalid { param: "order", problem: "must be asc or desc" }),
    };
    let after = asked.after.as_deref().map(files::id).transpose()?;
    let filter = Filter { purpose: asked.purpose.as_deref(), after, ascending };
    let mut found = openai.files.page(person.user, filter, limit + 1).await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let data: Vec<FileObject> = found.into_iter().map(described).collect();
    let id = |file: Option<&FileObject>| file.map(|file| file.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    Ok(Json(FileList { object: "list", first_id, last_id, has_more, data }))
}

pub(super) async fn retrieve(
    State(openai): State<Arc<OpenAi>>,
    name: Asked,
    caller: Asker,
) -> Result<Json<FileObject>, Error> {
    Ok(Json(described(find(&openai, name, caller).await?)))
}

pub(super) async fn delete(
    State(openai): State<Arc<OpenAi>>,
    name: Asked,
    caller: Asker,
) -> Result<Json<Deleted>, Error> {
    let person = person(caller.as_ref().map(|caller| &caller.0))?;
    let id = asked(name)?;
    openai.files.delete(id, person.user).await?;
    Ok(Json(Deleted { id: files::name(id), object: "file", deleted: true }))
}

pub(super) async fn content(
    State(openai): State<Arc<OpenAi>>,
    name: Asked,
    caller: Asker,
) -> Result<Response, Error> {
    let file = find(&openai, name, caller).await?;
    let mut response = Response::new(Body::from_stream(pieces(openai.files.clone(), file.id)));
    let headers = response.headers_mut();
    // Whatever is in it, no browser is to show it as something of ours.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.bytes));
    Ok(response)
}

fn pieces(files: Files, file: Uuid) -> impl futures_util::Stream<Item = Result<Vec<u8>, Error>> {
    stream::try_unfold((files, 0), move |(files, number)| async move {
        Ok(files.piece(file, number).await?.map(|piece| (piece, (files, number + 1))))
    })
}

async fn find(openai: &OpenAi, name: Asked, caller: Asker) -> Result<File, Error> {
    let person = person(caller.as_ref().map(|caller| &caller.0))?;
    openai.files.get(asked(name)?, person.user).await
}

fn asked(name: Asked) -> Result<Uuid, Error> {
    let Path(name) = name.map_err(|_| Kept::missing(crate::error::Thing::File, ""))?;
    files::id(&name)
}

fn described(file: File) -> FileObject {
    FileObject {
        id: files::name(file.id),
        object: "file",
        bytes: file.bytes,
        created_at: file.created.0.div_euclid(1_000_000),
        expires_at: file.expires.0.div_euclid(1_000_000),
        filename: file.name,
        purpose: file.purpose,
        status: "processed",
        status_details: None,
    }
}
