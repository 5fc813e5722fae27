//! What guests are made of, checked without running any: the hostile components as text.
//! Running them is the engine's test.

#[cfg(test)]
mod hostile;
