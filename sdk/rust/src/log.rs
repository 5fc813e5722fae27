//! The plugin's log: lines of this tenant and plugin, with fields.
//! A call may write 64 KiB; the host drops and counts what is over. No personal data, no secrets.
//!
//! ```
//! use bulkhead_sdk::{log, mock};
//!
//! let host = mock::Host::new();
//! host.run(|| {
//!     let id = "n-7";
//!     log::info!("note created", note.id = id, note.tag_count = 2);
//!     log::warn!("note {id} is long");
//! });
//!
//! let lines = host.log();
//! assert_eq!(lines[0].fields[0], ("note.id".to_owned(), "n-7".to_owned()));
//! assert_eq!(lines[1].message, "note n-7 is long");
//! ```

use crate::imports;

pub use crate::bindings::bulkhead::plugin::log::Level;
#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace, __log_warn as warn,
};

/// Writes one line. The macros [`trace!`], [`debug!`], [`info!`], [`warn!`] and [`error!`] are
/// shorter: a message that may name variables, then fields `name = value`, where a name may have
/// dots and a value is anything that can be displayed.
pub fn write(level: Level, message: &str, fields: &[(String, String)]) {
    imports::log::write(level, message, fields);
}

/// Writes a line at a level; the macros of the levels call it.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $message:literal $(, $($name:ident).+ = $value:expr)* $(,)?) => {
        $crate::log::write(
            $crate::log::Level::$level,
            &::std::format!($message),
            &[$((
                ::std::stringify!($($name).+).replace(' ', ""),
                ::std::string::ToString::to_string(&$value),
            )),*],
        )
    };
}

/// Writes a line at level `trace`: `trace!("message", field.name = value)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($line:tt)+) => { $crate::__log!(Trace, $($line)+) };
}

/// Writes a line at level `debug`: `debug!("message", field.name = value)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($line:tt)+) => { $crate::__log!(Debug, $($line)+) };
}

/// Writes a line at level `info`: `info!("message", field.name = value)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($line:tt)+) => { $crate::__log!(Info, $($line)+) };
}

/// Writes a line at level `warn`: `warn!("message", field.name = value)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($line:tt)+) => { $crate::__log!(Warn, $($line)+) };
}

/// Writes a line at level `error`: `error!("message", field.name = value)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($line:tt)+) => { $crate::__log!(Error, $($line)+) };
}
