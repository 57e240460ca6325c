//! TLS of both ends. The client verifies nothing: who it talks to is known.

use crate::Outcome;
use crate::verify_nothing::VerifyNothing;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// A connection, in TLS or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    /// This end's address.
    fn local(&self) -> io::Result<SocketAddr>;
}

impl Wire for TcpStream {
    fn local(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

impl Wire for Box<dyn Wire> {
    fn local(&self) -> io::Result<SocketAddr> {
        self.as_ref().local()
    }
}

impl<T: Wire> Wire for tokio_rustls::client::TlsStream<T> {
    fn local(&self) -> io::Result<SocketAddr> {
        self.get_ref().0.local()
    }
}

impl<T: Wire> Wire for tokio_rustls::server::TlsStream<T> {
    fn local(&self) -> io::Result<SocketAddr> {
        self.get_ref().0.local()
    }
}

/// A client of this version only, which resumes nothing.
pub(crate) fn client(version: &str) -> Outcome<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[named(version)?])?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(VerifyNothing::new(default_provider())))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// A server of this version only, with what stands in these files (PEM).
pub(crate) fn server(certificate: &str, key: &str, version: &str) -> Outcome<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[named(version)?])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn named(version: &str) -> Outcome<&'static SupportedProtocolVersion> {
    match version {
        "1.2" => Ok(&TLS12),
        "1.3" => Ok(&TLS13),
        _ => Err(format!("no version {version}").into()),
    }
}
