//! Notes in the nodes' rows of whom nothing is heard, so that operators are told once when a node falls silent and once when it is
//! back, whichever member leads meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rookery_proto::Status;

use crate::core::Core;
use crate::plan::node;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the notes, for as long as this member leads. Does not end.
pub(crate) async fn keep(core: Arc<Core>) {
    // Every node counts as alive until it had time to say so, which is not to say that it is back.
    let began = Instant::now();
    let mut noted = None;
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(status) = look(&core, began, &mut noted).await {
            tracing::debug!(%status, "what nodes are silent is noted later");
            noted = None;
        }
    }
}

/// Notes what has changed; `noted` are the nodes that are silent by their rows.
async fn look(core: &Core, began: Instant, noted: &mut Option<BTreeSet<String>>) -> Result<(), Status> {
    if noted.is_none() {
        let rows = core.state.read(|rows| rows.nodes()).await??;
        let silent = rows.into_iter().filter(|(_, row)| row.silent);
        *noted = Some(silent.map(|(id, _)| id).collect());
    }
    let Some(noted) = noted else { return Ok(()) };
    for node in core.picture.nodes() {
        let was_silent = noted.contains(&node.id);
        let was_heard = core.picture.heard_at(&node.id).is_some_and(|at| at > began);
        if node.alive == was_silent && (was_heard || !node.alive) {
            let (id, silent) = (node.id.clone(), !node.alive);
            core.state
                .change(move |rows| node::note_silence(rows, &id, silent))
                .await?;
            match silent {
                true => noted.insert(node.id),
                false => noted.remove(&node.id),
            };
        }
    }
    Ok(())
}
