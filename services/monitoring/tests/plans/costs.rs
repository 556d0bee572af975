//! Calls every method about the cost of GPUs with every filter that it has; see [`crate::exercise`].

use crate::{ledger::Ledger, load};
use policy::Role;
use proto::monitoring::v1::{
    GetAdviceRequest, GetGpuCostRequest, GpuPrice, ListGpuPricesRequest, PutGpuPriceRequest, TimeBucket,
    UsageDimension, cost_service_client::CostServiceClient,
};

pub(crate) async fn every_method(ledger: &Ledger) {
    let mut owner = CostServiceClient::new(ledger.as_person(Role::Owner));
    for (number, pool) in [(31, "chat"), (32, "other")] {
        let price = GpuPrice { pool: pool.into(), hour_usd: Some("2".into()), ..Default::default() };
        let request =
            PutGpuPriceRequest { price: Some(price), request_id: load::user(number), ..Default::default() };
        owner.put_gpu_price(request).await.unwrap();
    }
    for pool in ["", "chat"] {
        let first = ListGpuPricesRequest { pool: pool.into(), page_size: 1, ..Default::default() };
        let page = owner.list_gpu_prices(first.clone()).await.unwrap().into_inner();
        if !page.next_page_token.is_empty() {
            let next = ListGpuPricesRequest { page_token: page.next_page_token, ..first };
            owner.list_gpu_prices(next).await.unwrap();
        }
    }
    use UsageDimension::{Group, Key, ServedModel, User};
    for group_by in [Vec::new(), [User, Key, Group, ServedModel].map(i32::from).to_vec()] {
        let request = GetGpuCostRequest {
            group_by,
            bucket: TimeBucket::Day.into(),
            pool: "chat".into(),
            ..Default::default()
        };
        owner.get_gpu_cost(request).await.unwrap();
    }
    owner.get_advice(GetAdviceRequest::default()).await.unwrap();
}
