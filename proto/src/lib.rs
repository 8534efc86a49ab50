//! Calls between roles: protobuf packages and the two transports.
