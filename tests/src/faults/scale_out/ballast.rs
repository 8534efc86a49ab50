//! Mail that lies in accounts which nobody uses, so that shards have a size.

use std::ops::RangeInclusive;

use anyhow::{Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::super::history::Account;
use super::super::workload::{Proxy, address};
use crate::smtp::SmtpClient;

/// Of a message: an attachment of bytes that no compression makes smaller, as pictures are.
const ATTACHMENT_BYTES: usize = 384 << 10;

/// Connections that deliver at once.
const SENDERS: u32 = 4;

/// Delivers so many bytes, spread over the accounts.
pub(super) fn load(proxies: &[Proxy], accounts: RangeInclusive<Account>, bytes: u64) -> Result<()> {
    let accounts: Vec<Account> = accounts.collect();
    let share = bytes / accounts.len().max(1) as u64;
    let load_some = |sender: u32| -> Result<()> {
        let proxy = &proxies[sender as usize % proxies.len()];
        let mut client = SmtpClient::connect(&proxy.lmtp)?;
        client.command("LHLO client.test")?.expect("250")?;
        let mut rng = StdRng::seed_from_u64(u64::from(sender));
        for account in accounts.iter().filter(|account| *account % SENDERS == sender) {
            let mut delivered = 0;
            while delivered < share {
                let size = usize::try_from(share - delivered)
                    .unwrap_or(usize::MAX)
                    .min(ATTACHMENT_BYTES);
                let message = message(&mut rng, size);
                let reply = client.deliver(&[address(*account)], &message)?;
                reply.expect("250")?;
                delivered += message.len() as u64;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| scope.spawn(move || load_some(sender)))
            .collect();
        senders.into_iter().try_for_each(|sender| {
            sender
                .join()
                .map_err(|_| anyhow!("who delivers ballast panicked"))?
        })
    })
}

fn message(rng: &mut StdRng, size: usize) -> String {
    let mut attachment = vec![0; (size * 3 / 4).max(1024)];
    rng.fill_bytes(&mut attachment);
    let mut message = format!(
        "From: Sender <sender@remote.test>\r\n\
         Subject: a picture\r\n\
         Message-ID: <{:016x}@ballast.test>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: image/jpeg\r\n\
         Content-Transfer-Encoding: base64\r\n\
         \r\n",
        rng.next_u64()
    );
    for line in STANDARD.encode(&attachment).as_bytes().chunks(76) {
        message.push_str(&String::from_utf8_lossy(line));
        message.push_str("\r\n");
    }
    message
}
