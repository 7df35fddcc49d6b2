//! An explanation to be read.

use super::story::{Answer, Change, Effect, Explanation, Judged, LastFailure, Layer, Server};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = &self.request;
        match self.protocol {
            "http" => writeln!(f, "{} {}", asked.method, asked.url)?,
            protocol => writeln!(f, "{protocol} {}", asked.url)?,
        }
        write!(
            f,
            "  from {} to the entrypoint `{}`",
            asked.client_ip, self.entrypoint
        )?;
        match &asked.sni {
            Some(name) => writeln!(f, ", server name {name}")?,
            None => writeln!(f)?,
        }
        self.routers(f)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if index == 0 {
                f.write_str("\nlayers, the outermost first\n")?;
            }
            layer_text(f, layer)?;
        }
        for (index, note) in self.notes.iter().enumerate() {
            if index == 0 {
                f.write_str("\nbeside\n")?;
            }
            writeln!(f, "  {note}")?;
        }
        if let Some(upstream) = &self.upstream {
            f.write_str("\nthe request as the server sees it\n")?;
            writeln!(f, "  {} {}", upstream.method, upstream.target)?;
            for field in &upstream.headers {
                writeln!(f, "  {}: {}", field.name, field.value)?;
            }
        }
        servers(f, &self.servers)?;
        match &self.answer {
            Some(answer) => answer_text(f, answer),
            None => Ok(()),
        }
    }
}

impl Explanation {
    fn routers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.candidates.is_empty() {
            return Ok(());
        }
        f.write_str("\nrouters, by priority\n")?;
        let width = |of: &dyn Fn(&Judged) -> usize| {
            self.candidates.iter().map(of).max().unwrap_or_default()
        };
        let names = width(&|it| it.router.chars().count());
        let numbers = width(&|it| it.priority.to_string().len());
        let mut is_after = false;
        for judged in &self.candidates {
            let Judged {
                priority, router, ..
            } = judged;
            write!(f, "  {priority:>numbers$}  {router:<names$}  ")?;
            match judged.failed.first() {
                _ if judged.chosen => writeln!(f, "is the one: {}", judged.rule)?,
                _ if judged.matches && is_after => {
                    writeln!(f, "matches as well, and comes later: {}", judged.rule)?;
                }
                Some(failed) => {
                    write!(f, "no: {}, {}", failed.matcher, failed.found)?;
                    match judged.failed.len() {
                        0 | 1 => writeln!(f)?,
                        more => writeln!(f, " (nor {} others)", more - 1)?,
                    }
                }
                None => writeln!(f, "matches: {}", judged.rule)?,
            }
            is_after |= judged.chosen;
        }
        if self.candidates_left_out > 0 {
            writeln!(f, "  and {} more", self.candidates_left_out)?;
        }
        match (&self.router, &self.service) {
            (Some(router), Some(service)) => {
                writeln!(f, "\nroute: router `{router}`, service `{service}`")
            }
            (Some(router), None) => writeln!(f, "\nroute: router `{router}`"),
            (None, _) => writeln!(f, "\nroute: none"),
        }
    }
}

fn layer_text(f: &mut fmt::Formatter<'_>, layer: &Layer) -> fmt::Result {
    let effect = match layer.effect {
        Effect::Passes if layer.request.is_empty() && layer.response.is_empty() => "passes",
        Effect::Passes => "passes, and changes",
        Effect::Answers => "answers",
        Effect::NotReached => "is not reached",
        Effect::NotRehearsed => "is not rehearsed",
    };
    write!(f, "  {} ({}) {effect}", layer.name, layer.kind)?;
    match &layer.answer {
        Some(answer) => writeln!(f, " {}", answer.status)?,
        None => writeln!(f)?,
    }
    for note in &layer.notes {
        writeln!(f, "    {note}")?;
    }
    for (of, changes) in [("request", &layer.request), ("answer", &layer.response)] {
        for Change {
            what,
            before,
            after,
        } in changes
        {
            match (before, after) {
                (None, Some(after)) => writeln!(f, "    {of} + {what}: {after}")?,
                (Some(before), None) => writeln!(f, "    {of} - {what}: {before}")?,
                (Some(before), Some(after)) => {
                    writeln!(f, "    {of} ~ {what}: {before} -> {after}")?;
                }
                (None, None) => {}
            }
        }
    }
    Ok(())
}

fn servers(f: &mut fmt::Formatter<'_>, servers: &[Server]) -> fmt::Result {
    if servers.is_empty() {
        return Ok(());
    }
    f.write_str("\nservers\n")?;
    let width = servers.iter().map(|server| server.url.len()).max();
    let width = width.unwrap_or_default();
    for server in servers {
        let Server {
            url, weight, state, ..
        } = server;
        write!(f, "  {url:<width$}  weight {weight}, {state}, ")?;
        match server.picked {
            "possible" => f.write_str("may be picked")?,
            "certain" => f.write_str("is picked")?,
            _ => f.write_str("is not picked")?,
        }
        if let Some(why) = &server.why {
            write!(f, ": {why}")?;
        }
        if let (Some(revision), Some(share)) = (&server.revision, server.share) {
            write!(f, " (revision {revision}, {share} %)")?;
        }
        if let Some(LastFailure { at, reason }) = &server.last_failure {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let passed = now.map_or(0, |now| now.as_secs().saturating_sub(*at));
            write!(f, "; it failed {passed} s ago: {reason}")?;
        }
        writeln!(f)?;
    }
    Ok(())
}

fn answer_text(f: &mut fmt::Formatter<'_>, answer: &Answer) -> fmt::Result {
    match (answer.by, answer.status, &answer.reason) {
        ("server", ..) if answer.headers.is_empty() => writeln!(f, "\nanswer: the server's")?,
        ("server", ..) => writeln!(f, "\nanswer: the server's, with")?,
        (_, Some(status), Some(reason)) => writeln!(f, "\nanswer: {status}, {reason}")?,
        (_, Some(status), None) => writeln!(f, "\nanswer: {status}")?,
        (_, None, Some(reason)) => writeln!(f, "\nanswer: {reason}")?,
        (_, None, None) => {}
    }
    for field in &answer.headers {
        writeln!(f, "  {}: {}", field.name, field.value)?;
    }
    Ok(())
}
