//! The programs as they are started, on loopback: calls through the bare forwarder, and through one that spoils them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const IP: &str = "127.0.81.1";

/// Addresses that were free a moment ago.
fn free<const N: usize>() -> [String; N] {
    let sockets: [UdpSocket; N] = std::array::from_fn(|_| UdpSocket::bind((IP, 0)).unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().to_string())
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn sipload(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sipload")).args(arguments).output().unwrap()
}

/// The events of a run by their names.
fn event(output: &Output, name: &str) -> serde_json::Value {
    let events = output.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    events.into_iter().find(|event| event["event"] == name).unwrap()
}

#[test]
fn calls_go_through_the_forwarder_without_a_failure() {
    let [listen, upstream, caller, node] = free();
    let port = node.rsplit(':').next().unwrap();
    let nodes = format!("127.0.81.2:{port},127.0.81.3:{port}");
    let arguments = ["--listen", &listen, "--upstream-bind", &upstream, "--to", &nodes];
    let forwarder = Command::new(env!("CARGO_BIN_EXE_forwarder")).args(arguments).spawn().unwrap();
    let _forwarder = Running(forwarder);
    // Until it has bound its address.
    while UdpSocket::bind(&listen).is_ok() {
        std::thread::yield_now();
    }
    let ends = ["--proxy", &listen, "--uac", &caller, "--uas", &nodes];
    for how in [["--rate", "1000"], ["--window", "8"]] {
        let output = sipload(&[&ends[..], &how, &["--calls", "100", "--in-progress", "20"]].concat());
        let (end, done) = (event(&output, "end"), event(&output, "done"));
        assert!(output.status.success(), "{done}");
        assert_eq!(
            (&end["calls_completed"], &end["calls_failed"], &done["unexpected"]),
            (&100.into(), &0.into(), &0.into())
        );
        assert_eq!((&done["calls_completed"], &done["datagrams_received"]), (&120.into(), &720.into()));
        assert!(end["oneway_us"]["p50"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn calls_through_a_forwarder_that_spoils_one_fail_the_run() {
    let [listen, caller, node] = free();
    let socket = UdpSocket::bind(&listen).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (caller_at, node_at): (SocketAddr, SocketAddr) = (caller.parse().unwrap(), node.parse().unwrap());
    let spoiling = std::thread::spawn(move || {
        let (mut room, mut answers, mut byes) = ([0; 2048], 0, 0);
        while byes < 9 {
            let (length, source) = socket.recv_from(&mut room).unwrap();
            let mut text = String::from_utf8(room[..length].to_vec()).unwrap();
            answers += usize::from(text.starts_with("SIP/2.0 200") && text.contains("1 INVITE\r\n"));
            byes += usize::from(text.starts_with("SIP/2.0 200") && text.contains("2 BYE\r\n"));
            if answers == 3 {
                text = text.replace("PCMA", "PCMX");
                answers += 1;
            }
            socket.send_to(text.as_bytes(), if source == node_at { caller_at } else { node_at }).unwrap();
        }
    });
    let output = sipload(&["--proxy", &listen, "--uac", &caller, "--uas", &node, "--window", "1", "--calls", "10"]);
    let done = event(&output, "done");
    assert_eq!(output.status.code(), Some(1), "{done}");
    assert_eq!((&done["calls_completed"], &done["calls_failed"]), (&9.into(), &1.into()), "{done}");
    assert_eq!(done["reasons"][0], "an answer with another body (1 times)");
    spoiling.join().unwrap();
}

#[test]
fn wrong_usage_is_told_on_standard_error_with_status_2() {
    let [taken, other] = free();
    let _taken = UdpSocket::bind(&taken).unwrap();
    let cases: [(&[&str], &str); 3] = [
        (&["--rate", "1"], "--proxy: missing"),
        (&["--cpu", "100000"], "--cpu: 100000: Invalid argument"),
        (
            &["--proxy", &other, "--uac", &taken, "--uas", &other, "--rate", "1", "--seconds", "1"],
            &format!("{taken}: Address already in use"),
        ),
    ];
    for (arguments, complaint) in cases {
        let output = sipload(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true), "{told}");
        assert!(told.starts_with(complaint), "{told}");
    }
    for program in [env!("CARGO_BIN_EXE_sipload"), env!("CARGO_BIN_EXE_forwarder")] {
        let help = Command::new(program).arg("--help").stderr(Stdio::null()).output().unwrap();
        let first = BufReader::new(&*help.stdout).lines().nth(2).unwrap().unwrap();
        assert!(help.status.success() && first.contains(" --"), "{first}");
    }
}
