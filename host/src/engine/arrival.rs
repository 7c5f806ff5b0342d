//! Stream elements on their way into an instance: deliveries of the core, with capabilities of the dataflow as rights to send.

use super::failure::Failure;
use super::stream_element::{Payload, StreamElement};
use super::timestamp::{Timestamp, epoch_of, timestamp};
use reprise_core::ids::Epoch;
use reprise_core::operator::{Arrival, Frontier, Load};
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::frontier::MutableAntichain;

/// Hands every element that has arrived on one edge to the closure.
pub(super) type Pull = Box<dyn FnMut(&mut dyn FnMut(&InputCapability<Timestamp>, &mut StreamElement))>;

/// Takes in what has arrived on all edges of a node. `outputs`: of the node; a delivery has a capability for each.
///
/// # Errors
/// An element is damaged.
pub(super) fn take_in(
    pulls: &mut [Pull],
    outputs: usize,
    node: &str,
    put: &mut dyn FnMut(Epoch, Arrival<Vec<Capability<Timestamp>>>),
) -> Result<(), Failure> {
    let mut taken = Ok(());
    for (edge, pull) in pulls.iter_mut().enumerate() {
        pull(&mut |capability, element| {
            let Some(&at) = capability.least() else { return };
            let load = match std::mem::take(element).payload {
                Payload::Rows(rows) => Load::Rows(rows),
                Payload::Watermark { sender, watermark } => Load::Watermark { sender, watermark },
                Payload::Damaged => {
                    taken = Err(Failure::Internal(format!("a damaged stream element reached `{node}`")));
                    return;
                }
            };
            // Dropping the input capability would give up the right to send; it is kept one output at a time.
            let right = (0..outputs).filter_map(|output| capability.retain_least(output)).collect();
            put(epoch_of(at), Arrival { edge, right, load });
        });
    }
    taken
}

/// The frontiers of the edges of a node.
pub(super) struct Frontiers<'a>(pub &'a [MutableAntichain<Timestamp>]);

impl Frontier for Frontiers<'_> {
    fn is_past(&self, epoch: Epoch) -> bool {
        let end = timestamp(epoch.next(), 0);
        self.0.iter().all(|frontier| !frontier.less_than(&end))
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(MutableAntichain::is_empty)
    }

    fn least(&self) -> u64 {
        self.0.iter().flat_map(|frontier| frontier.frontier().iter().copied().collect::<Vec<_>>()).min().unwrap_or(u64::MAX)
    }
}
