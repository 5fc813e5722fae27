//! `ANY /api/plugins/{id}/{path}`: calls into plugins.
//! The four pages that the host serves below each plugin have a file of their own.

mod headers;
mod limits;
mod order;
mod paths;
