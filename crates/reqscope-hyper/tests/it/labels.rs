//! The labels of requests, from a function of the service.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::service::{Service, service_fn};
use reqscope::Scopes;
use reqscope::context::Label;
use reqscope_hyper::{RequestExt, ScopeService};

async fn label(request: Request<String>) -> Result<Response<String>, Infallible> {
    let label = request.scope().label().map_or_else(|| "none".to_owned(), |label| label.to_string());
    // In a header, because the front end's body is a type of its own.
    Ok(Response::builder().header("x-label", label).body(String::new()).expect("a label is a valid header"))
}

#[tokio::test]
async fn function_of_the_service_labels_its_requests() {
    let service = ScopeService::new(&Scopes::new(), service_fn(label));
    let orders = || Request::get("/orders/7").body(String::new()).unwrap();
    let unlabelled = service.call(orders()).await.unwrap();
    assert_eq!(unlabelled.headers()["x-label"], "none", "never the path");
    let service = service.label(|request| Some(Label::new(format!("{} orders", request.method()))));
    let labelled = service.call(orders()).await.unwrap();
    assert_eq!(labelled.headers()["x-label"], "GET orders");
}
