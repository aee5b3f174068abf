//! What is counted, in the text format of Prometheus. Numbers only: nothing in it names an upload or a client.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

use super::{App, CertificateHealth};
use crate::store::EngineStatus;
use crate::webhook::Counters;

/// Counters since the start.
#[derive(Default)]
pub struct Metrics {
    /// Connections that are open now.
    pub connections: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: AtomicU64,
    uploads: AtomicU64,
    upload_bytes: AtomicU64,
    guesses: AtomicU64,
    /// Answers by the first digit of their status.
    answers: [AtomicU64; 5],
    /// Refusals, in the order of [`REFUSALS`].
    refusals: [AtomicU64; REFUSALS.len()],
}

/// The problems that are counted one by one: those of callers who may not, or not so much.
const REFUSALS: [&str; 18] = [
    "misdirected",
    "unauthorized",
    "forbidden",
    "cross-site",
    "too-many-requests",
    "too-many-uploads",
    "busy",
    "too-large",
    "timeout",
    "too-slow",
    "quota-reached",
    "store-full",
    "store-unavailable",
    "link-expired",
    "link-revoked",
    "link-used-up",
    "link-bytes-used-up",
    "type-not-accepted",
];

impl Metrics {
    pub(super) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5);
        self.answers[class - 1].fetch_add(1, Relaxed);
    }

    /// Counts what a request was refused for.
    pub(super) fn refused(&self, code: &str) {
        let place = REFUSALS.iter().position(|refusal| *refusal == code);
        if let Some(place) = place {
            self.refusals[place].fetch_add(1, Relaxed);
        }
    }

    /// Counts a wrong token, or a link or an upload URL that does not exist.
    pub(super) fn guessed(&self) {
        self.guesses.fetch_add(1, Relaxed);
    }

    pub(super) fn published(&self, uploads: usize, bytes: u64) {
        self.uploads.fetch_add(uploads as u64, Relaxed);
        self.upload_bytes.fetch_add(bytes, Relaxed);
    }
}

/// Everything that is counted.
pub(super) fn text(app: &App) -> String {
    let mut text = app.metrics.to_string();
    if let Some(audit) = &app.audit {
        let help = "Whether the audit log cannot be written, so that no uploads are taken.";
        let failing = u64::from(audit.is_failing());
        text += &one("audit_failing", help, "gauge", failing);
    }
    if let Some(health) = &app.certificate {
        text += &of_certificate(&health());
    }
    if let Some(engine) = app.uploads.engine() {
        text += &of_engine(&engine);
    }
    if let Some(node) = &app.node {
        let help = "Whether this server looks after the store, for all that share it.";
        text += &one("node_upkeep", help, "gauge", u64::from(node.has_upkeep()));
    }
    if let Some(webhooks) = &app.webhooks {
        text += &of_webhooks(webhooks);
    }
    text
}

/// What became of the certificate.
fn of_certificate(health: &CertificateHealth) -> String {
    let mut text = String::new();
    let rows = [
        (
            "not_after_seconds",
            "Until when the certificate is valid, in seconds since 1970; 0: there is none.",
            "gauge",
            health.not_after_seconds(),
        ),
        (
            "failing",
            "Whether what is to replace the certificate cannot be used, or does not come.",
            "gauge",
            u64::from(health.failing.is_some()),
        ),
        (
            "replacements_total",
            "Certificates that took another's place.",
            "counter",
            health.replacements,
        ),
    ];
    for (name, help, kind, value) in rows {
        text += &one(&format!("certificate_{name}"), help, kind, value);
    }
    text
}

/// What webhooks were told.
fn of_webhooks(webhooks: &Counters) -> String {
    let mut text = String::new();
    for (name, help, value) in [
        (
            "delivered",
            "Messages that a webhook took.",
            &webhooks.delivered,
        ),
        (
            "failed",
            "Tries to tell a webhook that failed.",
            &webhooks.failed,
        ),
        (
            "given_up",
            "Messages that are not tried any more.",
            &webhooks.given_up,
        ),
        (
            "dropped",
            "Uploads that webhooks are not told of: too many waited.",
            &webhooks.dropped,
        ),
    ] {
        text += &one(
            &format!("webhooks_{name}_total"),
            help,
            "counter",
            value.load(Relaxed),
        );
    }
    text
}

