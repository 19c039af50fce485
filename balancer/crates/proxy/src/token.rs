//! The token in the user part of our Record-Route and Path URIs: all that an in-dialog request needs to be routed, by any
//! worker of any replica, with no table.
//!
//! It is encrypted and authenticated with AES-SIV (RFC 5297), so whoever carries it can neither read nor change it.
//! Sealing is deterministic (no nonce, no randomness): one token has one text under one key, on every replica. The text is
//! base64url without padding, whose alphabet needs no escaping in a user part (RFC 3261 §25.1 *unreserved*).
//!
//! This module knows no message: it is handed the few fields it binds, and says nothing on where to send what.
