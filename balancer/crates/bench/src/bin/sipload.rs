//! Calls through a proxy, both ends in one process, every message judged.

use std::io::Write as _;
use std::process::ExitCode;

use switchtender_bench::figures::Event;
use switchtender_bench::load::Load;
use switchtender_bench::plan::Plan;
use switchtender_bench::program;
use switchtender_bench::wire::Wire;
use switchtender_net::udp::monotonic;

const HELP: &str = "\
Make calls through a proxy, be both ends of them, and judge every message.

sipload --proxy ADDR --uac ADDR (--uas ADDR[,ADDR...] | --uas-first ADDR --uas-count N)
        (--rate N | --window N) (--seconds S | --calls N) [OPTIONS]

A call is INVITE (800 bytes, with SDP), 180, 200, ACK, BYE, 200. The called end adds a tag and a Contact and copies Via
and Record-Route; the caller sends ACK and BYE along the route set, or to the proxy where there is none.

  --proxy ADDR          where callers send to
  --uac ADDR            where the caller is
  --uas ADDR[,ADDR...]  where the nodes are
  --uas-first ADDR      the first of --uas-count nodes: at consecutive addresses with port 5060, else consecutive ports
  --uas-count N         how many
  --rate N              calls a second, evenly spaced, whatever becomes of them
  --window N            calls at once: when one ends, the next begins
  --seconds S           how long the measured window is
  --calls N             ... or until N calls that began in it ended
  --warmup S            calls are made for so long before the window begins (0)
  --hold S              from ACK to BYE (0)
  --in-progress N       calls that are set up before and stand until the end (0)
  --setup-rate N        at most so many of these are set up, and ended, a second (10000)
  --to USER             the user that is called; {n} is the group's number (echo)
  --groups N            how many groups are called in turn (1)
  --patience S          how long an answer is waited for (32)
  --cpu N               the processor to stay on

Standard output has a line of JSON for each event: ready (sockets are bound), standing (the calls of --in-progress are
up), begin and end of the measured window, done (all calls ended). The end has the window's figures, in microseconds
where they are times; done has what the whole run counted. Exit status: 0 all is well, 1 a call failed, a message came
or was sent again or came unexpected, 2 wrong usage or an address that cannot be bound.
";

fn main() -> ExitCode {
    program::run(HELP, |mut options| {
        program::pin(&mut options)?;
        let plan = Plan::read(&mut options)?;
        options.finish()?;
        let mut wire = Wire::open(&plan.cast)?;
        let mut stdout = std::io::stdout().lock();
        let mut tell = |event: &Event| {
            serde_json::to_writer(&mut stdout, event)?;
            stdout.write_all(b"\n")?;
            stdout.flush()
        };
        tell(&Event::Ready)?;
        let now = monotonic();
        let run = u32::try_from(now.as_nanos() / 1000 % 100_000_000).unwrap_or(0);
        let mut load = Load::new(plan, now, run);
        wire.serve(&mut load, tell)?;
        Ok(if load.tally().is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
