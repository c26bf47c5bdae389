//! [Files of the repository](https://docs.github.com/en/rest/repos/contents#get-repository-content) at a commit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Error, GitHub};

impl GitHub {
    /// The text of the file at `path` in `commit`. `None` if there is no such file, or if it isn't text of at most 1 MB,
    /// the most that GitHub returns in one answer.
    ///
    /// # Errors
    /// No answer until the deadline, or a refusal.
    pub async fn file(&self, path: &str, commit: &str) -> Result<Option<String>, Error> {
        let steps: Vec<&str> = std::iter::once("contents").chain(path.split('/')).collect();
        let mut url = self.url(&steps);
        url.query_pairs_mut().append_pair("ref", commit);
        // For a folder, GitHub returns a list.
        let answer: Value = match self.get(url).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            answer => answer?,
        };
        Ok(text(&answer))
    }
}

fn text(answer: &Value) -> Option<String> {
    if answer["type"] != "file" || answer["encoding"] != "base64" {
        return None;
    }
    let lines: String = answer["content"].as_str()?.split_whitespace().collect();
    String::from_utf8(STANDARD.decode(lines).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_text_file_has_a_text() {
        let file = |encoding: &str, content: &str| json!({ "type": "file", "encoding": encoding, "content": content });
        assert_eq!(text(&file("base64", "YWxw\naW5l\n")).as_deref(), Some("alpine"));
        assert_eq!(text(&file("base64", "")).as_deref(), Some(""));
        for none in [
            file("none", ""),
            file("base64", "/w=="),
            file("base64", "?"),
            json!({ "type": "submodule" }),
            json!([file("base64", "")]),
            json!(null),
        ] {
            assert_eq!(text(&none), None, "{none}");
        }
    }
}
