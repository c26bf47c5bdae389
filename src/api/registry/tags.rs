//! The [list of tags](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags) of a repository,
//! page by page: all of it, or an error.

use std::collections::{HashMap, HashSet};

use reqwest::Method;
use serde_json::Value;

use super::Registries;
use super::auth::Access;
use super::call::Call;
use super::error::{Cause, RegistryError};
use super::trouble::Trouble;
use crate::image::{Repository, Tag};
use crate::quote::quoted;

/// The largest page, in bytes.
const PAGE: u64 = 16 * 1024 * 1024;
/// The maximum number of pages.
const PAGES: usize = 1000;
/// The first page. Registries may send fewer tags per page.
const FIRST: &str = "tags/list?n=1000";

/// A parsed page.
struct Page {
    /// `None` if the key is missing. Some registries write null if there are no tags.
    tags: Option<Vec<String>>,
    has_errors: bool,
}

impl Page {
    fn parse(body: &[u8]) -> serde_json::Result<Self> {
        // Deserialising a struct would accept an array as well.
        let mut page: HashMap<String, Value> = serde_json::from_slice(body)?;
        let tags = page.remove("tags").map(serde_json::from_value::<Option<Vec<String>>>).transpose()?;
        Ok(Self { tags: tags.map(Option::unwrap_or_default), has_errors: page.contains_key("errors") })
    }
}

impl Registries {
    /// All tags of a repository, in the registry's order; none if there is no such repository. A link to another origin
    /// is followed at the registry's own: behind a proxy, a registry may know itself only by another name.
    ///
    /// # Errors
    /// The registry fails, or returns only a part of the list: [`RegistryError::TagsIncomplete`].
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, RegistryError> {
        let (mut tags, mut asked, mut next) = (Vec::new(), HashSet::new(), Some(FIRST.to_owned()));
        while let Some(rest) = next {
            if asked.len() == PAGES {
                return Err(incomplete(repository, format!("it has more than {PAGES} pages")));
            }
            let (page, following) = self.tags_page(repository, &rest).await?;
            // A text that isn't a valid tag couldn't be requested anyway.
            tags.extend(page.iter().filter_map(|tag| tag.parse::<Tag>().ok()));
            asked.insert(rest);
            if following.as_ref().is_some_and(|following| asked.contains(following)) {
                return Err(incomplete(repository, "a page links to an earlier one as the next".to_owned()));
            }
            next = following;
        }
        Ok(tags)
    }

    /// The tags of the page at `rest`, and the address of the next page.
    async fn tags_page(
        &self,
        repository: &Repository,
        rest: &str,
    ) -> Result<(Vec<String>, Option<String>), RegistryError> {
        let mut retry = self.retry();
        loop {
            match self.tags_page_once(repository, rest).await {
                Ok(page) => return Ok(page),
                Err(trouble) => retry.pause(trouble).await?,
            }
        }
    }

    async fn tags_page_once(
        &self,
        repository: &Repository,
        rest: &str,
    ) -> Result<(Vec<String>, Option<String>), Trouble> {
        let answer = self.send(&Call::new(repository, Access::Pull, Method::GET, rest, &[200, 404])).await?;
        let request = answer.request.clone();
        let trouble = |why: &str| Trouble::other(request.clone(), incomplete(repository, why.to_owned()));
        let is_first = rest == FIRST;
        if answer.status() == 404 {
            return if is_first { Ok((Vec::new(), None)) } else { Err(trouble("a page of it is missing")) };
        }
        let links: Vec<String> = answer.headers("link").collect();
        let next = match links.iter().find_map(|header| next_page(header)) {
            Some(link) => Some(self.beside(repository, rest, link).map_err(|why| trouble(&why))?),
            None => None,
        };
        let body = answer.bytes("a list of tags", PAGE).await?;
        let page = Page::parse(&body)
            .map_err(|error| Trouble::new(request.clone(), Cause::Malformed(quoted(&error.to_string()))))?;
        match page.tags {
            Some(tags) => Ok((tags, next)),
            None if is_first && next.is_none() && !page.has_errors => Ok((Vec::new(), None)),
            None => Err(trouble("a page of it has no `tags`")),
        }
    }

