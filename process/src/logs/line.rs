//! A line of the log. One that is written within a traced piece of work names its trace and span; any other is as
//! `tracing_subscriber` makes it.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::traces::{Ids, TARGET};

/// Lines for people: the ids stand at the end.
pub(super) struct Text(Format<Full>);

/// Lines for programs: `trace_id` and `span_id` are members of the object.
pub(super) struct Object {
    plain: Format<Json>,
    /// Without spans: those of a trace are the collector's.
    traced: Format<Json>,
}

impl Text {
    pub(super) fn new() -> Self {
        Self(Format::default().with_ansi(false))
    }
}

impl Object {
    pub(super) fn new() -> Self {
        let plain = Format::default().json().flatten_event(true);
        Self {
            traced: plain.clone().with_current_span(false).with_span_list(false),
            plain,
        }
    }
}

/// The ids of the innermost traced work that an event is of.
fn ids<S, N>(context: &FmtContext<'_, S, N>) -> Option<Ids>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut scope = context.event_scope()?;
    scope.find_map(|span| span.extensions().get::<Ids>().copied())
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(ids) = ids(context) else {
            return self.0.format_event(context, writer, event);
        };
        SystemTime.format_time(&mut writer)?;
        let metadata = event.metadata();
        write!(writer, " {:>5} ", metadata.level())?;
        let mut has_spans = false;
        let spans = context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root());
        for span in spans.filter(|span| span.metadata().target() != TARGET) {
            has_spans = true;
            writer.write_str(span.metadata().name())?;
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                write!(writer, "{{{fields}}}")?;
            }
            writer.write_char(':')?;
        }
        if has_spans {
            writer.write_char(' ')?;
        }
        write!(writer, "{}: ", metadata.target())?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer, " trace_id={} span_id={}", ids.trace, ids.span)
    }
}

impl<S, N> FormatEvent<S, N> for Object
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(ids) = ids(context) else {
            return self.plain.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.traced.format_event(context, Writer::new(&mut line), event)?;
        // An object always has members: time, level and target at least.
        let members = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writeln!(
            writer,
            "{members},\"trace_id\":\"{}\",\"span_id\":\"{}\"}}",
            ids.trace, ids.span
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use opentelemetry::trace::{SpanId, TraceId};
    use parking_lot::Mutex;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::fmt::format::{DefaultFields, JsonFields};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// Three lines: outside of a trace, within one, and within another span of it.
    fn lines<F, N>(fields: N, format: F) -> Vec<String>
    where
        F: FormatEvent<tracing_subscriber::Registry, N> + Send + Sync + 'static,
        N: for<'a> FormatFields<'a> + Send + Sync + 'static,
    {
        let kept = Kept::default();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(fields)
            .event_format(format)
            .with_writer(kept.clone())
            .with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(bytes = 7, "outside");
            let work = tracing::info_span!(target: TARGET, "command", otel.name = "smtp transaction");
            let ids = Ids {
                trace: TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap(),
                span: SpanId::from_hex("b7ad6b7169203331").unwrap(),
            };
            ids.keep(&work);
            let _working = work.enter();
            tracing::info!(bytes = 8, "within");
            let _call = tracing::info_span!("admin_call", call = "x").entered();
            tracing::info!("deeper");
        });
        let text = String::from_utf8(kept.0.lock().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_of_traced_work_ends_with_its_ids() {
        let lines = lines(DefaultFields::new(), Text::new());
        let [outside, within, deeper] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        let ids = " trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331";
        assert!(
            outside.ends_with("  INFO rookery_process::logs::line::tests: outside bytes=7"),
            "{outside}"
        );
        let ending = format!("  INFO rookery_process::logs::line::tests: within bytes=8{ids}");
        assert!(within.ends_with(&ending), "{within}");
        // The same before it as a line of no trace has.
        let time = |line: &str| line.split("  INFO").next().map(str::len);
        assert_eq!(time(outside), time(within));
        let ending =
            format!("  INFO admin_call{{call=\"x\"}}: rookery_process::logs::line::tests: deeper{ids}");
        assert!(deeper.ends_with(&ending), "{deeper}");
    }

    #[test]
    fn an_object_of_traced_work_has_its_ids() {
        let lines = lines(JsonFields::new(), Object::new());
        let [outside, within, _] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert!(!outside.contains("trace_id"), "{outside}");
        let held: serde_json::Value = serde_json::from_str(within).unwrap();
        assert_eq!(held["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(held["span_id"], "b7ad6b7169203331");
        assert_eq!(held["message"], "within");
        assert_eq!(held["bytes"], 8);
        assert_eq!(held.get("spans"), None);
    }
}
