//! The replicated state machine which directory and mailstore share.
