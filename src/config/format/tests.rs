use super::{format, layout};
use crate::config::tests::loaded;
use crate::config::token::{Kind, tokens};
use proptest::prelude::*;
use std::path::Path;

fn formatted(text: &str) -> String {
    format(Path::new("x.hcl"), text).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"))
}

const EXAMPLES: [&str; 3] = [
    include_str!("../../../examples/gateway.hcl"),
    include_str!("../../../examples/websocket.hcl"),
    include_str!("../../../tests/data/full.hcl"),
];

/// All that the grammar has, with a comment wherever one may stand.
const EVERYTHING: &str = r#"# at the top
variables { # of the file
  port   = 80                        /* inline */
  name   = "a${ env("X", "}{\"") }b" // trailing
  sum    = -1 + (2 - -3) * 4 / 5 % 6
  not    = !true && !(false || 1 <= 2) != (3 >= 4)
  choice = var.port == 80 ? "a" : var.port < 80 ? "b" : "c"
  list   = [1, 2.5e-3, "x", [], {}, [true]]
  split  = var.list[*].name
  legacy = var.list.0.name
  index  = var.list[0]["a"].b-c
  loop   = [for k, v in { a = 1, "b": 2 } : "${k}=${v}" if v > -1]
  map    = { for i, v in [1, 2] : "k${i}" => v... }
  call   = concat(["a"], ["b"]...)
}

/* before
   a block */
routers "api" {
  rule = <<-EOT
    Host(`a`) &&   Path(`/b`) # no comment
      || Method("GET")
  EOT
  list = [
    # of the first
    "a",   # trailing
    "bcd", # another

    "e"
    /* at the end */
  ]
}

one "line" {}
two "lines" { a = 1 }
# at the end
"#;

