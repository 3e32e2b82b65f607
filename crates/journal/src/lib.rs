//! The journal: what was about to be done with a secret, on disk before it is done.