/// What was asked of what keeps the store's bytes.
fn of_engine(engine: &EngineStatus) -> String {
    let mut text = many(
        "store_requests_total",
        "Requests to the store's engine.",
        "kind",
        &engine.requests,
    );
    text += &one(
        "store_failures_total",
        "Requests to it that failed, before they were tried again.",
        "counter",
        engine.failures,
    );
    let (out, back) = engine.bytes;
    text += &many(
        "store_bytes_total",
        "Bytes of content in these requests and their answers.",
        "direction",
        &[("out", out), ("in", back)],
    );
    text
}

/// A counter for each value of a label.
fn many(name: &str, help: &str, label: &str, values: &[(&str, u64)]) -> String {
    let mut text = format!("# HELP sealslot_{name} {help}\n# TYPE sealslot_{name} counter\n");
    for (value, count) in values {
        let _ = writeln!(text, "sealslot_{name}{{{label}=\"{value}\"}} {count}");
    }
    text
}

fn one(name: &str, help: &str, kind: &str, value: u64) -> String {
    format!(
        "# HELP sealslot_{name} {help}\n# TYPE sealslot_{name} {kind}\nsealslot_{name} {value}\n"
    )
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = [
            (
                "uploads_total",
                "Uploads that were published.",
                "counter",
                &self.uploads,
            ),
            (
                "upload_bytes_total",
                "Bytes of plaintext in them.",
                "counter",
                &self.upload_bytes,
            ),
            (
                "connections",
                "Connections that are open.",
                "gauge",
                &self.connections,
            ),
            (
                "handshakes_failed_total",
                "TLS handshakes that failed or took too long.",
                "counter",
                &self.handshakes_failed,
            ),
            (
                "credentials_failed_total",
                "Requests with a token, a link or an upload URL that is not known.",
                "counter",
                &self.guesses,
            ),
        ];
        for (name, help, kind, value) in counters {
            writeln!(
                f,
                "# HELP sealslot_{name} {help}\n# TYPE sealslot_{name} {kind}"
            )?;
            writeln!(f, "sealslot_{name} {}", value.load(Relaxed))?;
        }
        writeln!(
            f,
            "# HELP sealslot_answers_total Answers by class of status."
        )?;
        writeln!(f, "# TYPE sealslot_answers_total counter")?;
        for (class, value) in (1..).zip(&self.answers) {
            writeln!(
                f,
                "sealslot_answers_total{{class=\"{class}xx\"}} {}",
                value.load(Relaxed)
            )?;
        }
        writeln!(
            f,
            "# HELP sealslot_refusals_total Requests that were refused, by the code of the problem."
        )?;
        writeln!(f, "# TYPE sealslot_refusals_total counter")?;
        for (code, value) in REFUSALS.iter().zip(&self.refusals) {
            writeln!(
                f,
                "sealslot_refusals_total{{code=\"{code}\"}} {}",
                value.load(Relaxed)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_was_asked_is_counted_by_kind() {
        let text = of_engine(&EngineStatus {
            conditional_writes: true,
            bare_etags: false,
            checksum: "sha256",
            keeps_versions: false,
            requests: vec![("put", 3), ("get", 0)],
            failures: 2,
            bytes: (7, 9),
        });
        for line in [
            "# TYPE sealslot_store_requests_total counter\n",
            "sealslot_store_requests_total{kind=\"put\"} 3\n",
            "sealslot_store_requests_total{kind=\"get\"} 0\n",
            "sealslot_store_failures_total 2\n",
            "sealslot_store_bytes_total{direction=\"out\"} 7\n",
            "sealslot_store_bytes_total{direction=\"in\"} 9\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
