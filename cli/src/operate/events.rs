//! `rookery events`: what has happened lately, and with --follow what happens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use rookery_directory::admin::json;
use rookery_process::config::Span;
use rookery_proto::admin::v1::{Event, ListEventsRequest};
use serde::Deserialize;
use serde::de::IntoDeserializer;

use super::AdminClient;
use super::output::{self, refused};
use super::retry::{Retry, may_pass};

/// Events that are shown when no time is given.
const SHOWN: u32 = 100;

/// Events that are asked for at once.
const PAGE: u32 = 1_000;

/// Between two questions for what is new.
const POLL: Duration = Duration::from_secs(1);

/// How long the directory may be away while it is followed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Command {
    /// Only those of so long ago, such as 30min or 2d; the last 100 when it is left out
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Go on with those that happen from now on, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

impl Command {
    pub(super) async fn run(self, client: &mut AdminClient, as_json: bool) -> anyhow::Result<()> {
        let mut request = match self.since {
            Some(since) => ListEventsRequest {
                after: Some(0),
                since_millis: millis_ago(since),
                limit: PAGE,
            },
            None => ListEventsRequest {
                limit: SHOWN,
                ..ListEventsRequest::default()
            },
        };
        let mut retry = Retry::new(PATIENCE);
        loop {
            let events = match client.list_events(request).await {
                Ok(answer) => answer.into_inner().events,
                Err(status) if self.follow && may_pass(&status) => {
                    let what = || "events cannot be followed any more".to_owned();
                    retry.pause_or(status.into(), what).await?;
                    continue;
                }
                Err(status) => return Err(refused(status)),
            };
            retry = Retry::new(PATIENCE);
            for event in &events {
                if as_json {
                    output::json_line(&json::event(event))?;
                }
            }
            if !as_json {
                output::lines(events.iter().map(line))?;
            }
            let is_last = request.after.is_none() || events.len() < PAGE as usize;
            if is_last && !self.follow {
                return Ok(());
            }
            let newest = events.last().map(|event| event.number);
            request = ListEventsRequest {
                after: newest.or(request.after).or(Some(0)),
                limit: PAGE,
                ..request
            };
            if is_last {
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

/// An event for people: when in UTC, what kind, and the sentence.
fn line(event: &Event) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(event.at_millis);
    format!(
        "{}  {:<18}  {}",
        humantime::format_rfc3339_seconds(at),
        event.kind,
        event.text
    )
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<Span, serde::de::value::Error> = Span::deserialize(text.into_deserializer());
    parsed
        .map(|span| span.0)
        .map_err(|_| "it is not a time such as \"30min\" or \"2d\"".to_owned())
}

/// Unix time so long ago.
fn millis_ago(since: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_with_its_time() {
        let event = Event {
            number: 5,
            at_millis: 1_795_777_183_299,
            kind: "node-silent".to_owned(),
            subject: "mailstore-2".to_owned(),
            text: "mailstore-2 is silent".to_owned(),
        };
        assert_eq!(
            line(&event),
            "2026-11-27T10:59:43Z  node-silent         mailstore-2 is silent"
        );
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("30min"), Ok(Duration::from_secs(1_800)));
        for wrong in ["", "30", "soon", "-1h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }
}
