//! What a client is told: one of the distribution protocol's fourteen codes with a text, or that the registry itself failed.
//! It chooses no HTTP status.

use bulkhead_database as database;

use crate::gate::Reason;

/// The protocol's closed list of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorCode {
    /// The repository does not hold the blob.
    BlobUnknown,
    /// An upload was used against its rules.
    BlobUploadInvalid,
    /// There is no such upload.
    BlobUploadUnknown,
    /// A digest is malformed, or not that of the bytes.
    DigestInvalid,
    /// A manifest names a blob that the repository does not hold.
    ManifestBlobUnknown,
    /// A manifest is not one, or not one that belongs here.
    ManifestInvalid,
    /// There is no such manifest.
    ManifestUnknown,
    /// A repository's name is malformed.
    NameInvalid,
    /// There is no such repository.
    NameUnknown,
    /// A size is wrong or too large.
    SizeInvalid,
    /// A token is needed.
    Unauthorized,
    /// The token does not allow it.
    Denied,
    /// Never done here.
    Unsupported,
    /// Later.
    TooManyRequests,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 14] = [
        Self::BlobUnknown,
        Self::BlobUploadInvalid,
        Self::BlobUploadUnknown,
        Self::DigestInvalid,
        Self::ManifestBlobUnknown,
        Self::ManifestInvalid,
        Self::ManifestUnknown,
        Self::NameInvalid,
        Self::NameUnknown,
        Self::SizeInvalid,
        Self::Unauthorized,
        Self::Denied,
        Self::Unsupported,
        Self::TooManyRequests,
    ];

    /// The code as the protocol writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
        }
    }
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client's to mend.
    #[error("{message}")]
    Refused {
        /// Which of the protocol's reasons.
        code: ErrorCode,
        /// The reason for a person.
        message: String,
    },
    /// The gate of releases, with every reason.
    #[error("{}", told(.reasons))]
    Barred {
        /// The reasons, the one that explains the others first.
        reasons: Vec<Reason>,
    },
    /// More bytes than allowed.
    #[error("at most {bytes_max} bytes are taken here")]
    TooLarge {
        /// The limit in bytes.
        bytes_max: u64,
    },
    /// A chunk does not begin where the upload is.
    #[error("the next chunk begins at byte {size_bytes}")]
    OutOfOrder {
        /// Bytes that have arrived.
        size_bytes: u64,
    },
    /// No byte of the blob is in the range.
    #[error("the blob has {size_bytes} bytes")]
    OutOfRange {
        /// Bytes of the blob.
        size_bytes: u64,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// The system gave no random bytes.
    #[error("failed to make a random name")]
    Random(#[source] getrandom::Error),
    /// A check of an artifact ended early.
    #[error("failed to check an artifact")]
    Check(#[source] tokio::task::JoinError),
}

impl Error {
    /// A refusal.
    pub fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }

    /// The protocol's code, where the client is told one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Barred { .. } => Some(ErrorCode::Denied),
            Self::TooLarge { .. } | Self::OutOfRange { .. } => Some(ErrorCode::SizeInvalid),
            Self::OutOfOrder { .. } => Some(ErrorCode::BlobUploadInvalid),
            Self::Database(_) | Self::Random(_) | Self::Check(_) => None,
        }
    }
}

fn told(reasons: &[Reason]) -> String {
    let texts: Vec<String> = reasons.iter().map(|reason| format!("{}: {}", reason.code, reason.detail)).collect();
    texts.join("; ")
}
