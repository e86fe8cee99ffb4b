//! A VF is never lost: whatever fails, and wherever the program is killed, the VF ends up as it was.

mod life;
mod scene;
mod words;
