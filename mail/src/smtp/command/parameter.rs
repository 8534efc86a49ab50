//! Parameters of MAIL and RCPT, RFC 5321 §4.1.1.11, as they came.

use super::CommandError;

/// Parameters that one command may carry; all registered ones together are fewer.
pub const PARAMETERS_MAX: usize = 32;

/// `KEYWORD` or `KEYWORD=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// In capitals.
    pub keyword: String,
    /// As it came; never empty.
    pub value: Option<String>,
}

/// ```text
/// esmtp-param   = esmtp-keyword ["=" esmtp-value]
/// esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
/// esmtp-value   = 1*(%d33-60 / %d62-126 / UTF8-non-ascii)     ; RFC 6531 §3.3
/// ```
/// Takes what follows the path. Outlook puts more than one space between parameters.
pub(super) fn parameters(text: &str) -> Result<Vec<Parameter>, CommandError> {
    if !text.is_empty() && !text.starts_with(' ') {
        return Err(CommandError::Parameter);
    }
    let mut parameters = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if parameters.len() == PARAMETERS_MAX {
            return Err(CommandError::Parameter);
        }
        parameters.push(parameter(word)?);
    }
    Ok(parameters)
}

fn parameter(word: &str) -> Result<Parameter, CommandError> {
    let (keyword, value) = match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    };
    let well_formed = keyword.starts_with(|first: char| first.is_ascii_alphanumeric())
        && keyword
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && value.is_none_or(|value| !value.is_empty() && !value.contains('='));
    if !well_formed {
        return Err(CommandError::Parameter);
    }
    Ok(Parameter {
        keyword: keyword.to_ascii_uppercase(),
        value: value.map(str::to_owned),
    })
}
