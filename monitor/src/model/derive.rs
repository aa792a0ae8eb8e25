//! Figures from a read segment.
