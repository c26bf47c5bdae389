use std::collections::BTreeMap;

use super::*;

const FIXED: [(&str, &str); 2] = [("HOME", "/home"), ("GITHUB_ACTOR", "octocat")];

/// Reads `lines`, environment variables and files (path and text).
fn read(lines: &str, variables: &[(&str, &str)], files: &[(&str, &str)]) -> (Credentials, Vec<Problem>) {
    let files: BTreeMap<PathBuf, String> =
        files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    let environment = FIXED.iter().chain(variables).copied().collect();
    let mut problems = Vec::new();
    let token = Secret::new("ghs_token");
    (Credentials::read(lines, token.as_ref(), &environment, &files, &mut problems), problems)
}

fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

/// `user:password` for each repository, or nothing; then the warnings.
async fn found(credentials: &Credentials, repositories: &[&str]) -> (Vec<String>, Vec<String>) {
    let repositories: Vec<Repository> = repositories.iter().map(|text| repository(text)).collect();
    let settled = credentials.settle(&repositories).await;
    let said = |credential: &Credential| format!("{}:{}", credential.username, credential.password.expose());
    let found = repositories
        .iter()
        .map(|repository| Credential::find(&settled.credentials, repository).map(said).unwrap_or_default());
    (found.collect(), settled.warnings)
}

#[test]
fn a_registry_has_one_name_however_it_is_written() {
    for (written, name) in [
        ("docker.io", Some("docker.io")),
        ("https://index.docker.io/v1/", Some("docker.io")),
        ("index.docker.io", Some("docker.io")),
        ("registry-1.docker.io", Some("docker.io")),
        ("docker.io/acme", Some("docker.io/acme")),
        ("https://GHCR.io", Some("ghcr.io")),
        ("GHCR.io", Some("ghcr.io")),
        ("ghcr.io/", Some("ghcr.io")),
        ("ghcr.io:443", Some("ghcr.io")),
        ("https://host/v2/", Some("host")),
        ("host:5000/v2", Some("host:5000")),
        ("http://host:5000/some/api", Some("host:5000")),
        ("quay.io/acme/tool", Some("quay.io/acme/tool")),
        ("localhost:5000", Some("localhost:5000")),
        ("[::1]:5000", Some("[::1]:5000")),
        ("[0:0:0::1]:5000", Some("[::1]:5000")),
        ("[FE80::1]", Some("[fe80::1]")),
        ("::1", None),
        ("", None),
        ("https://", None),
        ("\"type\":", None),
        ("#", None),
        ("user@host", None),
        ("host:port", None),
        ("host/a b", None),
    ] {
        assert_eq!(registry_name(written).as_deref(), name, "{written:?}");
    }
}

#[test]
fn the_most_specific_credential_counts() {
    let credential = |registry: &str| Credential {
        registry: registry.to_owned(),
        username: registry.to_owned(),
        password: Secret::new("p").unwrap(),
    };
    let all = ["quay.io/acme", "quay.io", "https://quay.io/v2/", "quay.io/acme/tool", "[::1]:5000", "docker.io"]
        .map(credential);
    for (name, expected) in [
        ("quay.io/acme/tool", Some("quay.io/acme/tool")),
        ("quay.io/acme/tool/sub", Some("quay.io/acme/tool")),
        ("quay.io/acme/tools", Some("quay.io/acme")),
        ("quay.io/acmes/tool", Some("quay.io")),
        ("[::1]:5000/acme/tool", Some("[::1]:5000")),
        ("alpine", Some("docker.io")),
        ("ghcr.io/acme/tool", None),
        ("quay.io:444/acme/tool", None),
    ] {
        let found = Credential::find(&all, &repository(name)).map(|credential| credential.username.as_str());
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test]
async fn lines_come_before_the_token_and_that_before_dockers_file_and_podmans() {
    let docker = r#"{"auths": {"ghcr.io": {"auth": "ZDpkb2NrZXI="}, "https://index.docker.io/v1/": {"auth": "ZDpkb2NrZXI="},
        "quay.io": {"auth": "ZDpkb2NrZXI="}, "lan": {}}}"#;
    let podman = r#"{"auths": {"docker.io": {"auth": "cDpwb2RtYW4="}, "quay.io/acme": {"auth": "cDpwb2RtYW4="},
        "other.io/acme": {"auth": "cDpwb2RtYW4="}}}"#;
    let files = [("/home/.docker/config.json", docker), ("/run/me/containers/auth.json", podman)];
    let (credentials, problems) = read("docker.io user pass\n", &[("XDG_RUNTIME_DIR", "/run/me")], &files);
    assert_eq!(problems, []);
    let names = ["alpine", "ghcr.io/a/b", "quay.io/acme/b", "other.io/acme/b", "other.io/b/c", "lan.io/a"];
    let (found, warnings) = found(&credentials, &names).await;
    assert_eq!(found, ["user:pass", "octocat:ghs_token", "d:docker", "p:podman", "", ""]);
    assert_eq!(warnings, Vec::<String>::new());
}

