//! The axes of `for`: their combinations, and the placeholders that are replaced by their values.

/// One combination of values, one for each axis, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Combination(pub(super) Vec<(String, String)>);

/// A matrix with more variants is a mistake.
pub(super) const MOST_VARIANTS: usize = 10_000;

impl Combination {
    fn get(&self, axis: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == axis).map(|(_, value)| value.as_str())
    }

    /// Whether the combination has all values of `excluded`.
    pub(super) fn matches(&self, excluded: &[(String, String)]) -> bool {
        !excluded.is_empty() && excluded.iter().all(|(axis, value)| self.get(axis) == Some(value))
    }

    /// `text` with its placeholders replaced.
    ///
    /// # Errors
    /// The first placeholder that isn't the name of an axis.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        self.replace(text, |name| Err(name.to_owned()))
    }

    /// `text` with the placeholders of axes replaced and everything else unchanged: in commands, shells use braces as
    /// well.
    pub(super) fn fill_known(&self, text: &str) -> String {
        self.replace(text, |name| Ok(format!("{{{name}}}"))).unwrap_or_else(|_| text.to_owned())
    }

    fn replace(&self, text: &str, unknown: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
        let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let closed = after.split_once('}').filter(|(name, _)| !name.contains('{'));
            let Some((name, after_name)) = closed else {
                filled.push_str(&unknown_brace(after, &unknown)?);
                rest = after;
                continue;
            };
            match self.get(name) {
                Some(value) if !before.ends_with('$') => filled.push_str(value),
                _ => filled.push_str(&unknown(name)?),
            }
            rest = after_name;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Handles a brace without a counterpart: it is an error if unknown placeholders are errors, else it stands for itself.
fn unknown_brace(after: &str, unknown: &impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    unknown(after).map(|_| "{".to_owned())
}

/// All combinations; the last axis changes fastest. `None` if there are too many.
pub(super) fn combinations(axes: &[(String, Vec<String>)]) -> Option<Vec<Combination>> {
    let count = axes.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(values.len()))?;
    if count > MOST_VARIANTS {
        return None;
    }
    let mut combinations = vec![Combination::default()];
    for (name, values) in axes {
        combinations = combinations
            .iter()
            .flat_map(|combination| {
                values.iter().map(move |value| {
                    let mut longer = combination.clone();
                    longer.0.push((name.clone(), value.clone()));
                    longer
                })
            })
            .collect();
    }
    Some(combinations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(axes: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        axes.iter()
            .map(|(name, values)| ((*name).to_owned(), values.iter().map(|v| (*v).to_owned()).collect()))
            .collect()
    }

    #[test]
    fn axes_multiply_and_the_last_changes_fastest() {
        let all = combinations(&axes(&[("python", &["3.14", "3.13"]), ("os", &["alpine", "trixie"])])).unwrap();
        let filled: Vec<_> = all.iter().map(|combination| combination.fill("{python}-{os}").unwrap()).collect();
        assert_eq!(filled, ["3.14-alpine", "3.14-trixie", "3.13-alpine", "3.13-trixie"]);
        assert!(combinations(&axes(&[("a", &["x"; 200]), ("b", &["x"; 200])])).is_none());
    }

    #[test]
    fn placeholders_of_no_axis_are_errors_or_stay() {
        let combination = Combination(vec![("python".to_owned(), "3.14".to_owned())]);
        assert_eq!(combination.fill("{pyton}"), Err("pyton".to_owned()));
        assert_eq!(combination.fill("{python"), Err("python".to_owned()));
        assert_eq!(combination.fill_known("${python} {a,b} {python} { {python}"), "${python} {a,b} 3.14 { 3.14");
    }
}
