//! Timers that are due (RFC 3261 §17, RFC 6026).

use switchtender_select::{Nodes, Time};

use crate::core::{Core, Step};
use crate::counters::Counter;
use crate::output::Output;
use crate::slab::Handle;
use crate::transaction::{Cancel, Client, ClientState, ClientTimer, Due, Server, ServerState, ServerTimer, T2};

impl Core {
    pub(crate) fn expire<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>) {
        self.changing = true;
        while let Some((due, key)) = self.timers.pop_due(step.now) {
            match key {
                Due::Waiting => self.look_at_waiting(step),
                Due::Records => self.look_at_records(step),
                Due::Client(handle, timer) => {
                    if self
                        .clients
                        .get_mut(handle)
                        .is_some_and(|client| take(&mut client.deadlines[timer as usize], due))
                    {
                        self.on_client_timer(step, handle, timer);
                    }
                }
                Due::Server(handle, timer) => {
                    if self
                        .servers
                        .get_mut(handle)
                        .is_some_and(|server| take(&mut server.deadlines[timer as usize], due))
                    {
                        self.on_server_timer(step, handle, timer);
                    }
                }
            }
        }
    }

    fn on_client_timer<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle, timer: ClientTimer) {
        match timer {
            ClientTimer::Retransmit => self.retransmit(step, handle),
            ClientTimer::Timeout => self.on_silence(step, handle),
            ClientTimer::Patience => self.on_patience_lost(step, handle),
            ClientTimer::C => self.on_timer_c(step, handle),
            ClientTimer::End => {
                if self.clients.get(handle).is_some_and(Client::is_pending) {
                    self.on_silence(step, handle);
                } else {
                    self.free_client(step, handle);
                }
            }
        }
    }

    /// Timers A and E: doubled each time, without bound for INVITE (Timer B ends it), up to T2 for all else.
    fn retransmit<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle) {
        let Some(client) = self.clients.get_mut(handle) else { return };
        let cancelling = client.cancel == Cancel::Sent;
        let doubled = client.interval * 2;
        client.interval = if client.is_invite() && !cancelling { doubled } else { doubled.min(T2) };
        let interval = client.interval;
        self.count(Counter::Retransmitted);
        if cancelling {
            self.transmit_cancel(step, handle);
        } else {
            self.transmit(step, handle);
        }
        self.set_client_timer(step.now, handle, ClientTimer::Retransmit, interval);
    }

    fn on_server_timer<N: Nodes, O: Output>(&mut self, step: &mut Step<'_, N, O>, handle: Handle, timer: ServerTimer) {
        let Some(server) = self.servers.get_mut(handle) else { return };
        match timer {
            // Timer G: the ACK is late.
            ServerTimer::Retransmit => {
                server.interval = (server.interval * 2).min(T2);
                let interval = server.interval;
                self.count(Counter::Retransmitted);
                self.transmit_response(step, handle);
                self.set_server_timer(step.now, handle, ServerTimer::Retransmit, interval);
            }
            // Timer H, I, J or L.
            ServerTimer::End => {
                server.deadlines = [None; ServerTimer::ALL.len()];
                self.buffers.release(&mut server.response);
                self.set_server_state(handle, ServerState::Terminated);
                self.free_server_if_over(step, handle);
            }
        }
    }

    /// Whether every transaction has a timer that leads to its end; see [`crate::Proxy::check_invariants`].
    pub(crate) fn waits_for_something(server: &Server) -> bool {
        match server.state {
            ServerState::Proceeding => server.current.is_some() || server.waiting,
            ServerState::Completed | ServerState::Confirmed | ServerState::Accepted => {
                server.deadlines[ServerTimer::End as usize].is_some()
            }
            ServerState::Terminated => server.has_clients(),
        }
    }

    /// The timer that ends a client transaction if nothing else does.
    pub(crate) fn end_of(client: &Client) -> Option<Time> {
        let timer = |timer: ClientTimer| client.deadlines[timer as usize];
        match client.state {
            ClientState::Proceeding if client.is_invite() => timer(ClientTimer::C).or(timer(ClientTimer::End)),
            ClientState::Calling | ClientState::Proceeding => timer(ClientTimer::Timeout),
            ClientState::Completed | ClientState::Accepted => timer(ClientTimer::End),
        }
    }
}

/// Whether `due` is the time that is waited for, which it then is no more; else that timer was cancelled or set anew.
fn take(deadline: &mut Option<Time>, due: Time) -> bool {
    let meant = *deadline == Some(due);
    if meant {
        *deadline = None;
    }
    meant
}
