//! One connection of the API, opened to `tools/fuzzing`; no part of the API.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::{Gate, Server, route};
use crate::service::Identity;

/// Bytes that wait on either side of a connection.
const BUFFER_BYTES: usize = 64 << 10;

/// Sends bytes to a server as a peer of this machine, hangs up, and gives all that it answered.
pub async fn exchange(server: &Server, caller: Identity, bytes: &[u8]) -> Vec<u8> {
    let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
    let (_keep, stop) = watch::channel(false);
    let connection = server.clone().connection(Box::new(theirs), Gate::Peer(caller), stop);
    let (mut reader, mut writer) = tokio::io::split(ours);
    let send = async move {
        // A server that has hung up takes no more.
        let _ = writer.write_all(bytes).await;
        let _ = writer.shutdown().await;
    };
    let receive = async move {
        let mut answer = Vec::new();
        let _ = reader.read_to_end(&mut answer).await;
        answer
    };
    tokio::join!(connection, send, receive).2
}

/// Percent-encoding, both ways.
pub fn percent(bytes: &[u8]) {
    let encoded = route::percent_encode(bytes);
    assert_eq!(route::percent_decode(encoded.as_bytes()).as_deref(), Some(bytes));
    if let Some(decoded) = route::percent_decode(bytes) {
        assert_eq!(route::percent_decode(route::percent_encode(&decoded).as_bytes()), Some(decoded));
    }
}
