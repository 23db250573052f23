//! A part of a page that a program writes, beside parts that others write: docs/benchmarks.md has one of `make bench` and
//! one of `make bench-operator`, and neither loses the other's.

/// Where the operator's part begins.
const BEGIN: &str = "<!-- Written by `make bench-operator`; do not edit. -->\n";
/// Where it ends.
const END: &str = "<!-- The end of what `make bench-operator` writes. -->\n";

/// The page with this as the operator's part, at the place of the one before, else at its end.
#[must_use]
pub fn put_operator(page: &str, part: &str) -> String {
    let (before, after) = parted(page).map_or((page, ""), |(before, _, after)| (before, after));
    let gap = if before.is_empty() || before.ends_with("\n\n") {
        ""
    } else {
        "\n"
    };
    format!("{before}{gap}{BEGIN}{part}{END}{after}")
}

/// A new page, with the operator's part of the one before.
#[must_use]
pub fn keep_operator(new: &str, before: &str) -> String {
    match parted(before) {
        Some((_, part, _)) => put_operator(new, part),
        None => new.to_owned(),
    }
}

fn parted(page: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (part, after) = rest.split_once(END)?;
    Some((before, part, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_outlives_the_writing_of_the_other() {
        let page = put_operator("# Benchmarks\n\ngateway 1\n", "## Operator\n\noperator 1\n");
        assert!(page.starts_with("# Benchmarks\n\ngateway 1\n\n<!--"), "{page}");

        let page = put_operator(&page, "## Operator\n\noperator 2\n");
        assert!(
            page.contains("gateway 1") && page.contains("operator 2") && !page.contains("operator 1"),
            "{page}"
        );

        let page = keep_operator("# Benchmarks\n\ngateway 2\n", &page);
        assert!(
            page.contains("gateway 2") && page.contains("operator 2") && !page.contains("gateway 1"),
            "{page}"
        );
        assert_eq!(page.matches(BEGIN).count(), 1);
    }
}
