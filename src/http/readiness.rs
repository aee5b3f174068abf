//! `/readyz`: whether this server takes uploads, and what can be told of what it keeps them in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::request::Parts;
use serde::Serialize;

use super::negotiate::Form;
use super::problem::Problem;
use super::{App, Response, certificate, json, text};
use crate::store::{EngineStatus, NodeId};

/// This server among those that share a store, as `/readyz` and `/metrics` tell it.
#[derive(Debug)]
pub struct NodeStatus {
    id: NodeId,
    upkeep: AtomicBool,
}

impl NodeStatus {
    /// A server that has just started.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            upkeep: AtomicBool::new(false),
        }
    }

    /// Notes whether it looks after the store for all of them, and gives what was noted before.
    pub fn set_upkeep(&self, has: bool) -> bool {
        self.upkeep.swap(has, Ordering::Relaxed)
    }

    /// Whether it looks after the store for all of them.
    pub fn has_upkeep(&self) -> bool {
        self.upkeep.load(Ordering::Relaxed)
    }
}

#[derive(Serialize)]
struct Document<'a> {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'a EngineStatus>,
    /// What that means, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    means: Vec<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    warning: String,
}

/// `GET /readyz`
pub(super) async fn respond(app: &Arc<App>, head: &Parts) -> Result<Response, Problem> {
    if app.is_draining() {
        return Err(Problem::stopping());
    }
    app.check_audit()?;
    app.check_certificate()?;
    app.blocking(|app| app.uploads.check()).await??;
    let warning = certificate::warning(app);
    let engine = app.uploads.engine();
    let means = engine.as_ref().map(means).unwrap_or_default();
    if Form::preferred(&head.headers, &[Form::Text, Form::Json]) == Form::Text {
        let lines = ["ready"].iter().chain(&means);
        let said: String = lines.flat_map(|line| [line, "\n"]).collect();
        return Ok(text(said + &warning));
    }
    Ok(json(&Document {
        ready: true,
        node: app.node.as_ref().map(|node| node.id),
        means,
        engine: engine.as_ref(),
        warning: warning.trim_end().to_owned(),
    }))
}

/// What an engine's ways mean for uploads.
fn means(engine: &EngineStatus) -> Vec<&'static str> {
    let concurrent = if engine.bare_etags {
        "Two servers that go on with one upload at the same time: the engine lets one of them, and the other one acknowledges nothing. \
         It compares ETags only without quotation marks, and is sent them so."
    } else if engine.conditional_writes {
        "Two servers that go on with one upload at the same time: the engine lets one of them, and the other one acknowledges nothing."
    } else {
        "Two servers that go on with one upload at the same time take turns by tickets, since the engine has no conditional writes: \
         one that stands still for more than half a minute, or a write that the engine does so late, may go over what another wrote. No upload is mixed up by it: what is published is bound by its manifest."
    };
    let durable = "What is acknowledged is as durable as the engine makes what it acknowledges. Sealslot adds nothing to that.";
    let on_the_way = match engine.checksum {
        "none" => {
            "Damage on the way to the engine is found when an upload is opened or verified, not when it is stored."
        }
        _ => "Damage on the way to the engine is found by it, and sent again.",
    };
    let kept = "The bucket keeps versions: what is deleted or sealed anew stays there until the engine removes it.";
    let kept = engine.keeps_versions.then_some(kept);
    [concurrent, durable, on_the_way]
        .into_iter()
        .chain(kept)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_follows_from_what_the_engine_does() {
        let engine = |conditional_writes, checksum, keeps_versions| EngineStatus {
            conditional_writes,
            bare_etags: false,
            checksum,
            keeps_versions,
            requests: Vec::new(),
            failures: 0,
            bytes: (0, 0),
        };
        let best = means(&engine(true, "crc64nvme", false));
        let worst = means(&engine(false, "none", true));
        assert_eq!((best.len(), worst.len()), (3, 4));
        let said = best.iter().zip(&worst).filter(|(one, other)| one != other);
        assert_eq!(said.count(), 2);
        let bare = EngineStatus {
            bare_etags: true,
            ..engine(true, "sha256", false)
        };
        assert!(means(&bare)[0].contains("without quotation marks"));
        let document = |engine: Option<&EngineStatus>| {
            let document = Document {
                ready: true,
                node: None,
                engine,
                means: Vec::new(),
                warning: String::new(),
            };
            serde_json::to_string(&document).unwrap()
        };
        let expected = r#"{"ready":true,"engine":{"conditional_writes":true,"bare_etags":false,"checksum":"sha256","keeps_versions":false}}"#;
        let signed = engine(true, "sha256", false);
        assert_eq!(document(Some(&signed)), expected);
        assert_eq!(document(None), r#"{"ready":true}"#);
    }
}
