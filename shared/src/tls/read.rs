//! PEM files: read, checked, and their faults said by the setting that names them.
//!
//! A [`Reader`] also remembers what it has read, so that it can be told whether a file has changed, and the day on
//! which the first certificate ends.

use super::Fault;
use jiff::Timestamp;
use rustls::{
    InconsistentKeys, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use std::{path::Path, sync::Arc};
use x509_cert::der::Decode;

/// What all of TLS is computed with.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads files and remembers what it read.
#[derive(Debug)]
pub(super) struct Reader {
    now: i64,
    digest: Sha256,
    /// When the first of the own certificates ends, in seconds since 1970.
    pub(super) expires: Option<i64>,
}

/// From when until when a certificate is good, in seconds since 1970.
struct Validity {
    from: i64,
    until: i64,
}

impl Reader {
    pub(super) fn new(now: policy::Time) -> Self {
        Self { now: now.0.div_euclid(1_000_000), digest: Sha256::new(), expires: None }
    }

    /// One value for everything that was read.
    pub(super) fn digest(self) -> [u8; 32] {
        self.digest.finalize().into()
    }

    /// A certificate and its key, or `None` when neither is named.
    pub(super) fn identity(
        &mut self,
        section: &str,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Option<Arc<CertifiedKey>>, Fault> {
        let (certificate, key) = match (certificate, key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                return Err(Fault(format!("{section}.key_file: is needed beside {section}.cert_file")));
            }
            (None, Some(_)) => {
                return Err(Fault(format!("{section}.cert_file: is needed beside {section}.key_file")));
            }
        };
        let named = Setting { name: format!("{section}.cert_file"), path: certificate };
        let chain = self.certificates(&named)?;
        let validity = chain.first().ok_or_else(|| named.fault("has no certificate")).and_then(|leaf| {
            validity(leaf).ok_or_else(|| named.fault("its first certificate is not one of X.509"))
        })?;
        self.check(&named, &validity)?;
        self.expires = Some(self.expires.map_or(validity.until, |first| first.min(validity.until)));

        let named = Setting { name: format!("{section}.key_file"), path: key };
        let bytes = self.bytes(&named)?;
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
            named.fault("has no private key in PEM; one that is encrypted has to be decrypted first")
        })?;
        let made = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => named.fault(&format!(
                "does not belong to the certificate in {section}.cert_file; both files must be of one pair"
            )),
            error => named.fault(&format!("cannot be used: {error}; RSA, ECDSA and Ed25519 keys can")),
        })?;
        Ok(Some(Arc::new(made)))
    }

    /// Authorities, or `None` when no file is named. Those that have expired are left out.
    pub(super) fn authorities(
        &mut self,
        setting: &str,
        path: Option<&Path>,
    ) -> Result<Option<RootCertStore>, Fault> {
        let Some(path) = path else { return Ok(None) };
        let named = Setting { name: setting.to_owned(), path };
        let mut store = RootCertStore::empty();
        let mut worst = named.fault("has no certificate in PEM");
        for certificate in self.certificates(&named)? {
            let Some(validity) = validity(&certificate) else {
                worst = named.fault("has a certificate that is not one of X.509");
                continue;
            };
            if let Err(fault) = self.check(&named, &validity) {
                worst = fault;
            } else if let Err(error) = store.add(certificate) {
                worst = named.fault(&format!("has a certificate that cannot be an authority: {error}"));
            }
        }
        if store.is_empty() { Err(worst) } else { Ok(Some(store)) }
    }

    fn certificates(&mut self, named: &Setting<'_>) -> Result<Vec<CertificateDer<'static>>, Fault> {
        let bytes = self.bytes(named)?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let all = all.map_err(|error| named.fault(&format!("is not PEM: {error}")))?;
        if all.is_empty() { Err(named.fault("has no certificate in PEM")) } else { Ok(all) }
    }

    fn bytes(&mut self, named: &Setting<'_>) -> Result<Vec<u8>, Fault> {
        let bytes = std::fs::read(named.path).map_err(|error| named.fault(&error.to_string()))?;
        self.digest.update((bytes.len() as u64).to_be_bytes());
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn check(&self, named: &Setting<'_>, validity: &Validity) -> Result<(), Fault> {
        let day =
            |seconds| Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |at| at.to_string());
        if validity.until < self.now {
            Err(named.fault(&format!("expired on {}; renew it", day(validity.until))))
        } else if validity.from > self.now {
            let from = day(validity.from);
            Err(named.fault(&format!("is not valid before {from}; look at this machine's clock")))
        } else {
            Ok(())
        }
    }
}

/// A file, by the setting that names it.
struct Setting<'a> {
    name: String,
    path: &'a Path,
}

impl Setting<'_> {
    fn fault(&self, what: &str) -> Fault {
        Fault(format!("{}: {}: {what}", self.name, self.path.display()))
    }
}

fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let read = x509_cert::Certificate::from_der(certificate).ok()?;
    let validity = read.tbs_certificate().validity();
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
    Some(Validity { from: seconds(validity.not_before)?, until: seconds(validity.not_after)? })
}
