//! What is told of entrypoints that send requests to others.

use super::*;

#[test]
fn each_problem_of_a_redirect_is_told_where_it_is() {
    for (keys, more, expected) in [
        ("redirect_to = \"web\"", "", &[][..]),
        (
            "redirect_to = \"wbe\"",
            "",
            &["19:17 E012 entrypoint `a` names the unknown entrypoint `wbe`; did you mean `web`?"],
        ),
        (
            "redirect_to = \"a\"",
            "",
            &["19:17 E019 entrypoints redirect in a circle: a -> a"],
        ),
        (
            "redirect_to = \"b\"",
            "entrypoints \"b\" {\n  address = \":82\"\n  redirect_to = \"a\"\n}\n",
            &["19:17 E019 entrypoints redirect in a circle: a -> b -> a"],
        ),
        (
            "redirect_to = \"b\"",
            "entrypoints \"b\" {\n  address = \"127.0.0.1:0\"\n}\n",
            &["19:17 E013 entrypoint `b` has no port that is known beforehand"],
        ),
        (
            "redirect_to = \"b\"",
            "entrypoints \"b\" {\n  address = \"unix:/run/b\"\n}\n",
            &["19:17 E013 entrypoint `b` has no port that is known beforehand"],
        ),
        (
            "redirect_to = \"b\"",
            "entrypoints \"b\" {\n  address = \":82\"\n  protocol = \"udp\"\n}\n",
            &["19:17 E021 entrypoint `b` takes no requests"],
        ),
        (
            "redirect_to = \"web\"\n  protocol = \"udp\"",
            "",
            &["19:17 E021 `redirect_to` is for requests, and entrypoint `a` takes none"],
        ),
    ] {
        let text = format!("entrypoints \"a\" {{\n  address = \":81\"\n  {keys}\n}}\n{more}");
        let told = told(&with(&text));
        let errors: Vec<_> = told.iter().filter(|line| line.contains(" E")).collect();
        assert_eq!(errors, expected, "{text}");
    }
}
