//! What commands print: aligned columns for people, JSON for programs.

use std::io::Write;

use anyhow::anyhow;
use tonic::Status;

/// Prints rows under a heading, columns aligned.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = std::io::stdout().lock();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| -> std::io::Result<()> {
        let mut text = String::new();
        for (width, cell) in widths.iter().zip(cells) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(&mut heading.iter().copied())?;
    for row in rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

/// Prints lines.
pub(crate) fn lines(lines: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Prints a JSON value on lines of its own.
pub(crate) fn json(value: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    // As an error of the output, which it is: values of ours can always be written.
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Prints a JSON value on one line, for programs that read a line at a time.
pub(crate) fn json_line(value: &serde_json::Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{value}")?;
    Ok(())
}

/// Says that something was done: a line for people, `{"done": …}` for programs.
pub(crate) fn done(as_json: bool, what: &str) -> anyhow::Result<()> {
    if as_json {
        return json(&serde_json::json!({ "done": what }));
    }
    writeln!(std::io::stdout(), "{what}")?;
    Ok(())
}

/// The directory's refusal, as the operator reads it.
pub(crate) fn refused(status: Status) -> anyhow::Error {
    match status.code() {
        tonic::Code::Unauthenticated => anyhow!(
            "the directory does not take the admin token: {}",
            status.message()
        ),
        _ => anyhow!("{}", status.message()),
    }
}
