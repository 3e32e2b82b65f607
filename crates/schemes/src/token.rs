//! What a scheme obtains and that expires.
