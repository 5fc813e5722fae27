//! `/api/v1/plugins` and what hangs below it.
//! Kills have a file of their own.

mod lifecycle;
mod reasons;
mod refusals;
mod register;
