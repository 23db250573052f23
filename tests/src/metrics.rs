//! Reading Prometheus' text format.

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<(String, String, f64)>,
}

impl Metrics {
    /// Reads a scrape.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                Some((
                    name.to_owned(),
                    labels.trim_end_matches('}').to_owned(),
                    value.parse().ok()?,
                ))
            })
            .collect();
        Self { samples }
    }

    /// The sum of a metric's series that carry all these labels; `None` when there is no such series.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let mut found = self
            .samples
            .iter()
            .filter(|(n, l, _)| n == name && wanted.iter().all(|want| l.split(',').any(|label| label == want)))
            .map(|(_, _, value)| *value)
            .peekable();
        found.peek()?;
        Some(found.sum())
    }

    /// As [`Metrics::sum`], 0 when there is no such series.
    #[must_use]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels).unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_labels() {
        let text = "# HELP a b\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nb 5\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a", &[("x", "1")]), Some(7.0));
        assert_eq!(metrics.sum("a", &[("y", "3")]), Some(4.0));
        assert_eq!(metrics.sum("b", &[]), Some(5.0));
        assert_eq!(metrics.sum("a", &[("x", "9")]), None);
    }
}
