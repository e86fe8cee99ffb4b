//! Exit codes of `hw-tests sim`. The command's own code passes through, so ours lie where few programs have theirs.

/// The command line was wrong.
pub const USAGE: u8 = 120;
/// The node could not be prepared: no kernel, no QEMU, nicsim does not compile.
pub const FAILED: u8 = 121;
/// QEMU ended before the guest said what became of the command.
pub const QEMU: u8 = 122;
/// The guest's kernel panicked or had an oops.
pub const PANIC: u8 = 123;
/// The command took longer than `--timeout`; the code timeout(1) has for it.
pub const TIMEOUT: u8 = 124;
/// The guest stopped answering, or never came up.
pub const HANG: u8 = 125;
/// The command exists but cannot be run, as in a shell.
pub const CANNOT_EXEC: u8 = 126;
/// The command does not exist, as in a shell.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended the command, as in a shell.
pub const SIGNAL_BASE: u8 = 128;

/// The table above, for `--help`.
pub const HELP: &str = "\
Exit codes of `sim run` and `sim shell`: the command's own, or
  120  wrong command line
  121  the node could not be prepared
  122  QEMU ended unexpectedly
  123  kernel panic or oops in the guest
  124  time-out
  125  the guest hangs
  126  the command cannot be run
  127  the command is not found
  128+N  the command was ended by signal N";