#[test]
fn the_canonical_form_is_this() {
    let mut wrong = Vec::new();
    for (before, after) in [
        ("", ""),
        ("\n \n", ""),
        ("a=1", "a = 1\n"),
        ("\u{feff}a = 1\r\nb = 2\r\n", "a = 1\nb = 2\n"),
        (
            "a = 1\nlonger = 2 # x\nc = 33 # y\n",
            "a      = 1\nlonger = 2  # x\nc      = 33 # y\n",
        ),
        ("a = 1\n\n\nlonger = 2\n\n", "a = 1\n\nlonger = 2\n"),
        ("a = 1\n# c\nlonger = 2\n", "a = 1\n# c\nlonger = 2\n"),
        (
            "a = 1\nlonger = [\n1,2\n]\nbc = 3\nd = 4",
            "a = 1\nlonger = [\n  1, 2\n]\nbc = 3\nd  = 4\n",
        ),
        ("a {}\nb { }\n", "a {}\nb {}\n"),
        (
            "a{\n\nx=1\n\n}\n#c\nb{\n}",
            "a {\n  x = 1\n}\n\n#c\nb {\n}\n",
        ),
        (
            "x=1\n#c\nb{\n}\ny=1",
            "x = 1\n#c\nb {\n}\n\ny = 1\n"
                .replace("1\n#c", "1\n\n#c")
                .as_str(),
        ),
        ("a { x=1 }\nb { x=1 }\n", "a { x = 1 }\nb { x = 1 }\n"),
        (
            "a \"b\"   c {\n\tx {\n y=1\n }\n}",
            "a \"b\" c {\n  x {\n    y = 1\n  }\n}\n",
        ),
        ("a = [ 1,2 ,3 ]", "a = [1, 2, 3]\n"),
        (
            "a = {b=1,\"c\":2,(d) = 3}",
            "a = { b = 1, \"c\": 2, (d) = 3 }\n",
        ),
        (
            "a = [{\nb=1\n},{\nb=22\n}]",
            "a = [{\n  b = 1\n  }, {\n  b = 22\n}]\n"
                .replace("  }, {", "}, {")
                .as_str(),
        ),
        ("a = f( 1 , g(2)... )", "a = f(1, g(2)...)\n"),
        ("a = ! b\nc = - 1+-d", "a = !b\nc = -1 + -d\n"),
        ("a = b ?c:d", "a = b ? c : d\n"),
        ("a = var . b [ 0 ] [*] .c", "a = var.b[0][*].c\n"),
        (
            "a = [for x in[-1] :x if(x>0)]",
            "a = [for x in [-1] : x if (x > 0)]\n",
        ),
        (
            "a = {for k,v in b:k=>v}",
            "a = { for k, v in b : k => v }\n",
        ),
        ("a = \"  ${ x  }  # \"", "a = \"  ${ x  }  # \"\n"),
        (
            "a = <<EOT\n  x  \n\n\n EOT\nbb=1\nc=1",
            "a = <<EOT\n  x  \n\n\n EOT\nbb = 1\nc  = 1\n",
        ),
        ("a = 1#x\n", "a = 1 #x\n"),
        (
            "a = [ # one\n\n1, /* two */ 2\n]",
            "a = [ # one\n  1, /* two */ 2\n]\n",
        ),
        ("a = (\n1\n+ 2\n- 3)", "a = (\n  1\n  + 2\n  - 3)\n"),
        ("ü = \"é\"\nlang = 1", "ü    = \"é\"\nlang = 1\n"),
    ] {
        match format(Path::new("x.hcl"), before) {
            Ok(text) if text == after => {}
            other => wrong.push(format!(
                "{before:?}\n  gave     {other:?}\n  expected {after:?}"
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(formatted(EVERYTHING), EVERYTHING);
}

#[test]
fn a_configuration_means_the_same_before_and_after() {
    for text in EXAMPLES {
        let ragged = text
            .replace("  ", "\t ")
            .replace(" = ", "=")
            .replace('\n', "\r\n");
        let after = formatted(&ragged);
        assert_eq!(loaded(&after).config, loaded(text).config);
        let codes = |text: &str| -> Vec<_> {
            let loaded = loaded(text);
            loaded
                .diagnostics
                .iter()
                .map(|each| each.message.clone())
                .collect()
        };
        assert_eq!(codes(&after), codes(text));
    }
}

#[test]
fn what_does_not_parse_is_told_with_its_place() {
    let problems = format(Path::new("x.hcl"), "a = 1\nb = = 2\n").unwrap_err();
    let told = problems.to_string();
    assert!(told.starts_with("x.hcl:2:5: error[E001]"), "{told}");
}

#[test]
fn what_is_deep_or_endless_is_refused_or_formatted() {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let hostile = [
        format!("x = {}", nested("[", "1", "]", 10_000)),
        format!("x = {}", nested("\"${", "1", "}\"", 10_000)),
        format!("x = {}1", "-".repeat(10_000)),
        nested("a {\n", "", "}\n", 10_000),
        "x = \"abc".to_owned(),
        "x = \"${".to_owned(),
        "x = <<EOT\nabc".to_owned(),
        "/* abc".to_owned(),
        "x = \"\\".to_owned(),
        "}}}]])".to_owned(),
    ];
    for text in hostile {
        assert!(format(Path::new("x.hcl"), &text).is_err(), "{}", &text[..6]);
        layout(&text);
    }
    let huge = [
        format!("x = {}", nested("[", "1", "]", 60)),
        "a \"b\" {\nx=1\n}\n".repeat(1_000),
        (0..1_000).map(|i| format!("a{i}=1#x\n")).collect(),
        format!("x = [{}]", "1,".repeat(20_000)),
        format!("x = \"{}\"", "é".repeat(1 << 16)),
        "# c\n\n\n".repeat(10_000),
    ];
    for text in huge {
        let once = formatted(&text);
        assert_eq!(formatted(&once), once);
    }
}

/// What may stand between two pieces of a line, and at its end.
fn gaps() -> impl Strategy<Value = Vec<(usize, usize)>> {
    proptest::collection::vec((0..5usize, 0..6usize), 400)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn any_white_space_and_comments_come_to_one_form(gaps in gaps(), which in 0..4usize, comments: bool) {
        let source = [EXAMPLES[0], EXAMPLES[1], EXAMPLES[2], EVERYTHING][which];
        let mut gaps = gaps.iter().cycle();
        let mut ragged = String::new();
        for token in tokens(source) {
            let (inner, end) = *gaps.next().unwrap();
            if token.kind == Kind::Newline {
                ragged += match end {
                    0 if comments => " # c\n",
                    1 if comments => "//d\n",
                    2 if comments => "/* e\n e */\n",
                    3 => "\r\n",
                    4 => " \t\n",
                    _ => "\n",
                };
                continue;
            }
            ragged += [" ", "\t", "  ", " ", if comments { " /* f */ " } else { " " }][inner];
            ragged += token.text;
        }
        // Not everywhere that a piece ends may a comment stand: such a text is refused, and that is all.
        if let Ok(once) = format(Path::new("x.hcl"), &ragged) {
            prop_assert_eq!(formatted(&once), once.clone());
            let told = |text: &str| -> Vec<String> {
                let tokens = tokens(text);
                tokens.filter(|token| token.kind != Kind::Newline).map(|token| token.text.to_owned()).collect()
            };
            prop_assert_eq!(told(&once), told(&ragged));
            if !comments {
                prop_assert_eq!(once, formatted(source));
            }
        } else {
            prop_assert!(comments, "{}", ragged);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z ={}\\[\\]()\"$%<>\\-\\n\\\\#/*,.:?!0-9é]{0,80}") {
        layout(&text);
        if let Ok(once) = format(Path::new("x.hcl"), &text) {
            prop_assert_eq!(formatted(&once), once);
        }
    }
}
