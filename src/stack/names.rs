//! Values by host name: an exact name before a wildcard.

use std::collections::HashMap;

/// Values by host name, in lower case and without a trailing dot.
#[derive(Debug, Clone)]
pub struct Names<T> {
    exact: HashMap<Box<str>, T>,
    /// By what follows `*.`, which is one label.
    wildcard: HashMap<Box<str>, T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        }
    }
}

impl<T> Names<T> {
    /// Puts a value where `name` is, which may begin with `*.`; the first one stays.
    pub fn add(&mut self, name: &str, value: T) {
        let name = normal(name);
        match name.strip_prefix("*.") {
            Some(parent) => self.wildcard.entry(parent.into()).or_insert(value),
            None => self.exact.entry(name.into()).or_insert(value),
        };
    }

    /// What is for `name`: in any case, with or without a dot at its end.
    pub fn get(&self, name: &str) -> Option<&T> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.find(&name.to_ascii_lowercase());
        }
        self.find(name)
    }

    fn find(&self, name: &str) -> Option<&T> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.exact.get(name).or_else(|| {
            // The label may be empty, as in rules: who finds a route finds what is asked for there.
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(parent)
        })
    }
}

fn normal(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_goes_before_a_wildcard_of_one_label() {
        let mut names = Names::default();
        for (index, name) in ["a.test", "*.a.test", "*.B.test.", "A.test", "x.a.test"]
            .iter()
            .enumerate()
        {
            names.add(name, index);
        }
        for (name, value) in [
            ("a.test", Some(0)),
            ("A.TEST.", Some(0)),
            ("x.a.test", Some(4)),
            ("y.a.test", Some(1)),
            ("x.y.a.test", None),
            ("b.test", None),
            ("x.B.test", Some(2)),
            (".a.test", Some(1)),
            ("", None),
            ("test", None),
        ] {
            assert_eq!(names.get(name).copied(), value, "{name}");
        }
    }
}
