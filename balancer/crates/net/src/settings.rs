//! What is set once, at construction: sockets, workers, limits. The document is JSON, format 2; see
//! [`Settings::from_json`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use switchtender_proxy::Advertised;
use switchtender_select::Network;
use switchtender_select::json::{ConfigError, Field, parse};

const FORMAT: u64 = 2;
const MOST_LISTENERS: usize = 64;
const MOST_WORKERS: u8 = 64;
const MOST_ENTRIES: usize = 256;
const MOST_PASSWORD: usize = 256;
/// Worker ports where no node side is declared.
const DEFAULT_WORKER_PORTS: RangeInclusive<u16> = 5071..=5134;

/// The settings of a [`crate::Core`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where callers come in; at least one.
    pub listeners: Vec<Listener>,
    /// Where nodes talk to us, if apart from the first listener.
    pub node_side: Option<NodeSide>,
    /// Address of the workers' own node-facing sockets.
    pub worker_address: IpAddr,
    /// Their ports; `0..=0` lets the kernel pick.
    pub worker_ports: RangeInclusive<u16>,
    /// Worker threads.
    pub workers: u8,
    /// Transactions open at once over all workers.
    pub max_transactions: usize,
    /// What connections may cost.
    pub tcp: Tcp,
    /// Where copies of all messages go, if anywhere.
    pub hep: Option<Hep>,
    /// How long a stop may take where its caller does not say.
    pub stop_deadline: Duration,
    /// Identity of this run, in branches; random where it is not given.
    pub run_id: Option<u64>,
}

/// A socket where callers come in.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name in messages and metrics.
    pub name: String,
    /// Where to bind.
    pub address: SocketAddr,
    /// What callers are told instead.
    pub advertise: Option<Advertised>,
    /// Every caller here is behind NAT.
    pub nat: bool,
    /// How callers may come in.
    pub transports: Transports,
    /// Networks that requests may come from; empty = everywhere.
    pub allow: Vec<Network>,
}

/// Which sockets an address has; at least one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// Datagrams.
    pub udp: bool,
    /// Connections.
    pub tcp: bool,
}

impl Transports {
    /// The node side and the workers' ports have both.
    pub const BOTH: Self = Self { udp: true, tcp: true };
    /// What there was before connections.
    pub const UDP: Self = Self { udp: true, tcp: false };
}

/// What connections may cost, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// A connection on which nothing comes or goes for so long is closed.
    pub idle_timeout: Duration,
    /// A connection that we open comes about within this time or not at all.
    pub connect_timeout: Duration,
    /// Connections accepted at most, and as many opened.
    pub max_connections: u32,
    /// Connections accepted from one address at most.
    pub max_per_source: u32,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(600),
            connect_timeout: Duration::from_secs(2),
            max_connections: 20_000,
            max_per_source: 1_000,
        }
    }
}

/// A collector of HEP packets.
#[derive(Clone)]
pub struct Hep {
    /// Where it takes them.
    pub collector: SocketAddr,
    /// Who we are to it.
    pub capture_id: u32,
    /// What it knows us by.
    pub password: Option<Box<str>>,
}

impl std::fmt::Debug for Hep {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { collector, capture_id, password: _ } = self;
        f.debug_struct("Hep").field("collector", collector).field("capture_id", capture_id).finish_non_exhaustive()
    }
}

/// The side of the nodes.
#[derive(Clone, Debug)]
pub struct NodeSide {
    /// Where to bind the socket that all workers share.
    pub address: SocketAddr,
    /// What nodes are told instead, by their network.
    pub advertise: Vec<(Vec<Network>, Advertised)>,
    /// Networks that nodes send from, besides their own addresses.
    pub sources: Vec<Network>,
}

