//! Who owns a rolling tag: the guard against moving one backwards.
//!
//! Pure. Registries can't compare and swap, so two runs may cross. What decides is therefore not who wrote last but
//! which exact tags exist: every run writes its exact tags before it touches a rolling one, so that whichever run looks
//! last sees the other's.
