//! The throwaway servers behind `scripts/control-plane`.
