//! Flux's helm-controller and the stand-in for its source-controller (being built).