impl Settings {
    /// Reads and checks the document.
    ///
    /// # Errors
    /// [`ConfigError`] with the JSON pointer of the first thing that is wrong.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ConfigError> {
        let value = parse(bytes)?;
        let mut document = Field::root(&value).object()?;
        let format = document.required("format")?;
        if format.integer(0..=u64::MAX)? != FORMAT {
            return Err(format.error(format!("this balancer reads format {FORMAT}")));
        }
        let field = document.required("listeners")?;
        let listeners = field.list(MOST_LISTENERS)?;
        let listeners = listeners.iter().map(listener).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = listeners.first() else {
            return Err(field.error("at least one listener is needed"));
        };
        let default_side = (None, first.address.ip(), DEFAULT_WORKER_PORTS);
        let (node_side, worker_address, worker_ports) =
            document.optional("node_side").map_or(Ok(default_side), |field| node_side(&field))?;
        let workers_field = document.required("workers")?;
        let workers = workers_field.integer(1..=MOST_WORKERS)?;
        let ports = worker_ports.end() - worker_ports.start() + 1;
        if *worker_ports.start() != 0 && ports < u16::from(workers) {
            return Err(workers_field.error(format!("{workers} workers need as many worker ports, found {ports}")));
        }
        let mut limits = document.required("limits")?.object()?;
        let max_transactions = limits.required("max_transactions")?.integer(1..=10_000_000_u32)?;
        limits.finish()?;
        let tcp = tcp(&document.required("tcp")?)?;
        let hep = document.optional("hep").map(|field| hep(&field)).transpose()?;
        let stop_deadline = document.required("stop_deadline_ms")?.millis(0..=24 * 3600 * 1000)?;
        let run_id = document.optional("run_id").map(|field| field.integer(0..=u64::MAX)).transpose()?;
        document.finish()?;
        Ok(Self {
            listeners,
            node_side,
            worker_address,
            worker_ports,
            workers,
            max_transactions: usize::try_from(max_transactions).unwrap_or(usize::MAX),
            tcp,
            hep,
            stop_deadline,
            run_id,
        })
    }
}

fn listener(field: &Field<'_>) -> Result<Listener, ConfigError> {
    let mut object = field.object()?;
    let listener = Listener {
        name: object.required("name")?.name()?.to_owned(),
        address: address(&object.required("address")?, &object.required("port")?)?,
        advertise: object.optional("advertise").map(|field| advertised(&field)).transpose()?,
        nat: object.required("nat")?.boolean()?,
        transports: transports(&object.required("transports")?)?,
        allow: networks(&object.required("allow")?)?,
    };
    object.finish()?;
    Ok(listener)
}

fn transports(field: &Field<'_>) -> Result<Transports, ConfigError> {
    let mut transports = Transports { udp: false, tcp: false };
    for item in field.list(2)? {
        match item.string()? {
            "UDP" => transports.udp = true,
            "TCP" => transports.tcp = true,
            other => return Err(item.error(format!("{other:?} is not a transport; accepted are UDP, TCP"))),
        }
    }
    if transports.udp || transports.tcp { Ok(transports) } else { Err(field.error("at least one transport is needed")) }
}

fn tcp(field: &Field<'_>) -> Result<Tcp, ConfigError> {
    let mut object = field.object()?;
    let tcp = Tcp {
        idle_timeout: object.required("idle_timeout_ms")?.millis(1_000..=7 * 24 * 3600 * 1000)?,
        connect_timeout: object.required("connect_timeout_ms")?.millis(50..=60_000)?,
        max_connections: object.required("max_connections")?.integer(1..=1_000_000)?,
        max_per_source: object.required("max_per_source")?.integer(1..=1_000_000)?,
    };
    object.finish()?;
    Ok(tcp)
}

fn hep(field: &Field<'_>) -> Result<Hep, ConfigError> {
    let mut object = field.object()?;
    let port = object.required("port")?;
    let collector = address(&object.required("host")?, &port)?;
    if collector.port() == 0 {
        return Err(port.error("nobody can be reached at port 0"));
    }
    let password = |field: Field<'_>| match field.string()? {
        text if (1..=MOST_PASSWORD).contains(&text.len()) => Ok(text.into()),
        _ => Err(field.error(format!("a password has 1 to {MOST_PASSWORD} bytes"))),
    };
    let capture_id = object.required("capture_id")?.integer(0..=u32::MAX)?;
    let password = object.optional("password").map(password).transpose()?;
    object.finish()?;
    Ok(Hep { collector, capture_id, password })
}

