//! A bare UDP forwarder with the sockets of the balancer's worker: what the kernel alone costs.

use std::process::ExitCode;

use switchtender_bench::forward::{Forwarder, Places};
use switchtender_bench::program;

const HELP: &str = "\
Move datagrams between callers and nodes, unread, until SIGTERM.

forwarder --listen ADDR --upstream-bind ADDR --to ADDR[,ADDR...] [--cpu N]

  --listen ADDR         where callers send to; what nodes send goes to the caller that was heard last
  --upstream-bind ADDR  where nodes send to
  --to ADDR[,ADDR...]   the nodes, each datagram to the next in turn
  --cpu N               the processor to stay on
";

fn main() -> ExitCode {
    program::run(HELP, |mut options| {
        program::pin(&mut options)?;
        let places = Places::read(&mut options)?;
        options.finish()?;
        let bound = format!("{} or {}", places.listen, places.upstream_bind);
        Forwarder::open(places).map_err(|error| format!("{bound}: {error}"))?.run()?;
        Ok(ExitCode::SUCCESS)
    })
}
