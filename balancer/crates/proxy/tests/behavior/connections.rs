//! Connections that end.

use switchtender_proxy::{ConnectionId, Flow, Transport};

use crate::text::Request;
use crate::world::{NODES, World};

#[test]
fn the_end_of_a_connection_says_nothing_of_datagrams() {
    let mut world = World::new();
    world.caller_sends(Request::invite().text());
    world.sent_response(100);
    let sent = world.sent_request("INVITE");
    world.close(&Flow { transport: Transport::Tcp, connection: Some(ConnectionId::new(0, 1)), ..sent.flow });
    world.silent();
    assert!(sent.to_node(NODES[0]));
}
