//! `completions` and `man`: what the command line says of itself, for shells and for readers.

use super::{Command, Exit, complain, put, say};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// When what the pages say was last gone through.
const DATE: &str = "2026-11-26";

/// Prints the completions of a shell.
pub(super) fn completions(shell: Shell) -> Exit {
    let mut command = Command::command();
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    // For bash it takes the hyphen of our name for a step to a subcommand in some places, and not in others.
    let text = String::from_utf8_lossy(&text);
    put(text
        .replace("a3s__subcmd__gateway", "a3s__gateway")
        .as_bytes());
    Exit::Done
}

/// Prints the page of the command, or writes those of its subcommands too.
pub(super) fn man(out: Option<&Path>) -> Exit {
    let mut command = Command::command().disable_help_subcommand(true);
    command.build();
    let Some(out) = out else {
        return match page(command) {
            Ok((_, text)) => {
                put(text.as_bytes());
                Exit::Done
            }
            Err(error) => failed(&error),
        };
    };
    let verbs = command.get_subcommands().cloned();
    let commands: Vec<_> = std::iter::once(command.clone()).chain(verbs).collect();
    for command in commands {
        let written = page(command).and_then(|(name, text)| {
            let path = out.join(name);
            fs::write(&path, text).map(|()| path)
        });
        match written {
            Ok(path) => say(&path.display().to_string()),
            Err(error) => return failed(&format_args!("{}: {error}", out.display())),
        }
    }
    Exit::Done
}

/// The page of a command, and the name of its file.
fn page(command: clap::Command) -> io::Result<(String, String)> {
    let page = Man::new(command).date(DATE).manual("User Commands");
    let page = page.source(concat!("a3s-gateway ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    // Where values are listed, the page breaks a line that has been broken.
    let text = text.replace(".br\n\n.br\n", ".sp\n");
    Ok((page.get_filename(), text))
}

fn failed(error: &dyn std::fmt::Display) -> Exit {
    complain(error);
    Exit::Failed
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// A directory to write the pages to: one for the command, and one for each subcommand.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}
