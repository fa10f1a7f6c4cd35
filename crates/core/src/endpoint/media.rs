//! How calls of an endpoint are encrypted and coded: its own lists, or the account's profile.

/// A cipher suite of SRTP, as SignalWire names them (RFC 3711, RFC 6188, RFC 7714).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// `AEAD_AES_256_GCM_8`.
    AeadAes256Gcm8,
    /// `AES_256_CM_HMAC_SHA1_80`.
    Aes256CmHmacSha1With80,
    /// `AES_CM_128_HMAC_SHA1_80`.
    AesCm128HmacSha1With80,
    /// `AES_256_CM_HMAC_SHA1_32`.
    Aes256CmHmacSha1With32,
    /// `AES_CM_128_HMAC_SHA1_32`.
    AesCm128HmacSha1With32,
}

impl Cipher {
    /// Every cipher suite, the strongest first.
    pub const ALL: &'static [Cipher] = &[
        Cipher::AeadAes256Gcm8,
        Cipher::Aes256CmHmacSha1With80,
        Cipher::AesCm128HmacSha1With80,
        Cipher::Aes256CmHmacSha1With32,
        Cipher::AesCm128HmacSha1With32,
    ];
}

/// An audio or video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus (RFC 6716).
    Opus,
    /// G.722.
    G722,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// VP8 (RFC 6386).
    Vp8,
    /// H.264.
    H264,
}

impl Codec {
    /// Every codec, in the order of preference.
    pub const ALL: &'static [Codec] = &[
        Codec::Opus,
        Codec::G722,
        Codec::Pcmu,
        Codec::Pcma,
        Codec::Vp8,
        Codec::H264,
    ];
}

/// Whether an endpoint must be reached over an encrypted transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encryption {
    /// As the profile says.
    #[default]
    Default,
    /// Only over TLS or secure WebSocket.
    Required,
    /// Over any transport.
    Optional,
}

/// Returns a list with each value once, in the order given.
#[must_use]
pub fn each_once<T: Copy + PartialEq>(list: &[T]) -> Vec<T> {
    let mut once = Vec::with_capacity(list.len());
    for value in list {
        if !once.contains(value) {
            once.push(*value);
        }
    }
    once
}
