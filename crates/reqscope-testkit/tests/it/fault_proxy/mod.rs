//! What both ends of a connection see, for each fault. No test waits for real time: it waits for a counter of the proxy,
//! or for the next thing that an end sees. That an end sees nothing is shown by what it sees next: one that sees a reset
//! first has seen no FIN before.
//!
//! A paused clock advances while the tests wait for sockets, whose data a busy machine may deliver late. So it is paused
//! only after the data has arrived.
mod ends;
mod faults;
mod faithful;
mod script;
mod which;
