//! Real registries and a validated stand-in for GitHub, started on loopback for tests and for the demo.
