//! The types of endpoints and what may be changed of each: the one table that update, replace, error details and the
//! documentation go by.

/// What an endpoint is (CarrierX's types, and the SIP user of the others).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EndpointType {
    /// A phone or softphone.
    #[default]
    SipUser,
    /// A trunk to another system.
    ThirdParty,
    /// A mediator.
    Mediator,
    /// A FlexML application.
    Flexml,
    /// A conference.
    Conference,
    /// A conference of the second kind.
    ConferenceV2,
    /// A playback of conferences.
    ConferencePlayback,
    /// A voice mailbox.
    Voicemail,
    /// The operator's gateway, one per account.
    SystemGateway,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// A field of an endpoint that a caller may give.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EndpointField { $($(#[$doc])* $name,)* }

        impl EndpointField {
            /// Every field, in the order of the API.
            pub const ALL: &'static [EndpointField] = &[$(EndpointField::$name,)*];

            /// Returns the field's name in the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(EndpointField::$name => $text,)* }
            }
        }
    };
}

fields! {
    /// The password; write-only.
    Credentials "credentials";
    /// The label for people.
    DisplayName "displayName";
    /// A note for people.
    Description "description";
    /// Its application.
    Application "applicationId";
    /// Whether it may register, send and receive.
    Enabled "enabled";
    /// The numbers on which it receives and from which it sends.
    Numbers "numbers";
    /// The name that others see as the caller.
    CallerId "callerId";
    /// The number that it sends from.
    SendAs "sendAs";
    /// Whether it may reach outside numbers.
    AllowOutside "allowOutside";
    /// Its cipher suites.
    Ciphers "ciphers";
    /// Its codecs.
    Codecs "codecs";
    /// Whether encrypted transports are demanded.
    Encryption "encryption";
    /// Which digests are kept and accepted.
    DigestAlgorithms "digestAlgorithms";
    /// The most inbound calls at a time.
    Capacity "capacity";
    /// Whether what it sends must be authenticated.
    AuthRequired "authRequired";
    /// Where a trunk stands.
    Addresses "addresses";
    /// What the caller keeps with it.
    Attributes "attributes";
    /// What its type needs.
    Properties "properties";
    /// Rules on numbers.
    Transformations "transformations";
    /// The user name for digest challenges of a trunk.
    OutSipUsername "outSipUsername";
    /// The password for digest challenges of a trunk; write-only.
    OutSipPassword "outSipPassword";
    /// How it behaves when no phone stands behind it.
    Simulation "simulation";
}

impl EndpointField {
    /// Returns whether it can never be read, so that a whole update need not give it.
    #[must_use]
    pub fn is_write_only(self) -> bool {
        matches!(
            self,
            EndpointField::Credentials | EndpointField::OutSipPassword
        )
    }
}

/// The properties of a voice mailbox that can be set; it has no others.
pub const VOICEMAIL_PROPERTIES: &[&str] = &[
    "callback_method",
    "callback_url",
    "container_sid",
    "greeting",
];

/// What all hosted types may have changed.
const HOSTED: &[EndpointField] = &[
    EndpointField::DisplayName,
    EndpointField::Description,
    EndpointField::Enabled,
    EndpointField::Capacity,
];
/// What a voice mailbox may have changed.
const VOICEMAIL: &[EndpointField] = &[
    EndpointField::DisplayName,
    EndpointField::Description,
    EndpointField::Enabled,
    EndpointField::Capacity,
    EndpointField::Properties,
];

impl EndpointType {
    /// Returns the fields that may be changed once it is made.
    #[must_use]
    pub fn writable_fields(self) -> &'static [EndpointField] {
        match self {
            EndpointType::SipUser | EndpointType::ThirdParty => EndpointField::ALL,
            EndpointType::Mediator
            | EndpointType::Flexml
            | EndpointType::Conference
            | EndpointType::ConferenceV2
            | EndpointType::ConferencePlayback => HOSTED,
            EndpointType::Voicemail => VOICEMAIL,
            EndpointType::SystemGateway => &[],
        }
    }

    /// Returns the only keys that its `properties` may have; `None` means any.
    #[must_use]
    pub fn property_keys(self) -> Option<&'static [&'static str]> {
        match self {
            EndpointType::Voicemail => Some(VOICEMAIL_PROPERTIES),
            EndpointType::SipUser
            | EndpointType::ThirdParty
            | EndpointType::Mediator
            | EndpointType::Flexml
            | EndpointType::Conference
            | EndpointType::ConferenceV2
            | EndpointType::ConferencePlayback
            | EndpointType::SystemGateway => None,
        }
    }

    /// Returns the paths that may be changed, as clients read them: `displayName`, `properties.greeting`.
    #[must_use]
    pub fn writable_paths(self) -> Vec<String> {
        let mut paths = Vec::new();
        for field in self.writable_fields() {
            match (field, self.property_keys()) {
                (EndpointField::Properties, Some(keys)) => {
                    paths.extend(keys.iter().map(|key| format!("properties.{key}")));
                }
                _ => paths.push(field.as_str().to_owned()),
            }
        }
        paths
    }

    /// Returns whether it runs on the platform and so has no token for VoIP clients.
    #[must_use]
    pub fn is_hosted(self) -> bool {
        !matches!(self, EndpointType::SipUser | EndpointType::ThirdParty)
    }

    /// Returns the type's name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EndpointType::SipUser => "SIP_USER",
            EndpointType::ThirdParty => "THIRD_PARTY",
            EndpointType::Mediator => "MEDIATOR",
            EndpointType::Flexml => "FLEXML",
            EndpointType::Conference => "CONFERENCE",
            EndpointType::ConferenceV2 => "CONFERENCE_V2",
            EndpointType::ConferencePlayback => "CONFERENCE_PLAYBACK",
            EndpointType::Voicemail => "VOICEMAIL",
            EndpointType::SystemGateway => "SYSTEM_GATEWAY",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c065_paths_of_a_voice_mailbox() {
        assert_eq!(
            EndpointType::Voicemail.writable_paths(),
            [
                "displayName",
                "description",
                "enabled",
                "capacity",
                "properties.callback_method",
                "properties.callback_url",
                "properties.container_sid",
                "properties.greeting",
            ]
        );
        assert!(EndpointType::SystemGateway.writable_paths().is_empty());
    }
}
