//! The small CozyStack that clusters are seeded with (being built).
