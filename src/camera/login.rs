//! Decides how to log in to a network camera. Pure.
//!
//! In: the challenges of a camera that asks for a login (RFC 7617, RFC 7616). Out: a client that
//! answers one of them, or why the password is not sent. Basic shows the password to all who can
//! read the network's traffic, and to a device that has taken the camera's address. So a camera
//! that has asked for digest once gets no answer to basic any more, until the daemon restarts.

use http_auth::{ChallengeParser, PasswordClient};

use crate::config::LoginScheme;

/// What one camera has asked for in this run.
#[derive(Debug, Default)]
pub(super) struct Asked {
    digest: bool,
}

impl Asked {
    /// Returns the client that answers these headers. The first digest goes before basic.
    pub(super) fn answer<'a>(
        &mut self,
        headers: impl IntoIterator<Item = &'a str>,
        wanted: LoginScheme,
    ) -> Result<PasswordClient, String> {
        let (mut digest, mut basic) = (None, None);
        for header in headers {
            // What follows an unreadable challenge is passed over.
            for challenge in ChallengeParser::new(header).map_while(Result::ok) {
                let client = PasswordClient::builder().challenge(&challenge).build().ok();
                match client {
                    Some(client @ PasswordClient::Digest(_)) => digest = digest.or(Some(client)),
                    Some(client @ PasswordClient::Basic(_)) => basic = basic.or(Some(client)),
                    _ => {}
                }
            }
        }
        self.digest |= digest.is_some();
        let why = match (wanted, digest, basic) {
            (LoginScheme::Any | LoginScheme::Digest, Some(digest), _) => return Ok(digest),
            (LoginScheme::Any, None, Some(basic)) if !self.digest => return Ok(basic),
            (LoginScheme::Basic, _, Some(basic)) => return Ok(basic),
            (LoginScheme::Any, None, Some(_)) => {
                "the camera asked for a digest login before, and asks for basic now, which would \
                 show the password. The password was not sent. Check whether another device has \
                 its address, or whether its settings were changed; then restart the daemon"
            }
            (LoginScheme::Digest, None, Some(_)) => {
                "the camera asks for a basic login, which would show the password. The password \
                 was not sent. Set the camera to digest, or set auth = \"any\" here"
            }
            (LoginScheme::Basic, Some(_), None) => {
                "the camera asks for a digest login: set auth = \"any\" here"
            }
            (_, None, None) => {
                "the camera asks for an unknown kind of login; set the camera to digest or basic"
            }
        };
        Err(why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASIC: &str = "Basic realm=\"cam\"";
    const DIGEST: &str = "Digest realm=\"cam\", nonce=\"n\", qop=\"auth\"";

    fn kind(client: Result<PasswordClient, String>) -> Result<&'static str, String> {
        client.map(|client| match client {
            PasswordClient::Digest(_) => "digest",
            _ => "basic",
        })
    }

    #[test]
    fn a_camera_that_asked_for_digest_once_gets_no_answer_to_basic() {
        let mut asked = Asked::default();
        assert_eq!(kind(asked.answer([BASIC], LoginScheme::Any)).unwrap(), "basic");
        for offered in [&[BASIC, DIGEST][..], &[DIGEST, BASIC], &[DIGEST]] {
            assert_eq!(
                kind(asked.answer(offered.iter().copied(), LoginScheme::Any)).unwrap(),
                "digest"
            );
        }
        let both = format!("{BASIC}, {DIGEST}");
        assert_eq!(kind(asked.answer([&*both], LoginScheme::Any)).unwrap(), "digest");
        let refused = kind(asked.answer([BASIC], LoginScheme::Any)).unwrap_err();
        assert!(refused.contains("asks for basic now"), "{refused}");
        // A digest of an unknown algorithm is no digest that could be answered.
        let unknown = "Digest realm=\"cam\", nonce=\"n\", algorithm=X";
        assert!(kind(asked.answer([unknown, BASIC], LoginScheme::Any)).is_err());
    }

    #[test]
    fn the_configuration_may_insist_on_a_kind_of_login() {
        let answer = |offered: &[&'static str], wanted| {
            kind(Asked::default().answer(offered.iter().copied(), wanted))
        };
        assert_eq!(answer(&[BASIC, DIGEST], LoginScheme::Digest).unwrap(), "digest");
        assert!(answer(&[BASIC], LoginScheme::Digest).unwrap_err().contains("was not sent"));
        assert_eq!(answer(&[BASIC, DIGEST], LoginScheme::Basic).unwrap(), "basic");
        assert!(answer(&[DIGEST], LoginScheme::Basic).unwrap_err().contains("auth = \"any\""));
        assert!(answer(&["Negotiate"], LoginScheme::Any).unwrap_err().contains("unknown kind"));
    }
}
