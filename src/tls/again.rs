//! Tickets of TLS 1.3 that are used more than once.
//!
//! A server that demands resumption has to be resumed with each data connection. ProFTPD gives no
//! ticket with an upload (so that its clients need not read one), and its clients use the control
//! connection's ticket again and again, as those of OpenSSL do. rustls hands a ticket out once
//! (RFC 8446 §C.4 advises that against being recognised; here both connections are known to the
//! server as one session's), and what it hands out cannot be copied.
//!
//! So the record in which the ticket came is read once more. rustls counts records, and the count is
//! part of what they are encrypted with: the decryption here counts one less for each record that was
//! repeated. It repeats only when told to on this thread: a record that somebody on the way repeats
//! is the end of the connection, as ever.

use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
    Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::{
    CipherSuiteCommon, ClientConnection, ConnectionTrafficSecrets, ContentType, Error,
    SupportedCipherSuite, Tls13CipherSuite,
};
use std::cell::Cell;
use std::sync::{Arc, LazyLock};

/// The type of a NewSessionTicket message (RFC 8446 §4).
const NEW_SESSION_TICKET: u8 = 4;

thread_local! {
    /// What is being read is a repetition.
    static REPEATS: Cell<bool> = const { Cell::new(false) };
    /// How often keys to read with were made on this thread.
    static KEYS_MADE: Cell<u64> = const { Cell::new(0) };
}

/// The cryptography for connections whose tickets are used more than once.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = CryptoProvider::clone(&super::material::provider());
        for suite in &mut provider.cipher_suites {
            if let SupportedCipherSuite::Tls13(plain) = *suite {
                // Three of them, for as long as the process lives.
                let aead_alg = Box::leak(Box::new(Repeating(plain.aead_alg)));
                let CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit } =
                    plain.common;
                *suite = SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                    common: CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit },
                    hkdf_provider: plain.hkdf_provider,
                    aead_alg,
                    quic: None,
                })));
            }
        }
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

/// A moment ahead of a record.
#[derive(Debug, Clone, Copy)]
pub struct Mark(u64);

/// The moment ahead of a record that is taken on this thread.
pub fn mark() -> Mark {
    Mark(KEYS_MADE.get())
}

/// The last ticket of a connection, as it came.
#[derive(Default)]
pub struct LastTicket {
    record: Vec<u8>,
    received: u32,
}

impl LastTicket {
    /// Keeps `record`, one whole record that `connection` has taken since `mark`, if there was a
    /// ticket in it.
    pub fn note(&mut self, connection: &ClientConnection, record: &[u8], mark: Mark) {
        if KEYS_MADE.get() != mark.0 {
            // What came under the keys before cannot be read any more.
            self.record.clear();
        }
        if connection.tls13_tickets_received() != self.received {
            self.received = connection.tls13_tickets_received();
            self.record = record.to_vec();
        }
    }

    /// Has the connection take its last ticket once more, if it has had one.
    ///
    /// # Errors
    /// The connection cannot be used any more.
    pub fn repeat(&mut self, connection: &mut ClientConnection) -> Result<(), Error> {
        let mut rest = self.record.as_slice();
        let _repeats = Repetition::begin();
        while !rest.is_empty() {
            if connection.read_tls(&mut rest).unwrap_or(0) == 0 {
                return Err(Error::General("the last ticket is not taken".into()));
            }
            connection.process_new_packets()?;
        }
        self.received = connection.tls13_tickets_received();
        Ok(())
    }
}

/// Until it is dropped, what is read on this thread is a repetition.
struct Repetition;

impl Repetition {
    fn begin() -> Self {
        REPEATS.set(true);
        Self
    }
}

impl Drop for Repetition {
    fn drop(&mut self) {
        REPEATS.set(false);
    }
}

/// Encrypts as it always does, and decrypts what is repeated.
struct Repeating(&'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for Repeating {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        KEYS_MADE.set(KEYS_MADE.get() + 1);
        Box::new(Decrypter { plain: self.0.decrypter(key, iv), ticket_at: None, repeated: 0 })
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Decrypter {
    plain: Box<dyn MessageDecrypter>,
    /// Which record the last ticket came in.
    ticket_at: Option<u64>,
    /// Records that rustls has counted and the server has not.
    repeated: u64,
}

impl MessageDecrypter for Decrypter {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        counted: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        if REPEATS.get() {
            let at = self.ticket_at.ok_or(Error::DecryptError)?;
            let plain = self.plain.decrypt(message, at)?;
            self.repeated += 1;
            return Ok(plain);
        }
        let number = counted.saturating_sub(self.repeated);
        let plain = self.plain.decrypt(message, number)?;
        let is_ticket = plain.typ == ContentType::Handshake
            && plain.payload.first() == Some(&NEW_SESSION_TICKET);
        if is_ticket {
            self.ticket_at = Some(number);
        }
        Ok(plain)
    }
}
