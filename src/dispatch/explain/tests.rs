//! Explanations of a table without a gateway.