#[allow(clippy::type_complexity, reason = "the three parts of one object, taken apart by its only caller")]
fn node_side(field: &Field<'_>) -> Result<(Option<NodeSide>, IpAddr, RangeInclusive<u16>), ConfigError> {
    let mut object = field.object()?;
    let bound = address(&object.required("address")?, &object.required("port")?)?;
    let ports = object.required("worker_ports")?;
    let worker_ports = match ports.list(2)?.as_slice() {
        [first, last] => first.integer(0..=u16::MAX)?..=last.integer(0..=u16::MAX)?,
        _ => return Err(ports.error("expected the first and the last port")),
    };
    if worker_ports.is_empty() || (*worker_ports.start() == 0 && *worker_ports.end() != 0) {
        return Err(ports.error("expected the first port to be at most the last, or both to be 0"));
    }
    let advertise =
        object.required("advertise")?.list(MOST_ENTRIES)?.iter().map(node_advertise).collect::<Result<_, _>>()?;
    let sources = networks(&object.required("sources")?)?;
    object.finish()?;
    Ok((Some(NodeSide { address: bound, advertise, sources }), bound.ip(), worker_ports))
}

fn node_advertise(field: &Field<'_>) -> Result<(Vec<Network>, Advertised), ConfigError> {
    let mut object = field.object()?;
    let networks = networks(&object.required("networks")?)?;
    let address = host_and_port(&object.required("host")?, &object.required("port")?)?;
    object.finish()?;
    Ok((networks, address))
}

fn networks(field: &Field<'_>) -> Result<Vec<Network>, ConfigError> {
    field.list(MOST_ENTRIES)?.iter().map(|item| item.parsed(str::parse)).collect()
}

fn address(address: &Field<'_>, port: &Field<'_>) -> Result<SocketAddr, ConfigError> {
    let ip = address.parsed(|text| text.parse::<IpAddr>().map_err(|_| format!("{text:?} is not an IP address")))?;
    Ok(SocketAddr::new(ip, port.integer(0..=u16::MAX)?))
}

fn advertised(field: &Field<'_>) -> Result<Advertised, ConfigError> {
    let mut object = field.object()?;
    let address = host_and_port(&object.required("host")?, &object.required("port")?)?;
    object.finish()?;
    Ok(address)
}

fn host_and_port(host: &Field<'_>, port: &Field<'_>) -> Result<Advertised, ConfigError> {
    Ok(Advertised { host: host.parsed(advertised_host)?.into(), port: port.integer(1..=u16::MAX)? })
}

