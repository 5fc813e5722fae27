//! A JSON hello as a `wasi:http/proxy` component, which `wasmtime serve` runs beside Bulkhead's own.
//! It looks at nothing of the request: there is one route.

use serde::Serialize;
use wasip2::http::types::{ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Hello);

struct Hello;

#[derive(Serialize)]
struct Greeting {
    message: String,
}

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(_request: IncomingRequest, answer: ResponseOutparam) {
        let greeting = Greeting { message: format!("Hello, {}!", "user") };
        let Some((response, body, json)) = response(&greeting) else {
            return ResponseOutparam::set(answer, Err(ErrorCode::InternalError(None)));
        };
        ResponseOutparam::set(answer, Ok(response));
        // A client that has gone needs no answer.
        if let Ok(stream) = body.write() {
            drop(stream.blocking_write_and_flush(&json));
        }
        drop(OutgoingBody::finish(body, None));
    }
}

fn response(greeting: &Greeting) -> Option<(OutgoingResponse, OutgoingBody, Vec<u8>)> {
    let json = serde_json::to_vec(greeting).ok()?;
    let headers = Fields::new();
    headers.append("content-type", b"application/json").ok()?;
    headers.append("content-length", json.len().to_string().as_bytes()).ok()?;
    let response = OutgoingResponse::new(headers);
    let body = response.body().ok()?;
    Some((response, body, json))
}
