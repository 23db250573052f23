//! Manifests made to hurt: whatever the text, reading and checking it ends, and never by a panic.

use proptest::{collection::vec, prelude::*, sample::select};
use tagfleet_gateway::config::objects;

/// What YAML and our kinds are made of, to be put together at random.
const PARTS: &[&str] = &[
    "apiVersion: tagfleet.dev/v1alpha1\n",
    "kind: Destination\n",
    "kind: Secret\n",
    "metadata: {name: x}\n",
    "spec:\n",
    "a: ",
    "- ",
    "? ",
    ": ",
    "\n",
    "  ",
    "\t",
    "---\n",
    "...\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "!!str ",
    "!t ",
    "| ",
    "> ",
    "|2-\n",
    "'",
    "\"",
    "\\x",
    "\\u12",
    "#",
    "%YAML 1.2\n",
    "%TAG ! x\n",
    "<<: ",
    "~",
    "\u{feff}",
    "é",
    "\u{0}",
    "\r",
    "0x",
    "1e9",
    ".inf",
    "@",
    "`",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn any_parts_are_read_to_an_end(parts in vec(select(PARTS), 0..60)) {
        let read = objects::read(&"x.yaml".into(), parts.concat().as_bytes());
        prop_assert!(read.whole || !read.findings.is_empty(), "what is not read to its end is told");
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in vec(any::<u8>(), 0..200)) {
        let read = objects::read(&"x.yaml".into(), &bytes);
        prop_assert!(read.whole || !read.findings.is_empty(), "what is not read to its end is told");
    }
}
