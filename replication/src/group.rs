//! A node's part in its groups: takes proposals, makes them durable, applies them.
