//! Texts that a regular expression matches.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// How many are made of one expression.
const VARIANTS: usize = 8;

/// No text is longer: a repetition may ask for very many.
const MAX_LENGTH: usize = 512;

/// A few texts that should match: places such as `^` and `\b` are not looked at, so it is for the caller to try them.
pub(in crate::rule) fn samples(pattern: &str) -> Vec<Vec<u8>> {
    let parsed = ParserBuilder::new().utf8(false).build().parse(pattern);
    let Ok(hir) = parsed else {
        return Vec::new();
    };
    let mut samples = Vec::new();
    for variant in 0..VARIANTS {
        let mut sample = Vec::new();
        if write(&hir, variant, &mut sample) && !samples.contains(&sample) {
            samples.push(sample);
        }
    }
    samples
}

/// False where there is none, or it would be too long. The parser bounds the depth.
fn write(hir: &Hir, variant: usize, out: &mut Vec<u8>) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(class) => return write_one_of(class, variant, out),
        HirKind::Repetition(repetition) => {
            let more = u32::from(variant % 2 == 1);
            let most = repetition.max.unwrap_or(u32::MAX);
            for _ in 0..repetition.min.saturating_add(more).min(most) {
                if !write(&repetition.sub, variant, out) {
                    return false;
                }
            }
        }
        HirKind::Capture(capture) => return write(&capture.sub, variant, out),
        HirKind::Concat(parts) => {
            return parts.iter().all(|part| write(part, variant, out));
        }
        HirKind::Alternation(parts) => {
            // Both halves of the variants see every alternative, with more of a repetition and with less.
            return write(&parts[(variant / 2) % parts.len()], variant, out);
        }
    }
    out.len() <= MAX_LENGTH
}

fn write_one_of(class: &Class, variant: usize, out: &mut Vec<u8>) -> bool {
    const LIKED: &str = "a1xbz0-_./:Ay9%e~";
    let is_in = |c: char| match class {
        Class::Unicode(class) => {
            (class.ranges().iter()).any(|range| range.start() <= c && c <= range.end())
        }
        Class::Bytes(class) => (class.ranges().iter())
            .any(|range| c.is_ascii() && (range.start()..=range.end()).contains(&(c as u8))),
    };
    let liked: Vec<char> = LIKED.chars().filter(|c| is_in(*c)).take(4).collect();
    let any = match class {
        Class::Unicode(class) => class.ranges().first().map(|range| range.start()),
        Class::Bytes(class) => class
            .ranges()
            .first()
            .map(|range| char::from(range.start())),
    };
    let chosen = match liked.len() {
        0 => any,
        count => liked.get(variant % count).copied(),
    };
    let Some(chosen) = chosen else { return false };
    out.extend_from_slice(chosen.encode_utf8(&mut [0; 4]).as_bytes());
    out.len() <= MAX_LENGTH
}
