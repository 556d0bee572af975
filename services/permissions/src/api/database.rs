//! DatabaseService: what this process has learnt about its database.

use super::Api;
use proto::permissions::v1::{self as pb, database_service_server::DatabaseService};
use shared::{db::SlowQuery, time};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl DatabaseService for Api {
    async fn list_slow_queries(
        &self,
        _: Request<pb::ListSlowQueriesRequest>,
    ) -> Result<Response<pb::ListSlowQueriesResponse>, Status> {
        let slow_queries = self.db.slow_queries().into_iter().map(slow_query).collect();
        Ok(Response::new(pb::ListSlowQueriesResponse { slow_queries }))
    }
}

fn slow_query(query: SlowQuery) -> pb::SlowQuery {
    let plan = query.plan.unwrap_or_default();
    pb::SlowQuery {
        statement: query.statement,
        count: i64::try_from(query.count).unwrap_or(i64::MAX),
        slowest: Some(time::duration_to_proto(query.slowest)),
        last: Some(time::duration_to_proto(query.last)),
        last_time: Some(time::to_proto(query.last_at)),
        plan: plan.to_string(),
        hint: plan.hint().unwrap_or_default(),
    }
}
