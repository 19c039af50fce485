//! A worker's way of moving datagrams, for programs that are measured against it or that measure it: the same sockets,
//! batches and waiting, and nothing of SIP.

pub use crate::sys::{
    BATCH, Complaint, Epoll, Flushed, Ready, ReceiveBatch, Received, SendBatch, SendFailure, UdpSocket, monotonic,
    next_complaint, pin_to_cpu,
};
