//! The value of CSeq.

use std::fmt;

use crate::scan::Scan;
use crate::uri::Mode;
use crate::{Rule, Violation};

/// The value of CSeq (RFC 3261 sections 8.1.1.5 and 20.16): a number and a method.
///
/// ```
/// use sip_validate::CSeq;
///
/// let cseq = CSeq::parse("4711 \r\n MESSAGE")?;
/// assert_eq!((cseq.number, cseq.method), (4711, "MESSAGE"));
/// assert_eq!(cseq.to_string(), "4711 MESSAGE");
/// // What is written is less than 2^31; what is read need only fit.
/// assert!(CSeq::parse("4294967295 ACK").is_err() && CSeq::parse_received("4294967295 ACK").is_ok());
/// # Ok::<(), sip_validate::Violation>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The number; 32 bits wide.
    pub number: u32,
    /// The method, which is case-sensitive.
    pub method: &'a str,
}

impl<'a> CSeq<'a> {
    /// Reads a value strictly: the number is less than 2^31.
    ///
    /// # Errors
    /// [`Rule::CSeq`] at the first octet that does not fit, or [`Rule::CSeqNumber`].
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        Self::read(text, Mode::Strict)
    }

    /// Reads a value tolerantly: the number is less than 2^32.
    ///
    /// # Errors
    /// Those of [`CSeq::parse`].
    pub fn parse_received(text: &'a str) -> Result<Self, Violation> {
        Self::read(text, Mode::Received)
    }

    fn read(text: &'a str, mode: Mode) -> Result<Self, Violation> {
        let mut scan = Scan::new(text);
        let mut number = Some(0_u32);
        while let Some(digit) = scan.digit() {
            number = number.and_then(|n| n.checked_mul(10)?.checked_add(digit));
        }
        let has_number = scan.rest().len() < text.len();
        if !has_number || !scan.lws() {
            return Err(scan.wrong(Rule::CSeq));
        }
        let method = scan.token().filter(|_| scan.is_done());
        let method = method.ok_or_else(|| scan.wrong(Rule::CSeq))?;
        let max = match mode {
            Mode::Strict => u32::MAX >> 1,
            Mode::Received => u32::MAX,
        };
        match number {
            Some(number) if number <= max => Ok(Self { number, method }),
            _ => Err(Violation::at(Rule::CSeqNumber, text, 0)),
        }
    }
}

impl fmt::Display for CSeq<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_borders() {
        let number = |text| {
            CSeq::parse(text)
                .map(|cseq| cseq.number)
                .map_err(|v| v.rule)
        };
        let received = |text| {
            CSeq::parse_received(text)
                .map(|cseq| cseq.number)
                .map_err(|v| v.rule)
        };
        assert_eq!(number("2147483647 ACK"), Ok(2_147_483_647));
        assert_eq!(number("2147483648 ACK"), Err(Rule::CSeqNumber));
        assert_eq!(received("4294967295 ACK"), Ok(u32::MAX));
        assert_eq!(received("4294967296 ACK"), Err(Rule::CSeqNumber));
        assert_eq!(received("99999999999999999999 ACK"), Err(Rule::CSeqNumber));
        assert_eq!(number("00000000000000000001 ACK"), Ok(1));
    }

    #[test]
    fn refusals_name_the_place() {
        for (given, at) in [
            ("", 0),
            (" 1 ACK", 0),
            ("1", 1),
            ("1ACK", 1),
            ("1 ", 2),
            ("1 A B", 3),
            ("1\r\nACK", 1),
        ] {
            let violation = CSeq::parse(given).unwrap_err();
            assert_eq!(
                (violation.rule, violation.byte_offset),
                (Rule::CSeq, at),
                "{given}"
            );
        }
    }
}
