//! Path templates of routes and how a request path finds its route.
//! It checks no permission and knows no HTTP beyond method and path.

use std::fmt;

/// Longest path below a plugin's prefix in bytes.
pub const PATH_BYTES_MAX: usize = 2_048;
/// Most segments of a path.
pub const SEGMENTS_MAX: usize = 32;

/// A template such as `/deals/{id}`: literal segments and whole-segment parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Param(String),
}

/// Why a template is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTemplate(&'static str);

impl Template {
    /// Parses a template. It begins with `/`, has no empty, `.` or `..` segment, and names each parameter once.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let rest = text.strip_prefix('/').ok_or(InvalidTemplate("a path begins with `/`"))?;
        if text.len() > PATH_BYTES_MAX {
            return Err(InvalidTemplate("a path is at most 2048 bytes long"));
        }
        let mut segments = Vec::new();
        if !rest.is_empty() {
            for part in rest.split('/') {
                segments.push(segment(part, &segments)?);
            }
        }
        if segments.len() > SEGMENTS_MAX {
            return Err(InvalidTemplate("a path has at most 32 segments"));
        }
        Ok(Self { text: text.to_owned(), segments })
    }

    /// The template as the manifest wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parameters of `path`, percent-decoded, in the template's order, or `None` if it does not match.
    /// `path` is below the plugin's prefix and begins with `/`.
    pub fn params(&self, path: &str) -> Option<Vec<(String, String)>> {
        let rest = path.strip_prefix('/')?;
        let mut parts = rest.split('/');
        let mut params = Vec::new();
        if self.segments.is_empty() {
            return rest.is_empty().then_some(params);
        }
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Literal(literal) if literal == part => {}
                Segment::Param(name) if !part.is_empty() => params.push((name.clone(), percent_decode(part)?)),
                Segment::Literal(_) | Segment::Param(_) => return None,
            }
        }
        parts.next().is_none().then_some(params)
    }

    /// Order of matching: literals before parameters, from the left; so `/deals/new` wins over `/deals/{id}`.
    pub fn specificity(&self) -> Vec<bool> {
        self.segments.iter().map(|segment| matches!(segment, Segment::Param(_))).collect()
    }

    /// Whether some path could match both templates with the same literals: such two routes of one method conflict.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Segment::Literal(left), Segment::Literal(right)) => left == right,
                (Segment::Param(_), Segment::Param(_)) => true,
                (Segment::Literal(_), Segment::Param(_)) | (Segment::Param(_), Segment::Literal(_)) => false,
            })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn segment(part: &str, before: &[Segment]) -> Result<Segment, InvalidTemplate> {
    if let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) {
            return Err(InvalidTemplate("a parameter is `{name}` of `a-z`, `0-9` and `_`"));
        }
        let param = Segment::Param(name.to_owned());
        if before.contains(&param) {
            return Err(InvalidTemplate("a parameter is named once"));
        }
        return Ok(param);
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    if part.is_empty() || part == "." || part == ".." || !part.bytes().all(legal) {
        return Err(InvalidTemplate("a segment is `{name}` or text of letters, digits and `-_.~`"));
    }
    Ok(Segment::Literal(part.to_owned()))
}

/// Decodes `%XX`; refuses malformed escapes, text that is not UTF-8, and NUL.
fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digits = tail.get(..2)?;
            bytes.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, path: &str, wanted: Option<&[(&str, &str)]>) {
        let found = Template::parse(template).unwrap().params(path);
        let wanted =
            wanted.map(|pairs| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>());
        assert_eq!(found, wanted, "{template} against {path}");
    }

    #[test]
    fn a_path_matches_segment_by_segment() {
        check("/", "/", Some(&[]));
        check("/", "/a", None);
        check("/deals", "/deals", Some(&[]));
        check("/deals", "/deals/", None);
        check("/deals/{id}", "/deals/7", Some(&[("id", "7")]));
        check("/deals/{id}", "/deals/", None);
        check("/deals/{id}/notes/{n}", "/deals/7/notes/a%20b", Some(&[("id", "7"), ("n", "a b")]));
        check("/deals/{id}", "/deals/a%2Fb", Some(&[("id", "a/b")]));
        check("/deals/{id}", "/deals/%zz", None);
        check("/deals/{id}", "/deals/%ff", None);
        check("/deals/{id}", "/deals/%00", None);
        check("/deals/{id}", "/deals/%", None);
        check("/deals/{id}", "/deals/7/x", None);
    }

    #[test]
    fn a_bad_template_is_refused() {
        for bad in [
            "",
            "deals",
            "//",
            "/a//b",
            "/a/",
            "/..",
            "/a/../b",
            "/{}",
            "/{A}",
            "/{id}/{id}",
            "/a{id}",
            "/a b",
            "/a?b",
            "/%2e",
        ] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert!(Template::parse(&"/a".repeat(33)).is_err());
    }

    #[test]
    fn a_literal_is_tried_before_a_parameter() {
        let literal = Template::parse("/deals/new").unwrap();
        let param = Template::parse("/deals/{id}").unwrap();

        assert!(literal.specificity() < param.specificity());
        assert!(!literal.conflicts_with(&param));
        assert!(param.conflicts_with(&Template::parse("/deals/{other}").unwrap()));
    }
}
