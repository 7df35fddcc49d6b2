//! What a client says in a text frame.

use std::fmt;

/// The longest name of a channel, in bytes.
const MAX_NAME: usize = 128;

/// A text frame, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command<'f> {
    /// `_sub:<channel>`
    Subscribe(&'f str),
    /// `_unsub:<channel>`
    Unsubscribe(&'f str),
    /// `_ping`
    Ping,
    /// `<channel>:<payload>`: the frame goes as it is to whoever has subscribed to the channel.
    Publish(&'f str),
}

/// Why a text frame is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// It begins as a command does, and is none.
    Unknown,
    /// It has no colon.
    NoChannel,
    /// What stands where the name of a channel should is no such name.
    BadName(&'static str),
    /// The connection is subscribed to as many channels as it may be.
    TooMany { channel: String, max: usize },
}

impl<'f> Command<'f> {
    pub(super) fn parse(frame: &'f str) -> Result<Self, Refused> {
        if let Some(name) = frame.strip_prefix("_sub:") {
            return Ok(Self::Subscribe(check("_sub", name)?));
        }
        if let Some(name) = frame.strip_prefix("_unsub:") {
            return Ok(Self::Unsubscribe(check("_unsub", name)?));
        }
        match frame {
            "_ping" => Ok(Self::Ping),
            _ if frame.starts_with('_') => Err(Refused::Unknown),
            _ => {
                let (name, _) = frame.split_once(':').ok_or(Refused::NoChannel)?;
                Ok(Self::Publish(check("publish", name)?))
            }
        }
    }
}

fn check<'f>(command: &'static str, name: &'f str) -> Result<&'f str, Refused> {
    let is_good = (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('_')
        && !name.chars().any(|c| c == ':' || c.is_control());
    match is_good {
        true => Ok(name),
        false => Err(Refused::BadName(command)),
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown command"),
            Self::NoChannel => f.write_str("publish: a message is <channel>:<payload>"),
            Self::BadName(command) => write!(
                f,
                "{command}: the name of a channel has 1 to {MAX_NAME} bytes, no colon, no control character, and no _ at its beginning"
            ),
            Self::TooMany { channel, max } => {
                write!(f, "_sub:{channel}: a connection has at most {max} channels")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_commands_or_messages() {
        let long = "n".repeat(MAX_NAME);
        let longer = "n".repeat(MAX_NAME + 1);
        let bad = Refused::BadName;
        for (frame, understood) in [
            ("_ping", Ok(Command::Ping)),
            ("_sub:news", Ok(Command::Subscribe("news"))),
            ("_unsub:news", Ok(Command::Unsubscribe("news"))),
            ("news:hello: world", Ok(Command::Publish("news"))),
            ("news:", Ok(Command::Publish("news"))),
            ("a b/ü:x", Ok(Command::Publish("a b/ü"))),
            (&format!("_sub:{long}"), Ok(Command::Subscribe(&long))),
            (&format!("{long}:x"), Ok(Command::Publish(&long))),
            (&format!("_sub:{longer}"), Err(bad("_sub"))),
            (&format!("{longer}:x"), Err(bad("publish"))),
            ("", Err(Refused::NoChannel)),
            ("news", Err(Refused::NoChannel)),
            (":news", Err(bad("publish"))),
            ("a\nb:c", Err(bad("publish"))),
            ("_sub:", Err(bad("_sub"))),
            ("_sub:a:b", Err(bad("_sub"))),
            ("_sub:_a", Err(bad("_sub"))),
            ("_unsub:", Err(bad("_unsub"))),
            ("_sub", Err(Refused::Unknown)),
            ("_ping:", Err(Refused::Unknown)),
            ("_pong", Err(Refused::Unknown)),
            ("_", Err(Refused::Unknown)),
            ("_sUb:news", Err(Refused::Unknown)),
        ] {
            assert_eq!(Command::parse(frame), understood, "{frame:?}");
        }
    }
}