/// A host as it may stand in a header: nothing that could end it early, and no address that leads nowhere.
fn advertised_host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(text).parse::<Ipv6Addr>() {
        return if ip.is_unspecified() { Err("nobody can reach ::".to_owned()) } else { Ok(format!("[{ip}]")) };
    }
    let is_name = (1..=253).contains(&text.len())
        && text.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
    match text.parse::<std::net::Ipv4Addr>() {
        Ok(ip) if ip.is_unspecified() => Err("nobody can reach 0.0.0.0".to_owned()),
        _ if is_name => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is neither a host name nor an IP address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn document() -> Value {
        json!({
            "format": 2,
            "listeners": [{"name": "public", "address": "0.0.0.0", "port": 5060, "transports": ["UDP", "TCP"],
                           "advertise": {"host": "sip.example.com", "port": 5060}, "nat": false,
                           "allow": ["192.0.2.0/24"]}],
            "tcp": {"idle_timeout_ms": 60_000, "connect_timeout_ms": 1_000, "max_connections": 5, "max_per_source": 2},
            "node_side": {"address": "::", "port": 5070, "worker_ports": [5071, 5134], "sources": ["10.0.0.0/8"],
                          "advertise": [{"networks": ["0.0.0.0/0"], "host": "10.96.7.7", "port": 5070}]},
            "hep": {"host": "192.0.2.9", "port": 9060, "capture_id": 7, "password": "hidden"},
            "workers": 2, "limits": {"max_transactions": 200_000}, "stop_deadline_ms": 180_000, "run_id": null,
        })
    }

    fn read(document: &Value) -> Result<Settings, ConfigError> {
        Settings::from_json(document.to_string().as_bytes())
    }

    #[test]
    fn the_whole_document_is_read() {
        let settings = read(&document()).unwrap();
        let shown = format!("{settings:?}");
        assert!(shown.contains("192.0.2.9:9060") && !shown.contains("hidden"), "{shown}");
        let listener = &settings.listeners[0];
        assert_eq!((listener.name.as_str(), listener.address), ("public", "0.0.0.0:5060".parse().unwrap()));
        assert_eq!(listener.advertise, Some(Advertised { host: "sip.example.com".into(), port: 5060 }));
        assert_eq!((listener.transports, &*listener.allow), (Transports::BOTH, &["192.0.2.0/24".parse().unwrap()][..]));
        let tcp = Tcp {
            idle_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(1),
            max_connections: 5,
            max_per_source: 2,
        };
        assert_eq!(settings.tcp, tcp);
        let side = settings.node_side.unwrap();
        assert_eq!(side.address, "[::]:5070".parse().unwrap());
        assert_eq!(side.sources, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(&*side.advertise[0].1.host, "10.96.7.7");
        assert_eq!((settings.worker_address, settings.worker_ports), ("::".parse().unwrap(), 5071..=5134));
        assert_eq!((settings.workers, settings.max_transactions, settings.run_id), (2, 200_000, None));
        assert_eq!(settings.stop_deadline, Duration::from_secs(180));
        let hep = settings.hep.unwrap();
        assert_eq!((hep.capture_id, hep.password.as_deref()), (7, Some("hidden")));
    }

    #[test]
    fn without_a_node_side_the_first_listener_serves_both() {
        let mut document = document();
        document["node_side"] = Value::Null;
        document["run_id"] = json!(u64::MAX);
        let settings = read(&document).unwrap();
        assert!(settings.node_side.is_none());
        assert_eq!((settings.worker_address, settings.worker_ports), ("0.0.0.0".parse().unwrap(), 5071..=5134));
        assert_eq!(settings.run_id, Some(u64::MAX));
    }

    #[test]
    fn what_does_not_hold_is_named_with_its_place() {
        for (pointer, wrong) in [
            ("/format", json!(1)),
            ("/listeners/0/transports", json!([])),
            ("/listeners/0/transports/0", json!("TLS")),
            ("/listeners/0/allow/0", json!("here")),
            ("/tcp/connect_timeout_ms", json!(0)),
            ("/tcp/max_per_source", json!(0)),
            ("/listeners", json!([])),
            ("/listeners/0/address", json!("localhost")),
            ("/listeners/0/port", json!(65_536)),
            ("/listeners/0/advertise/host", json!("a b\r\nX: y")),
            ("/listeners/0/advertise/host", json!("0.0.0.0")),
            ("/listeners/0/advertise/host", json!("[::]")),
            ("/listeners/0/advertise/port", json!(0)),
            ("/node_side/worker_ports", json!([5071])),
            ("/node_side/worker_ports", json!([5072, 5071])),
            ("/node_side/worker_ports", json!([0, 5071])),
            ("/node_side/sources/0", json!("10.0.0.0/33")),
            ("/hep/host", json!("homer.example.com")),
            ("/hep/port", json!(0)),
            ("/hep/capture_id", json!(u64::from(u32::MAX) + 1)),
            ("/hep/password", json!("")),
            ("/workers", json!(0)),
            ("/limits/max_transactions", json!(0)),
            ("/run_id", json!(-1)),
        ] {
            let mut document = document();
            *document.pointer_mut(pointer).unwrap() = wrong;
            assert_eq!(read(&document).unwrap_err().pointer, pointer, "{document}");
        }
        let mut unknown = document();
        unknown["listeners"][0]["prot"] = json!(1);
        assert_eq!(read(&unknown).unwrap_err().pointer, "/listeners/0/prot");
        let mut few_ports = document();
        few_ports["node_side"]["worker_ports"] = json!([5071, 5071]);
        assert_eq!(read(&few_ports).unwrap_err().pointer, "/workers");
        assert_eq!(Settings::from_json(b"{").unwrap_err().pointer, "");
    }

    #[test]
    fn version_six_hosts_get_their_brackets() {
        assert_eq!(advertised_host("2001:db8::1").unwrap(), "[2001:db8::1]");
        assert_eq!(advertised_host("[2001:db8::1]").unwrap(), "[2001:db8::1]");
        assert_eq!(advertised_host("192.0.2.1").unwrap(), "192.0.2.1");
    }
}
