//! Mail over SMTP.

use super::Undelivered;
use crate::{
    alerting::letter::Content,
    config::{Encryption, Smtp},
};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use shared::config::{ExposeSecret, Secret};
use uuid::Uuid;

pub(super) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    host: String,
}

impl Mail {
    /// # Errors
    /// One sentence, when a file cannot be read or an address be used.
    pub(super) fn open(config: &Smtp) -> Result<Self, String> {
        let from: Mailbox =
            config.from.parse().map_err(|_| "monitoring.alerts.smtp.from is no address".to_owned())?;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port)
            .tls(tls(config)?);
        if let Some(password) = password(config)? {
            builder = builder.credentials(Credentials::new(config.user.clone(), password));
        }
        Ok(Self { transport: builder.build(), host: from.email.domain().to_owned(), from })
    }

    pub(super) async fn send(&self, to: &[String], content: &Content, id: Uuid) -> Result<(), Undelivered> {
        let invalid = |_| {
            Undelivered::lasting("MAIL_INVALID", "an address or the subject cannot be written into a mail")
        };
        let mut mail = Message::builder()
            .from(self.from.clone())
            // The same for each attempt: whoever gets it twice can tell.
            .message_id(Some(format!("<{id}@{}>", self.host)))
            .subject(content.subject())
            .header(ContentType::TEXT_PLAIN);
        for address in to {
            mail = mail.to(address
                .parse()
                .map_err(|_| Undelivered::lasting("MAIL_INVALID", "an address is none"))?);
        }
        let mail = mail.body(content.text()).map_err(invalid)?;
        self.transport.send(mail).await.map(drop).map_err(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "a mail was not taken");
            let code = error.status().map(|code| format!(" with {code}")).unwrap_or_default();
            match error.is_permanent() {
                true => Undelivered::lasting("MAIL_REFUSED", format!("the mail server refused it{code}")),
                false => {
                    Undelivered::passing("MAIL_NOT_TAKEN", format!("the mail server did not take it{code}"))
                }
            }
        })
    }
}

fn password(config: &Smtp) -> Result<Option<String>, String> {
    if config.user.is_empty() {
        return Ok(None);
    }
    let password = Secret::read(&config.password)?;
    Ok(password.map(|password| password.expose_secret().to_owned()))
}

fn tls(config: &Smtp) -> Result<Tls, String> {
    if config.encryption == Encryption::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(config.host.clone());
    if let Some(path) = &config.ca_file {
        let named =
            |problem: String| format!("monitoring.alerts.smtp.ca_file: {}: {problem}", path.display());
        let pem = std::fs::read(path).map_err(|error| named(error.to_string()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| named(error.to_string()))?;
        parameters = parameters.add_root_certificate(certificate);
    }
    let parameters = parameters.build_rustls().map_err(|error| error.to_string())?;
    Ok(if config.encryption == Encryption::Tls {
        Tls::Wrapper(parameters)
    } else {
        Tls::Required(parameters)
    })
}
