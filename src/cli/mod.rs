//! (in work)

pub mod doctor;
