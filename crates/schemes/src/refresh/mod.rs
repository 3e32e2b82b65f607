//! The refresh protocol as a state machine (see docs/ARCHITECTURE.md).
