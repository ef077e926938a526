//! The bearer token of the TCP listener.

use hyper::header::HeaderValue;

/// Fewest characters of a token: 24 of base64 are more than 128 bits.
const LENGTH_MIN: usize = 24;

/// A secret that is compared in constant time and never shown.
pub struct Token(Vec<u8>);

impl Token {
    /// Takes what a token file holds, without the white space around it.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() < LENGTH_MIN {
            return Err(format!(
                "the token has {} characters, at least {LENGTH_MIN} are needed; `openssl rand -base64 32` makes a good one",
                text.len()
            ));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the token may have printable ASCII characters only, and no blanks".into());
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// True if an `Authorization` header carries this token.
    pub(super) fn matches(&self, header: Option<&HeaderValue>) -> bool {
        let Some((scheme, token)) = header.and_then(|value| value.as_bytes().split_at_checked(7)) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ") && equal(&self.0, token)
    }
}

/// Compares in a time that depends on the lengths alone.
fn equal(secret: &[u8], given: &[u8]) -> bool {
    let mut difference = secret.len() ^ given.len();
    for (index, byte) in given.iter().enumerate() {
        difference |= usize::from(secret[index % secret.len()] ^ byte);
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdefghijklmnop";

    fn matches(header: &str) -> bool {
        Token::new(&format!("{SECRET}\n")).unwrap().matches(Some(&HeaderValue::from_str(header).unwrap()))
    }

    #[test]
    fn only_the_whole_token_matches() {
        assert!(matches(&format!("Bearer {SECRET}")));
        assert!(matches(&format!("bearer {SECRET}")));
        assert!(!matches(&format!("Bearer {SECRET}x")));
        assert!(!matches(&format!("Bearer {}", &SECRET[1..])));
        assert!(!matches(&format!("Bearer {SECRET}{SECRET}")));
        assert!(!matches(&format!("Basic {SECRET}")));
        assert!(!matches("Bearer "));
        assert!(!matches(""));
        assert!(!Token::new(SECRET).unwrap().matches(None));
    }

    #[test]
    fn weak_tokens_are_refused() {
        assert!(Token::new("short").is_err());
        assert!(Token::new("").is_err());
        assert!(Token::new("with blanks in it, and long enough").is_err());
    }
}
