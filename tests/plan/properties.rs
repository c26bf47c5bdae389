//! Properties that hold for any input.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use publish_variants::action::inputs::{MatrixText, VersionPattern};
use publish_variants::action::{Environment, Event, Options};
use publish_variants::image::{Platform, Reference, Tag};
use publish_variants::matrix;
use publish_variants::ownership::Grammar;
use publish_variants::plan::{Plan, Template, Text};
use publish_variants::version::{Scheme, Version};

use crate::given::given;

/// A text that is similar enough to YAML to be parsed by the reader.
fn yaml() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("variants"),
        Just("base"),
        Just("tags"),
        Just("for"),
        Just("exclude"),
        Just("newest-tags"),
        Just("defaults"),
        Just("env"),
        Just("verify"),
        Just("{python}"),
        Just("python"),
        Just("3.10"),
        Just("alpine:3.23"),
        Just("&a"),
        Just("*a"),
        Just("<<"),
        Just("null"),
        Just("'"),
        Just("\""),
        Just("é"),
        Just("|"),
    ];
    let glue = prop_oneof![
        Just(": "),
        Just(":\n  "),
        Just("\n- "),
        Just("\n  - "),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(", "),
        Just(" "),
        Just("\n"),
        Just("\t"),
        Just("#"),
    ];
    prop::collection::vec((word, glue), 0..40)
        .prop_map(|parts| parts.into_iter().map(|(word, glue)| format!("{word}{glue}")).collect())
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set("[a-z][a-z0-9.]{0,8}", 1..12)
        .prop_map(|names| names.into_iter().map(|name| format!("alpine:{name},{name}")).collect())
}

proptest! {
    #[test]
    fn the_matrix_reader_never_panics(text in prop_oneof![yaml(), any::<String>()]) {
        let mut problems = Vec::new();
        let rows = matrix::read(&MatrixText { name: Text::Input("matrix"), text }, None, &mut problems);
        prop_assert!(!rows.is_empty() || !problems.is_empty(), "no variants and no problem");
    }

    #[test]
    fn the_event_reader_never_panics(name in "[a-z_]{0,20}", payload in any::<String>(), key in "inputs|release|client_payload|ref|pull_request|repository") {
        for payload in [payload.clone(), format!("{{\"{key}\": {payload}}}"), format!("{{\"{key}\": {{\"version\": {payload:?}}}}}")] {
            let files = BTreeMap::from([(PathBuf::from("/e"), payload)]);
            for name in [name.as_str(), "release", "push", "workflow_dispatch", "pull_request"] {
                let environment: Environment = [("GITHUB_EVENT_NAME", name), ("GITHUB_EVENT_PATH", "/e")].into_iter().collect();
                let _ = Event::read(&environment, &files, &mut Vec::new());
            }
        }
    }

    #[test]
    fn the_readers_of_inputs_never_panic(name in "[a-z-]{1,20}", value in any::<String>()) {
        let mut environment = vec![(format!("INPUT_{}", name.to_uppercase()), value.clone())];
        for known in ["VERSION", "VERSION-PATTERN", "SOURCE", "SOURCE-TAGS", "BINARIES", "IMAGES", "CREDENTIALS", "MATRIX", "TAG-TEMPLATES",
            "PLATFORMS", "ENV", "LABELS", "DRY-RUN", "CONCURRENCY", "BUILDER"] {
            environment.push((format!("INPUT_{known}"), value.clone()));
        }
        let _ = Plan::read(&Options::default(), &environment.into_iter().collect(), &BTreeMap::<PathBuf, String>::new());
    }

    #[test]
    fn parsed_names_round_trip(text in prop_oneof![
        any::<String>(), "[a-z0-9./:@_-]{1,30}", "[{}a-z.-]{1,20}", "v?[0-9]{1,3}(\\.[0-9]{1,3}){0,3}((a|b|rc|\\.post|\\.dev|-beta\\.|\\+)[0-9]{1,2})?",
        "(\\{(version|tag|major|minor)\\}|[a-z.-]){1,5}", "linux/[a-z0-9]{1,6}(/v[0-9])?",
    ]) {
        macro_rules! round_trip {
            ($($kind:ty),*) => {$(
                if let Ok(value) = text.parse::<$kind>() {
                    prop_assert_eq!(value.to_string().parse::<$kind>().ok(), Some(value));
                }
            )*};
        }
        round_trip!(Version, Template, VersionPattern, Tag, Reference, Platform);
    }

    #[test]
    fn exact_tags_tell_the_version_that_they_were_made_from(
        version in "([0-9]!)?[0-9]{1,4}(\\.[0-9]{1,3}){1,3}((a|b|rc|\\.post|\\.dev)[0-9]{1,2})?",
        entry in "[a-z]{1,6}[0-9.]{0,4}",
    ) {
        let version: Version = version.parse().unwrap();
        let template: Template = "{version}-{tag}".parse().unwrap();
        let tag = template.render(&version, &entry).unwrap();
        let tag: Tag = tag.parse().unwrap();
        let grammar = Grammar::new(&[template], &[], [entry.clone()], [], Scheme::Auto);
        let nominees = grammar.nominees(&version, [&tag]);
        prop_assert!(nominees.of(&entry).iter().any(|nominee| nominee.version.to_string() == version.to_string()));
        prop_assert!(grammar.versions(&tag).iter().any(|read| read.to_string() == version.to_string()));
    }

    #[test]
    fn versions_have_a_total_order(texts in prop::collection::vec(
        "[0-3](\\.[0-3]){0,2}((a|rc|\\.post|\\.dev)[0-2]|-alpha\\.x|-[0-1]|\\+[a-b])?", 3..4,
    )) {
        let versions: Vec<Version> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        if let [a, b, c] = &versions[..] {
            prop_assert_eq!(a.cmp(b), b.cmp(a).reverse());
            prop_assert!(!(a <= b && b <= c) || a <= c, "{} {} {}", a, b, c);
        }
    }

    #[test]
    fn the_order_of_the_matrix_changes_nothing_but_the_order(lines in lines(), seed in any::<u64>()) {
        let mut shuffled = lines.clone();
        let mut state = seed;
        for at in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(at, (state >> 33) as usize % (at + 1));
        }
        let variants = |lines: &[String]| {
            let plan = given().input("version", "1.2.3").input("matrix", &lines.join("\n")).plan();
            let mut variants: Vec<String> = plan
                .variants
                .iter()
                .map(|variant| format!("{:?} {} {:?} {:?}", variant.made, variant.version_label, variant.tags.exact, variant.tags.rolling))
                .collect();
            variants.sort();
            variants
        };
        prop_assert_eq!(variants(&lines), variants(&shuffled));
    }
}
