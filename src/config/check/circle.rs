//! Things that name others of their kind: whether one names itself by way of others, or the way is too long.

use std::collections::HashMap;

/// How many may stand behind one another.
pub(super) const MAX_DEPTH: usize = 32;

/// The first one found that leads to itself, as the way from it to it, or to more than may stand behind one another.
/// `inner` tells whom one names.
pub(super) fn endless<'c>(
    names: impl IntoIterator<Item = &'c String>,
    inner: &dyn Fn(&'c str) -> Vec<&'c str>,
) -> Option<Vec<&'c str>> {
    let mut walk = Walk {
        inner,
        way: Vec::new(),
        depths: HashMap::new(),
    };
    names.into_iter().find_map(|name| walk.depth(name).err())
}

struct Walk<'c, 'i> {
    inner: &'i dyn Fn(&'c str) -> Vec<&'c str>,
    way: Vec<&'c str>,
    /// How many stand behind each one that is known.
    depths: HashMap<&'c str, usize>,
}

impl<'c> Walk<'c, '_> {
    fn depth(&mut self, name: &'c str) -> Result<usize, Vec<&'c str>> {
        if let Some(start) = self.way.iter().position(|on_way| *on_way == name) {
            return Err(self.way[start..].iter().copied().chain([name]).collect());
        }
        let known = self.depths.get(name).copied();
        if self.way.len() + known.unwrap_or_default() > MAX_DEPTH {
            return Err(self.way.iter().copied().chain([name]).collect());
        }
        if let Some(known) = known {
            return Ok(known);
        }
        self.way.push(name);
        let mut depth = 0;
        for inner in (self.inner)(name) {
            depth = depth.max(1 + self.depth(inner)?);
        }
        self.way.pop();
        self.depths.insert(name, depth);
        Ok(depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(edges: &[(usize, usize)], count: usize) -> Option<Vec<String>> {
        let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let inner = |name: &str| -> Vec<&str> {
            let from: usize = name.parse().unwrap();
            let edges = edges.iter().filter(|edge| edge.0 == from);
            edges.map(|edge| &*names[edge.1]).collect()
        };
        let way = endless(&names, &inner)?;
        Some(way.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn a_circle_is_found_wherever_it_begins() {
        assert_eq!(found(&[(0, 1), (1, 2), (0, 2)], 3), None);
        assert_eq!(found(&[(0, 0)], 1).unwrap(), ["0", "0"]);
        assert_eq!(
            found(&[(0, 1), (1, 2), (2, 1)], 3).unwrap(),
            ["1", "2", "1"]
        );
    }

    #[test]
    fn what_is_too_long_is_found_in_whatever_order_its_parts_are_known() {
        let down: Vec<_> = (0..MAX_DEPTH).map(|n| (n, n + 1)).collect();
        assert_eq!(found(&down, MAX_DEPTH + 1), None);
        let down: Vec<_> = (0..=MAX_DEPTH).map(|n| (n, n + 1)).collect();
        assert!(found(&down, MAX_DEPTH + 2).is_some());
        let up: Vec<_> = (0..=MAX_DEPTH).map(|n| (n + 1, n)).collect();
        assert!(found(&up, MAX_DEPTH + 2).is_some());
    }
}