#[tokio::test]
async fn credentials_of_registries_that_are_not_used_are_left_alone() {
    let config =
        r#"{"auths": {"lan:5000": {"auth": "YTpi"}, "quay.io/acme": {"auth": "YTpi"}, "quay.io": {"auth": "YTpi"}}}"#;
    let (credentials, _) = read("gcr.io u p", &[], &[("/home/.docker/config.json", config)]);
    let settled = credentials.settle(&[repository("quay.io/other/tool")]).await;
    let registries: Vec<&str> = settled.credentials.iter().map(|credential| credential.registry.as_str()).collect();
    assert_eq!(registries, ["quay.io", "quay.io/acme"]);
}

#[tokio::test]
async fn the_token_of_another_server_is_not_for_ghcr() {
    for (server, expected) in [
        ("https://github.com", ["octocat:ghs_token", "", ""]),
        ("https://ghe.corp.example", ["", "octocat:ghs_token", ""]),
        ("https://acme.ghe.com", ["", "", "octocat:ghs_token"]),
    ] {
        let (credentials, _) = read("", &[("GITHUB_SERVER_URL", server)], &[]);
        let names = ["ghcr.io/a/b", "containers.ghe.corp.example/a/b", "containers.acme.ghe.com/a/b"];
        assert_eq!(found(&credentials, &names).await.0, expected, "{server}");
    }
}

#[test]
fn a_line_that_cannot_be_used_is_named_and_never_shown() {
    let lines = "docker.io user hunter2 extra\ndocker.io hunter2\nq u p\nq u p\n\"hunter2\" hunter2 hunter2\ngcr.io _json_key {\n}";
    let (credentials, problems) = read(lines, &[], &[]);
    let said: Vec<String> = problems.iter().map(|problem| format!("{problem:?}")).collect();
    let places = ["line 1 has more than", "lines 3 and 4", "line 5 doesn't begin", "line 6 has a JSON key"];
    assert_eq!(said.len(), places.len(), "{said:?}");
    assert!(said.iter().zip(places).all(|(said, place)| said.contains(place)), "{said:?}");
    assert!(!format!("{problems:?}{credentials:?}").contains("hunter2"));
}

#[test]
fn a_line_without_a_password_matters_if_its_registry_is_used() {
    let (credentials, problems) = read("docker.io  \nquay.io user\nlan\nghcr.io/acme u", &[], &[]);
    assert_eq!(problems, []);
    let missing = |names: &[&str]| {
        let repositories: Vec<Repository> = names.iter().map(|name| repository(name)).collect();
        credentials.missing(&repositories).len()
    };
    assert_eq!(missing(&["ghcr.io/other/tool", "gcr.io/a/b"]), 0);
    assert_eq!(missing(&["ghcr.io/acme/tool", "alpine", "docker.io/a/b"]), 2);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_a_warning() {
    let broken = [("/home/.docker/config.json", "{\"auths\": {\"quay.io\": {\"auth\": 7}}}")];
    let bad_entry = [("/home/.docker/config.json", r#"{"auths": {"quay.io": {"auth": "!"}}, "credsStore": "../sh"}"#)];
    for (variables, files, warning) in [
        (
            &[][..],
            &broken[..],
            "credentials in `/home/.docker/config.json` can't be read: it is not the JSON that Docker",
        ),
        (&[], &bad_entry, "the credential for `quay.io` in `/home/.docker/config.json` can't be read"),
        (
            &[("DOCKER_CONFIG", "/gone")],
            &[],
            "credentials in `/gone/config.json` can't be read: entity not found; `DOCKER_CONFIG`",
        ),
        (
            &[("REGISTRY_AUTH_FILE", "/auth.json")],
            &[],
            "credentials in `/auth.json` can't be read: entity not found; `REGISTRY_AUTH_FILE`",
        ),
        (&[], &[], ""),
    ] {
        let (credentials, problems) = read("", variables, files);
        assert_eq!(problems, []);
        let (found, warnings) = found(&credentials, &["quay.io/a/b"]).await;
        assert_eq!(found, [""]);
        let first = warnings.first().map(String::as_str).unwrap_or_default();
        assert!(first.starts_with(warning) && first.is_empty() == warning.is_empty(), "{warnings:?}");
        let names_helper =
            warnings.get(1).is_some_and(|warning| warning == "`../sh` is not the name of a credential helper");
        assert_eq!(names_helper, files == bad_entry, "{warnings:?}");
    }
}

#[tokio::test]
async fn a_missing_helper_is_one_warning() {
    let config = r#"{"credsStore": "of-nobody-at-all", "auths": {"quay.io": {"auth": "YTpi"}}}"#;
    let (credentials, _) = read("", &[], &[("/home/.docker/config.json", config)]);
    let (found, warnings) = found(&credentials, &["quay.io/a/b", "alpine", "ghcr.io/a/b"]).await;
    assert_eq!(found, ["a:b", "", "octocat:ghs_token"], "credentials in the file itself are used nevertheless");
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("`docker-credential-of-nobody-at-all` is not on `PATH`"), "{warning}");
}
