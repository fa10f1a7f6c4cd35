//! `sipgraph trace`.

use crate::config::Config;
use crate::control::{Client, Direction, Line, Request, Seen};
use crate::failure::Failure;
use crate::shutdown::Signals;
use crate::wiring::Instance;
use std::fmt::Write as _;

/// What to show.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The endpoint's address, such as alice@example.com or sip:alice@example.com.
    #[arg(value_name = "ADDRESS")]
    endpoint: String,
    /// Shows bodies too: what people wrote.
    #[arg(long)]
    bodies: bool,
    /// Prints a JSON object for each message.
    #[arg(long)]
    json: bool,
    /// Ends after so many messages; otherwise with Ctrl-C.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

const AFTER_HELP: &str = "\
    Shows every SIP message from and to the endpoint on this server, as it comes. Passwords, digest answers and nonces of \
    answers are replaced by (hidden). Messages in which the endpoint's name stands with an IP address in the place of the \
    domain are shown too. A JSON object has at, direction (in or out), transport, local, remote, head, body_octets and, with \
    --bodies, body.";

/// Runs the command.
///
/// # Errors
/// An address that is none or in nobody's domain; a server that does not run; those of the database.
pub(crate) async fn run(args: Args, config: &Config) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let instance = Instance::open(config).await?;
    let found = instance.app.address_find(&args.endpoint).await;
    instance.close().await;
    let found = found?;
    if !found.is_endpoint {
        eprintln!(
            "There is no endpoint {} in {}; what is said in its name is shown all the same.",
            found.user, found.domains[0]
        );
    }
    let request = Request::Trace {
        user: found.user,
        domains: found.domains,
        bodies: args.bodies,
    };
    let mut client = Client::ask(&config.control_socket(), &request).await?;
    let mut shown = 0;
    while args.count.is_none_or(|count| shown < count) {
        let line = tokio::select! {
            line = client.next() => line?,
            () = signals.next() => return Ok(()),
        };
        match line {
            None => {
                return Err(Failure::Failed("The server has ended.".to_owned()));
            }
            Some(Line::Refused(why)) => return Err(Failure::Failed(why)),
            Some(Line::Tracing) => eprintln!("Tracing {}; Ctrl-C ends it.", args.endpoint),
            Some(Line::Missed(missed)) => {
                eprintln!("{missed} messages came too fast to be shown.");
            }
            Some(Line::Message(seen)) => {
                shown += 1;
                super::print(&if args.json {
                    seen.json()
                } else {
                    paragraph(&seen)
                })?;
            }
        }
    }
    Ok(())
}

/// A message for people: a line of when and where, then the message, indented, and an empty line.
fn paragraph(seen: &Seen) -> String {
    let arrow = match seen.direction {
        Direction::In => "<-",
        Direction::Out => "->",
    };
    let mut text = format!("{} {arrow} {} {}\n", seen.at, seen.transport, seen.remote);
    // A device chooses what stands here: no control character of it reaches the terminal.
    let mut indented = |lines: &str| {
        for line in lines.lines() {
            let line = line.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
            // Writing to a string can't fail.
            let _ = writeln!(text, "    {line}");
        }
    };
    indented(&seen.head);
    match &seen.body {
        Some(body) if !body.is_empty() => {
            indented("\n");
            indented(body);
        }
        None if seen.body_octets > 0 => {
            indented(&format!(
                "({} octets of body; --bodies shows them)",
                seen.body_octets
            ));
        }
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            at: "2025-11-13T02:13:20.123456Z".to_owned(),
            direction: Direction::In,
            transport: "UDP".to_owned(),
            local: "192.0.2.1:5060".to_owned(),
            remote: "192.0.2.7:5060".to_owned(),
            head: "OPTIONS sip:h SIP/2.0\nSubject: \u{1b}[31mred\n".to_owned(),
            body_octets: 3,
            body: None,
        }
    }

    #[test]
    fn a_paragraph_has_no_control_character_of_the_device() {
        assert_eq!(
            paragraph(&seen()),
            "2025-11-13T02:13:20.123456Z <- UDP 192.0.2.7:5060\n    OPTIONS sip:h SIP/2.0\n    Subject: \u{fffd}[31mred\n    (3 octets of body; --bodies shows them)\n"
        );
        let body = Some("a\r\n\u{7}b".to_owned());
        let with_body = paragraph(&Seen { body, ..seen() });
        assert!(
            with_body.ends_with("red\n    \n    a\n    \u{fffd}b\n"),
            "{with_body}"
        );
    }

    #[test]
    fn json_is_one_line() {
        let line = seen().json();
        assert_eq!(line.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["direction"], "in");
        assert_eq!(value["at"], "2025-11-13T02:13:20.123456Z");
        assert!(value.get("body").is_none());
    }
}
