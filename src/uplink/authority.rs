//! The authority of a platform's messages: which commands count, and whose signature makes them
//! count.
//!
//! In: the upstream's configuration and its key. Out: whether a signature is that of the platform,
//! and whether a message is for this gateway. Touches: the key's file. A client that may publish on
//! a topic of the broker has no authority by that (I13).

use std::fmt;

use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Map, Value};

use crate::{
    attendance::Origin,
    config::{CommandLevel, SecretError, SignerKey, Upstream},
    store::PublicKey,
};

/// The value of `alg` with a shared secret.
pub const HMAC_SHA256: &str = "hmac-sha256";
/// The value of `alg` with a key pair.
pub const ED25519: &str = "ed25519";

/// Why a message of a platform does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAuthorised {
    #[error(
        "only a signed message counts here: {{\"body\", \"alg\", \"sig\"}} (command_key); see \
         docs/integrate/signatures.md"
    )]
    Unsigned,
    #[error(
        "the message is signed, and this gateway has no command_key for this upstream that would \
         check the signature"
    )]
    NoKey,
    #[error("the gateway cannot read its command_key, so nothing that is signed counts")]
    KeyUnreadable,
    #[error("alg: must be {0:?}, as the gateway's command_key is of this kind")]
    Algorithm(&'static str),
    #[error("sig: is not the signature of body, with the key that this gateway expects")]
    BadSignature,
    #[error("{0}: is missing in the signed body")]
    Unaddressed(&'static str),
    #[error("{0}: the message is for another one")]
    Misaddressed(&'static str),
}

impl NotAuthorised {
    /// Returns the code of the reply.
    pub fn code(&self) -> &'static str {
        match self {
            NotAuthorised::Unsigned => "unsigned",
            NotAuthorised::NoKey | NotAuthorised::KeyUnreadable => "no_key",
            NotAuthorised::Algorithm(_) | NotAuthorised::BadSignature => "bad_signature",
            NotAuthorised::Unaddressed(_) | NotAuthorised::Misaddressed(_) => "misaddressed",
        }
    }
}

/// Why a command key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CommandKeyError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(
        "it is not 64 hexadecimal digits (32 random bytes): make one with openssl rand -hex 32"
    )]
    Malformed,
}

/// The key that checks signatures.
enum Key {
    Absent,
    Unreadable,
    Hmac(hmac::Key),
    Ed25519(PublicKey),
}

/// The authority that the messages of one upstream can have.
pub struct Authority {
    level: CommandLevel,
    key: Key,
    trusts_faces: bool,
    project: String,
    gateway: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the upstream's key. If it cannot be read, nothing that is signed counts, and the
    /// second value says why. Records go out all the same (I14).
    pub fn load(upstream: &Upstream, origin: &Origin) -> (Authority, Option<String>) {
        let (key, problem) = match &upstream.command_key {
            None => (Key::Absent, None),
            Some(key) => match read(key) {
                Ok(key) => (key, None),
                Err(problem) => (Key::Unreadable, Some(problem.to_string())),
            },
        };
        let (project, gateway) = (origin.project.clone(), origin.gateway.clone());
        let (level, trusts_faces) = (upstream.commands, upstream.trust_faces);
        (Authority { level, key, trusts_faces, project, gateway }, problem)
    }

    /// Returns the authority of an upstream without a key.
    pub fn unsigned(level: CommandLevel, origin: &Origin) -> Authority {
        let (project, gateway) = (origin.project.clone(), origin.gateway.clone());
        Authority { level, key: Key::Absent, trusts_faces: false, project, gateway }
    }

    /// Returns which commands count.
    pub fn level(&self) -> CommandLevel {
        self.level
    }

    /// Returns whether faces in signed commands count at once, without a person at the site.
    pub fn trusts_faces(&self) -> bool {
        self.trusts_faces
    }

    /// Refuses an unsigned message where only signed ones count.
    pub fn may_be_unsigned(&self) -> Result<(), NotAuthorised> {
        match self.key {
            Key::Absent => Ok(()),
            _ => Err(NotAuthorised::Unsigned),
        }
    }

