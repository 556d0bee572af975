//! The same of what GPUs cost, and of advice, over the instances that are there.

use crate::{ledger::Ledger, sample::time};
use policy::Role;
use proto::monitoring::v1::{
    GetAdviceRequest, GetGpuCostRequest, GpuPrice, ListGpuPricesRequest, PutGpuPriceRequest, UsageDimension,
    cost_service_client::CostServiceClient,
};

pub(super) async fn counts(ledger: &Ledger, count: &mut impl FnMut()) {
    let mut owner = CostServiceClient::new(ledger.as_person(Role::Owner));
    let price = GpuPrice {
        pool: "pool-100".into(),
        hour_usd: Some("2.50".into()),
        effective_from: Some(time(0)),
        ..Default::default()
    };
    owner.put_gpu_price(PutGpuPriceRequest { price: Some(price), ..Default::default() }).await.unwrap();
    count();
    owner.list_gpu_prices(ListGpuPricesRequest { page_size: 1_000, ..Default::default() }).await.unwrap();
    count();
    let group_by = vec![UsageDimension::User.into(), UsageDimension::ServedModel.into()];
    owner.get_gpu_cost(GetGpuCostRequest { group_by, ..Default::default() }).await.unwrap();
    count();
    owner.get_advice(GetAdviceRequest::default()).await.unwrap();
    count();
}