    /// The target of a link on the page at `rest`, at our own origin.
    fn beside(&self, repository: &Repository, rest: &str, link: Link<'_>) -> Result<String, String> {
        let here = self.url(repository, rest);
        let to = match link {
            Link::To("") => return Err("the link to its next page is empty".to_owned()),
            Link::To(target) => here.join(target).ok(),
            Link::Unreadable => None,
        };
        let to = to.ok_or("the link to its next page can't be read")?;
        if to.path() != here.path() {
            return Err(format!("the link to its next page leads to `{}`, which is something else", quoted(to.path())));
        }
        Ok(to.query().map_or_else(|| "tags/list".to_owned(), |query| format!("tags/list?{query}")))
    }
}

fn incomplete(repository: &Repository, why: String) -> RegistryError {
    RegistryError::TagsIncomplete { repository: repository.to_string(), why }
}

/// The link to a next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link<'a> {
    /// Its target, absolute or relative.
    To(&'a str),
    /// There is a link, but not in `<…>`.
    Unreadable,
}

/// The first link with `rel="next"` of a [`Link`](https://www.rfc-editor.org/rfc/rfc8288#section-3) header.
fn next_page(header: &str) -> Option<Link<'_>> {
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return None;
        }
        // The target may contain commas.
        let (link, after) = match rest.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            Some((target, after)) => (Link::To(target.trim()), after),
            None => (Link::Unreadable, rest),
        };
        let (mut parameters, after) = split_unquoted(after, ',');
        while !parameters.is_empty() {
            let (parameter, others) = split_unquoted(parameters, ';');
            if is_next(parameter) {
                return Some(link);
            }
            parameters = others;
        }
        rest = after;
    }
}

/// The address of the next page in a header.
#[must_use]
pub fn next_target(header: &str) -> Option<&str> {
    match next_page(header)? {
        Link::To(target) => Some(target),
        Link::Unreadable => None,
    }
}

/// Whether a parameter is `rel=next`; it may contain other relations: `rel="next last"`.
fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
}

/// The text before the first `separator` outside of quotes, and the text after it.
fn split_unquoted(text: &str, separator: char) -> (&str, &str) {
    let mut quoted = false;
    let at = text.find(|c| {
        quoted ^= c == '"';
        c == separator && !quoted
    });
    at.map_or((text, ""), |at| (&text[..at], &text[at + separator.len_utf8()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_a_link() {
        for (header, next) in [
            (r#"</v2/a/tags/list?n=2&last=b>; rel="next""#, Some(Link::To("/v2/a/tags/list?n=2&last=b"))),
            ("<https://r.io/x>;rel=next", Some(Link::To("https://r.io/x"))),
            (r#"</first>; rel="first", </second>; title="x"; rel="next""#, Some(Link::To("/second"))),
            ("</first>, </second>; REL=Next", Some(Link::To("/second"))),
            (r#"</x?last=a,b>; rel="last next""#, Some(Link::To("/x?last=a,b"))),
            (r#"</x>; title="a, b; rel=next"; rel=prev"#, None),
            (r#"</x>; rel="prev""#, None),
            (r#"</x>; rel="next-archive""#, None),
            ("<>; rel=next", Some(Link::To(""))),
            ("/x; rel=next", Some(Link::Unreadable)),
            ("</x,y; rel=next", Some(Link::Unreadable)),
            ("rel=next", Some(Link::Unreadable)),
            (", ,", None),
            ("", None),
        ] {
            assert_eq!(next_page(header), next, "{header}");
        }
    }

    #[test]
    fn a_page_without_tags_differs_from_one_with_an_empty_list() {
        let tags = |body: &str| Page::parse(body.as_bytes()).unwrap().tags;
        assert_eq!(tags(r#"{"name":"a"}"#), None);
        assert_eq!(tags(r#"{"tags":null}"#), Some(vec![]));
        assert_eq!(tags(r#"{"tags":["1"]}"#), Some(vec!["1".to_owned()]));
        for body in ["", "[]", "null", r#"{"tags":{}}"#, r#"{"tags":[1]}"#] {
            assert!(Page::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
