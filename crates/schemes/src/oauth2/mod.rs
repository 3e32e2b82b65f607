//! OAuth 2 messages.
