//! FileService: what batches read and write.

use super::{
    Api,
    jobs::{asker, next, paged},
};
use crate::{
    error::Error,
    files::{self, BATCH, File, Filter},
};
use futures_util::{Stream, stream};
use proto::inference::v1::{self as pb, file_service_server::FileService, upload_file_request::Part};
use shared::time;
use std::{pin::Pin, time::Duration};
use tonic::{Request, Response, Status, Streaming};

/// Rows of a page when nothing is said, and at most.
const PAGE: (u32, u32) = (50, 100);
/// Time in which more of a file must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest message of an upload, in bytes.
pub(super) const MESSAGE: usize = 1024 * 1024 + 1024;

#[tonic::async_trait]
impl FileService for Api {
    async fn upload_file(
        &self,
        request: Request<Streaming<pb::UploadFileRequest>>,
    ) -> Result<Response<pb::UploadFileResponse>, Status> {
        let owner = asker(&request)?.user;
        let mut parts = request.into_inner();
        let Some(Part::Begin(begin)) = part(&mut parts).await? else {
            let problem = "must be the first message";
            return Err(Error::Invalid { param: "begin", problem }.into());
        };
        if begin.purpose != BATCH {
            return Err(Error::Invalid { param: "purpose", problem: "must be `batch`" }.into());
        }
        let mut file = self.files.upload(owner, begin.filename).await?;
        if begin.expires_after != 0 {
            file.keep_for(files::keep(u64::try_from(begin.expires_after).unwrap_or(0))?);
        }
        while let Some(part) = part(&mut parts).await? {
            let Part::Piece(piece) = part else {
                return Err(Error::Invalid { param: "begin", problem: "may be there once" }.into());
            };
            file.feed(&piece).await?;
        }
        Ok(Response::new(pb::UploadFileResponse { file: Some(described(file.end().await?)) }))
    }

    async fn get_file(
        &self,
        request: Request<pb::GetFileRequest>,
    ) -> Result<Response<pb::GetFileResponse>, Status> {
        let owner = asker(&request)?.user;
        let file = self.files.get(files::id(&request.get_ref().file_id)?, owner).await?;
        Ok(Response::new(pb::GetFileResponse { file: Some(described(file)) }))
    }

    async fn list_files(
        &self,
        request: Request<pb::ListFilesRequest>,
    ) -> Result<Response<pb::ListFilesResponse>, Status> {
        let owner = asker(&request)?.user;
        let asked = request.into_inner();
        let list = format!("files {owner} {:?}", asked.purpose);
        let (size, after) = paged(&list, asked.page_size, &asked.page_token, PAGE)?;
        let purpose = Some(asked.purpose.as_str()).filter(|purpose| !purpose.is_empty());
        let filter = Filter { purpose, after, ascending: false };
        let mut found = self.files.page(owner, filter, size + 1).await?;
        let next_page_token = next(&list, &mut found, size, |file| file.id);
        let files = found.into_iter().map(described).collect();
        Ok(Response::new(pb::ListFilesResponse { files, next_page_token }))
    }

    async fn delete_file(
        &self,
        request: Request<pb::DeleteFileRequest>,
    ) -> Result<Response<pb::DeleteFileResponse>, Status> {
        let owner = asker(&request)?.user;
        self.files.delete(files::id(&request.get_ref().file_id)?, owner).await?;
        Ok(Response::new(pb::DeleteFileResponse {}))
    }

    type DownloadFileStream = Pin<Box<dyn Stream<Item = Result<pb::DownloadFileResponse, Status>> + Send>>;

    async fn download_file(
        &self,
        request: Request<pb::DownloadFileRequest>,
    ) -> Result<Response<Self::DownloadFileStream>, Status> {
        let owner = asker(&request)?.user;
        let file = self.files.get(files::id(&request.get_ref().file_id)?, owner).await?;
        let pieces = stream::try_unfold((self.files.clone(), 0), move |(files, number)| async move {
            let piece = files.piece(file.id, number).await?;
            let message = |piece: Vec<u8>| pb::DownloadFileResponse { piece: piece.into() };
            Ok(piece.map(|piece| (message(piece), (files, number + 1))))
        });
        Ok(Response::new(Box::pin(pieces)))
    }
}

async fn part(parts: &mut Streaming<pb::UploadFileRequest>) -> Result<Option<Part>, Status> {
    let late = || Error::Malformed("the file did not arrive in time".to_owned());
    let message = tokio::time::timeout(PATIENCE, parts.message()).await.map_err(|_| late())??;
    let Some(message) = message else { return Ok(None) };
    let empty = Error::Invalid { param: "part", problem: "needs `begin` or `piece`" };
    Ok(Some(message.part.ok_or(empty)?))
}

fn described(file: File) -> pb::File {
    pb::File {
        file_id: files::name(file.id),
        filename: file.name,
        purpose: file.purpose,
        bytes: file.bytes,
        created_time: Some(time::to_proto(file.created)),
        expire_time: Some(time::to_proto(file.expires)),
    }
}
