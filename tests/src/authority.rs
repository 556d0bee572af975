//! A private certificate authority and what it issues, as PEM files.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// An authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate in PEM.
    pub pem: String,
}

/// A certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// Where a certificate and its key were written.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// From when until when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Today and for long.
    Now,
    /// It was once.
    Past,
    /// It will be one day.
    Future,
}

impl When {
    fn put(self, params: &mut CertificateParams) {
        let (from, until) = match self {
            Self::Now => (2020, 2090),
            Self::Past => (2020, 2021),
            Self::Future => (2089, 2090),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
    }
}

impl Authority {
    /// One whose certificate is good.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::of(name, When::Now)
    }

    /// One whose certificate is good at some time.
    #[must_use]
    pub fn of(name: &str, when: When) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        when.put(&mut params);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these names and addresses, for servers and for clients.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_for(names, When::Now)
    }

    /// A certificate that is good at some time.
    #[must_use]
    pub fn issue_for(&self, names: &[&str], when: When) -> Issued {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        when.put(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    /// Writes the authority's certificate.
    #[must_use]
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(format!("{name}.crt"));
        fs::write(&path, &self.pem).unwrap();
        path
    }
}

impl Issued {
    /// Writes both files.
    #[must_use]
    pub fn write(&self, folder: &Path, name: &str) -> Files {
        let files = Files {
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&files.certificate, &self.certificate).unwrap();
        fs::write(&files.key, &self.key).unwrap();
        files
    }
}
