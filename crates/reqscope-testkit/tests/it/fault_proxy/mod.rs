//! What both ends of a connection see, each fault in turn. Nothing here waits for time to pass: a test waits for what
//! the proxy has counted, or for the next thing that an end sees. "Nothing" is shown by what comes after it: who sees a
//! reset first has seen no FIN before.
mod ends;
mod faults;
mod faithful;
mod script;
mod which;
