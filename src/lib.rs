//! Publish variants of a tool's scratch image: one step, one digest per variant.