    /// Checks the signature of a body, in hexadecimal digits.
    pub fn verify(&self, body: &str, alg: &str, sig: &str) -> Result<(), NotAuthorised> {
        let expected = match &self.key {
            Key::Absent => return Err(NotAuthorised::NoKey),
            Key::Unreadable => return Err(NotAuthorised::KeyUnreadable),
            Key::Hmac(_) => HMAC_SHA256,
            Key::Ed25519(_) => ED25519,
        };
        if alg != expected {
            return Err(NotAuthorised::Algorithm(expected));
        }
        let sig = hex::decode(sig).map_err(|_| NotAuthorised::BadSignature)?;
        let valid = match &self.key {
            Key::Hmac(key) => hmac::verify(key, body.as_bytes(), &sig).is_ok(),
            Key::Ed25519(key) => key.has_signed(body.as_bytes(), &sig),
            Key::Absent | Key::Unreadable => false,
        };
        if valid { Ok(()) } else { Err(NotAuthorised::BadSignature) }
    }

    /// Takes `topic`, `project` and `gateway` out of a body, and refuses a message for another one.
    /// So a signed message counts on one topic of one gateway. An unsigned one may leave them out.
    pub fn addressed(
        &self,
        body: &mut Map<String, Value>,
        topic: &str,
        signed: bool,
    ) -> Result<(), NotAuthorised> {
        let parts = [("topic", topic), ("project", &self.project), ("gateway", &self.gateway)];
        for (name, own) in parts {
            match body.remove(name) {
                Some(Value::String(given)) if given == own => {}
                None if signed => return Err(NotAuthorised::Unaddressed(name)),
                None => {}
                Some(_) => return Err(NotAuthorised::Misaddressed(name)),
            }
        }
        Ok(())
    }
}

fn read(key: &SignerKey) -> Result<Key, CommandKeyError> {
    match key {
        SignerKey::Ed25519(key) => Ok(Key::Ed25519(PublicKey(*key))),
        SignerKey::Hmac(secret) => {
            let seed = seed(&secret.read()?)?;
            Ok(Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, &*seed)))
        }
    }
}

/// Reads the 32 bytes of a key from their digits.
fn seed(digits: &str) -> Result<zeroize::Zeroizing<[u8; 32]>, CommandKeyError> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits.trim(), &mut *seed).map_err(|_| CommandKeyError::Malformed)?;
    Ok(seed)
}

/// Checks that a key can be used.
pub fn check(key: &SignerKey) -> Result<(), CommandKeyError> {
    read(key).map(drop)
}

/// A platform's side of a key: it signs.
pub enum Signer {
    Hmac(hmac::Key),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// Reads a key from its 64 digits: the shared secret, or the private key's 32 bytes.
    pub fn new(digits: &str, pair: bool) -> Result<Signer, CommandKeyError> {
        let seed = seed(digits)?;
        if !pair {
            return Ok(Signer::Hmac(hmac::Key::new(hmac::HMAC_SHA256, &*seed)));
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed);
        pair.map(Signer::Ed25519).map_err(|_| CommandKeyError::Malformed)
    }

    /// Returns the signed form of a body.
    pub fn signed(&self, body: &str) -> Value {
        let (alg, sig) = match self {
            Signer::Hmac(key) => (HMAC_SHA256, hex::encode(hmac::sign(key, body.as_bytes()))),
            Signer::Ed25519(pair) => (ED25519, hex::encode(pair.sign(body.as_bytes()))),
        };
        serde_json::json!({ "body": body, "alg": alg, "sig": sig })
    }

    /// Returns the `command_key` of a public key; `None` for a shared secret.
    pub fn public(&self) -> Option<String> {
        match self {
            Signer::Hmac(_) => None,
            Signer::Ed25519(pair) => {
                let digits = hex::encode(pair.public_key().as_ref());
                Some(format!("{}{digits}", crate::config::ED25519))
            }
        }
    }
}
