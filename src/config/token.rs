//! Splits HCL into pieces, whether it is right or not: for the formatter, which moves them, and for whoever looks for
//! what is wrong with a text.

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Newline,
    /// `# ...`, `// ...`, to the end of the line.
    Comment,
    /// `/* ... */`.
    BlockComment,
    /// A string, a template or a heredoc, as it stands.
    Text,
    Word,
    Number,
    /// `{`, `[`, `(`.
    Open,
    /// `}`, `]`, `)`.
    Close,
    /// An operator, or other punctuation.
    Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t str,
    /// Where it begins, in bytes.
    pub(super) start: usize,
}

impl Token<'_> {
    pub(super) fn is(&self, text: &str) -> bool {
        // A string is never a mark, whatever it says: it begins with a quote.
        self.text == text
    }

    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(super) fn is_comment(&self) -> bool {
        matches!(self.kind, Kind::Comment | Kind::BlockComment)
    }

    /// What it does to the depth of brackets.
    pub(super) fn depth(&self) -> isize {
        match self.kind {
            Kind::Open => 1,
            Kind::Close => -1,
            _ => 0,
        }
    }
}

const MARKS: [&str; 9] = ["...", "::", "&&", "||", "==", "!=", "<=", ">=", "=>"];

/// The pieces of a text; white space is none. Of a text that is not HCL they are of no use, but they are all of it.
pub(super) fn tokens(text: &str) -> Tokens<'_> {
    Tokens { text, at: 0 }
}

#[derive(Debug, Clone)]
pub(super) struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\r']);
        let start = self.text.len() - rest.len();
        let (kind, len) = token(rest, rest.chars().next()?);
        self.at = start + len;
        let text = match kind {
            Kind::Comment => rest[..len].trim_end(),
            _ => &rest[..len],
        };
        Some(Token { kind, text, start })
    }
}

fn token(rest: &str, first: char) -> (Kind, usize) {
    let until = |end: &str| rest.find(end).unwrap_or(rest.len());
    match first {
        '\n' => (Kind::Newline, 1),
        '#' => (Kind::Comment, until("\n")),
        '/' if rest.starts_with("//") => (Kind::Comment, until("\n")),
        '/' if rest.starts_with("/*") => {
            let end = rest[2..].find("*/").map_or(rest.len(), |at| at + 4);
            (Kind::BlockComment, end)
        }
        '"' => (Kind::Text, quoted(rest, rest.len()).0),
        '<' if rest.starts_with("<<") => (Kind::Text, heredoc(rest)),
        '{' | '[' | '(' => (Kind::Open, 1),
        '}' | ']' | ')' => (Kind::Close, 1),
        _ if is_word(first) && !first.is_ascii_digit() => (Kind::Word, word(rest)),
        _ if first.is_ascii_digit() => (Kind::Number, number(rest)),
        _ => {
            let mark = MARKS.iter().find(|mark| rest.starts_with(**mark));
            (Kind::Mark, mark.map_or(first.len_utf8(), |mark| mark.len()))
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> usize {
    // An identifier of HCL may have hyphens in it.
    text.find(|c| !is_word(c) && c != '-').unwrap_or(text.len())
}

fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let digits = |mut at: usize| {
        while is_digit(at) {
            at += 1;
        }
        at
    };
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && is_digit(end + 1) {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if is_digit(end + 1 + sign) {
            end = digits(end + 1 + sign);
        }
    }
    end
}

/// Within a string, or within `${ }` with so many braces open; each from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Text(usize),
    Template(usize, usize),
}

/// The length of a string with all that is in it, for what is interpolated may have strings in it again; and where it
/// does not end before the byte `until`, what is open there, the innermost last.
pub(super) fn quoted(text: &str, until: usize) -> (usize, Vec<Within>) {
    let bytes = text.as_bytes();
    let mut within = vec![Within::Text(0)];
    let mut at = 1;
    while at < until.min(bytes.len()) {
        let rest = &bytes[at..];
        let Some(innermost) = within.last_mut() else {
            break;
        };
        at += match innermost {
            Within::Text(_) => match rest {
                [b'\\', ..] => 2,
                [b'$', b'$', b'{', ..] | [b'%', b'%', b'{', ..] => 3,
                [b'$' | b'%', b'{', ..] => {
                    within.push(Within::Template(at, 1));
                    2
                }
                [b'"', ..] => {
                    within.pop();
                    1
                }
                _ => 1,
            },
            Within::Template(_, open) => match rest {
                [b'"', ..] => {
                    within.push(Within::Text(at));
                    1
                }
                [b'{', ..] => {
                    *open += 1;
                    1
                }
                [b'}', ..] => {
                    *open -= 1;
                    if *open == 0 {
                        within.pop();
                    }
                    1
                }
                [b'/', b'*', ..] => text[at..].find("*/").map_or(rest.len(), |end| end + 2),
                _ => 1,
            },
        };
    }
    (at.min(text.len()), within)
}

/// The word that ends a heredoc.
pub(super) fn heredoc_word(text: &str) -> &str {
    let first = text.lines().next().unwrap_or_default();
    first.trim_start_matches('<').trim_start_matches('-').trim()
}

/// The length of a heredoc, with the word that ends it.
fn heredoc(text: &str) -> usize {
    let first = text.find('\n').map_or(text.len(), |at| at + 1);
    let word = heredoc_word(text);
    let mut at = first;
    for line in text[first..].split_inclusive('\n') {
        let rest = line.trim_start_matches([' ', '\t']);
        // What stands behind the word does not belong to it any more.
        if let Some(behind) = rest.strip_prefix(word)
            && !behind.starts_with(|c| is_word(c) || c == '-')
        {
            return at + line.len() - behind.len();
        }
        at += line.len();
    }
    text.len()
}
