//! Why nobody was signed in through a provider outside.

use super::Error;
use crate::provider::ProviderError;
use policy::UserId;
use shared::status::Fault;
use std::time::Duration;
use tonic::Code;

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// There is no such sign-in, or not any more.
    #[error(
        "no such sign-in is under way: it is unknown, completed, or took more than 10 minutes; begin again"
    )]
    Unknown,
    /// The provider did not send anybody.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The provider does not vouch for an address.
    #[error(
        "the identity provider gives no verified e-mail address; verify it there, or ask an administrator"
    )]
    EmailNotVerified,
    /// The address is of elsewhere.
    #[error("e-mail addresses of this domain are not let in here; use another account")]
    EmailDomain,
    /// None of the groups that are let in.
    #[error("none of your groups at the identity provider is let in here; ask an administrator")]
    GroupRequired,
    /// Nobody here has this address, and nobody is made.
    #[error("you have no account here, and accounts are not made by signing in; ask an administrator")]
    NoAccount,
    /// The account with this address is somebody else's at the provider.
    #[error(
        "the account with your address belongs to another identity of this provider; ask an administrator to unlink it"
    )]
    LinkedToAnother(UserId),
    /// The account is switched off.
    #[error("your account is disabled; ask an owner or admin")]
    Disabled(UserId),
}

impl SignInError {
    /// What a caller is told.
    pub(super) const fn fault(&self) -> Fault {
        match self {
            Self::Unknown => Fault::new(Code::FailedPrecondition, "SIGN_IN_UNKNOWN"),
            Self::Provider(error) => match error {
                ProviderError::Unavailable(_) | ProviderError::Failed(_) => {
                    Fault::retry(Code::Unavailable, "PROVIDER_UNAVAILABLE", Duration::from_secs(1))
                }
                ProviderError::Malformed(_) => Fault::new(Code::Internal, "PROVIDER_ANSWER_INVALID"),
                ProviderError::Client(_) => Fault::new(Code::Internal, "PROVIDER_REFUSES_CLIENT"),
                ProviderError::Refused(_) => Fault::new(Code::Unauthenticated, "PROVIDER_REFUSED"),
                ProviderError::NotVerified(_) => Fault::new(Code::Unauthenticated, "SIGN_IN_NOT_VERIFIED"),
            },
            Self::EmailNotVerified => Fault::new(Code::PermissionDenied, "EMAIL_NOT_VERIFIED"),
            Self::EmailDomain => Fault::new(Code::PermissionDenied, "EMAIL_DOMAIN_NOT_ALLOWED"),
            Self::GroupRequired => Fault::new(Code::PermissionDenied, "GROUP_REQUIRED"),
            Self::NoAccount => Fault::new(Code::PermissionDenied, "NO_ACCOUNT"),
            Self::LinkedToAnother(_) => Fault::new(Code::PermissionDenied, "IDENTITY_CONFLICT"),
            Self::Disabled(_) => Fault::new(Code::Unauthenticated, "ACCOUNT_DISABLED"),
        }
    }
}

impl SignInError {
    /// Whose account it was about, when that is known.
    pub(crate) const fn user(&self) -> Option<UserId> {
        match self {
            Self::LinkedToAnother(user) | Self::Disabled(user) => Some(*user),
            _ => None,
        }
    }
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        Self::SignIn(error.into())
    }
}
