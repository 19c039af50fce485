//! Reading and forwarding a message takes nothing from the heap.

#![allow(unsafe_code)] // GlobalAlloc is an unsafe trait

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use switchtender_sip::stream::{Frame, Framer};
use switchtender_sip::{Edits, HeaderName, Index, Output, Response, ack, cancel, respond};

struct Counting;

thread_local! {
    /// Calls of this thread; the test harness has others.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises hold for the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `pointer` came from `alloc` above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` took from the heap.
fn allocations(work: impl FnOnce()) -> usize {
    let before = CALLS.with(Cell::get);
    work();
    CALLS.with(Cell::get) - before
}

const INVITE: &[u8] = b"INVITE sip:conf%20x@sip.example.com:5060;transport=udp SIP/2.0\r\n\
    v: SIP/2.0/UDP [2001:db8::7]:5062;branch=z9hG4bK-1;rport;received=[2001:db8:::192.0.2.1],\r\n SIP/2.0/UDP h;maddr=h\r\n\
    Max-Forwards: 70\r\nf: \"Ann\" <sip:ann@example.com>;tag=f1\r\nTo: <sip:conf@sip.example.com>\r\n\
    Call-ID: c1@192.0.2.7\r\nCSeq: 7 INVITE\r\nRoute: <sip:me;lr>,<sip:next;lr>\r\nX-One: 1\r\nContent-Length: 3\r\n\r\nv=0";

#[test]
fn reading_and_writing_allocate_nothing() {
    let mut buffer = [0; 4096];
    let mut edits = Edits::new();
    let mut index = Index::new();
    let source = "[2001:db8::1]:5060".parse().expect("an address");
    let work = || {
        for bytes in [INVITE, b"", b"hello\r\n", &INVITE[..200], b"SIP/2.0 486 Busy\r\nTo: <sip:a@b>;tag=1\r\n\r\n"] {
            let fault = index.parse(bytes);
            let message = index.message(bytes);
            let checked = fault.and_then(|()| message.validate());
            let answered = checked.map_err(|error| message.answer(error));
            assert_eq!(answered.is_ok(), bytes == INVITE);
            assert_eq!(message.named(b"x-one").count(), usize::from(bytes == INVITE));
            if let (Some(uri), Some(to)) = (message.uri(), message.to().and_then(|to| to.uri())) {
                assert!(!uri.equivalent(&to));
            }
            edits.clear();
            edits.set_source(&message, source);
            edits.push_field(&message, HeaderName::Via, |output| {
                output.bytes(b"SIP/2.0/UDP ")?;
                output.socket_addr(source)
            });
            edits.remove_first(&message, HeaderName::Route, 1);
            edits.remove_last(&message, HeaderName::Route);
            edits.set_max_forwards(&message, 69);
            edits.set_uri(&message, |output| output.decimal(12_345));
            assert!(edits.splice(&message, &mut Output::new(&mut buffer)).is_ok());
            assert!(edits.splice(&message, &mut Output::new(&mut buffer[..3])).is_err());
            let response = Response { code: 503, reason: b"No", to_tag: Some(b"t"), source: Some(source), fields: b"" };
            assert!(respond(&message, &response, &mut Output::new(&mut buffer)).is_ok());
            assert!(ack(&message, &message, &mut Output::new(&mut buffer)).is_ok());
            assert!(cancel(&message, b"", &mut Output::new(&mut buffer)).is_ok());
        }
    };
    assert_eq!(allocations(work), 0);
}

#[test]
fn framing_allocates_nothing() {
    let work = || {
        let mut framer = Framer::new();
        for end in 1..=INVITE.len() {
            let expected = if end < INVITE.len() { Frame::Partial } else { Frame::Message(end) };
            assert_eq!(framer.next(&INVITE[..end]), expected);
        }
        assert!(matches!(framer.next(b"GET / HTTP/1.1\r\n"), Frame::Bad { .. }));
    };
    assert_eq!(allocations(work), 0);
}

#[test]
fn the_counter_counts() {
    assert_ne!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))), 0);
}
