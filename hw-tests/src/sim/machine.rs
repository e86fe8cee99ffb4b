//! QEMU's command line: a q35 machine with an IOMMU and two igb NICs behind root ports of their own, so that the PFs are
//! `0000:01:00.0` and `0000:02:00.0` and their VFs have room on their buses.

use std::path::PathBuf;

use super::accel::Accel;
use super::job;

/// A machine to start.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What runs its instructions.
    pub accel: Accel,
    /// Its memory.
    pub memory_mib: u32,
    /// Its kernel.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initramfs: PathBuf,
    /// The directory shared with it; the sockets of its ports are there too.
    pub dir: PathBuf,
    /// Whether it has a terminal on our standard input and output.
    pub terminal: bool,
}

/// Two: enough for races between CPUs, and what small CI machines have.
const CPUS: u32 = 2;

/// The kernel's command line. A panic ends QEMU at once (`panic=-1` with `-no-reboot`), and an oops is a panic: nothing
/// that runs after it can be trusted.
///
/// The rest of it is for a busy host that emulates. `no_timer_check`: the timer is late, and the kernel would take it for broken
/// and panic (timer_irq_works). `nohz=off highres=off`: now and then a timer interrupt is lost; where the timer is set anew for
/// each event the CPU then sleeps for good, and the next grace period of RCU with it, but a periodic one comes again.
///
/// `slub_debug=- no_debug_objects` is for the debug kernel, where KASAN, kmemleak and lockdep look already: with these two as
/// well a fork takes seconds. Other kernels have neither.
const CMDLINE: &str = "console=ttyS0 loglevel=7 panic=-1 oops=panic intel_iommu=on iommu=pt random.trust_cpu=on \
     no_timer_check nohz=off highres=off slub_debug=- no_debug_objects";

/// The virtio-serial ports, and the console: each is a socket of this name in the run's directory.
pub const CONSOLE: &str = "console";
/// See [`CONSOLE`].
pub const PORTS: [&str; 3] = [job::PORT_EVENTS, job::PORT_STDOUT, job::PORT_STDERR];

impl Machine {
    /// The arguments of QEMU.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut line = Line::default();
        self.board(&mut line);
        self.shares(&mut line);
        self.ports(&mut line);
        nics(&mut line);
        line.0
    }

    fn board(&self, line: &mut Line) {
        line.flag("-nodefaults")
            .flag("-no-user-config")
            .flag("-no-reboot")
            .with("-display", "none");
        line.with("-machine", "q35,kernel-irqchip=split");
        match self.accel {
            Accel::Kvm => line.with("-accel", "kvm").with("-cpu", "host"),
            // Five-level page tables cost time under TCG and give nothing here.
            Accel::Tcg => line.with("-accel", "tcg,thread=multi").with("-cpu", "max,la57=off"),
        };
        line.with("-smp", &CPUS.to_string()).with("-m", &self.memory_mib.to_string());
        line.with("-kernel", &self.kernel.display().to_string())
            .with("-initrd", &self.initramfs.display().to_string());
        line.with("-append", CMDLINE);
        line.with("-device", "intel-iommu,intremap=on");
    }

    fn shares(&self, line: &mut Line) {
        line.with("-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap");
        line.with("-device", &format!("virtio-9p-pci,fsdev=root,mount_tag={}", job::ROOT_TAG));
        line.with(
            "-fsdev",
            &format!("local,id=run,path={},security_model=none", self.dir.display()),
        );
        line.with("-device", &format!("virtio-9p-pci,fsdev=run,mount_tag={}", job::RUN_TAG));
    }

    fn ports(&self, line: &mut Line) {
        self.socket(line, CONSOLE);
        line.with("-serial", &format!("chardev:{CONSOLE}"));
        line.with("-device", "virtio-serial-pci");
        for port in PORTS {
            self.socket(line, port);
            line.with("-device", &format!("virtserialport,chardev={port},name={port}"));
        }
        if self.terminal {
            line.with("-chardev", "stdio,id=terminal,signal=off")
                .with("-device", "virtconsole,chardev=terminal");
        }
    }

    fn socket(&self, line: &mut Line, name: &str) {
        line.with("-chardev", &format!("socket,id={name},path={}", self.dir.join(name).display()));
    }
}

fn nics(line: &mut Line) {
    for bus in [1, 2] {
        line.with(
            "-device",
            &format!(
                "pcie-root-port,id=port{bus},chassis={bus},bus=pcie.0,addr=0x{:x}",
                bus + 0x0f
            ),
        );
        line.with("-device", &format!("igb,bus=port{bus},romfile=,mac=52:54:00:00:0{bus}:00"));
    }
}

#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.to_owned());
        self
    }

    fn with(&mut self, name: &str, value: &str) -> &mut Self {
        self.flag(name).flag(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(accel: Accel, terminal: bool) -> String {
        let machine = Machine {
            accel,
            memory_mib: 1024,
            kernel: "/boot/vmlinuz".into(),
            initramfs: "/cache/initramfs".into(),
            dir: "/tmp/run".into(),
            terminal,
        };
        machine.arguments().join(" ")
    }

    #[test]
    fn the_hosts_root_is_shared_read_only() {
        assert!(
            machine(Accel::Tcg, false)
                .contains("-fsdev local,id=root,path=/,security_model=none,readonly=on")
        );
    }

    #[test]
    fn a_panic_ends_qemu() {
        let line = machine(Accel::Tcg, false);
        assert!(
            line.contains("panic=-1") && line.contains("oops=panic") && line.contains("-no-reboot")
        );
    }

    #[test]
    fn each_nic_sits_behind_a_root_port_of_its_own_in_the_order_of_the_buses() {
        let line = machine(Accel::Tcg, false);
        let places: Vec<_> = ["id=port1", "igb,bus=port1", "id=port2", "igb,bus=port2"]
            .map(|part| line.find(part))
            .into();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{line}");
    }

    #[test]
    fn the_accelerator_decides_the_processor() {
        assert!(machine(Accel::Kvm, false).contains("-accel kvm -cpu host"));
        assert!(machine(Accel::Tcg, false).contains("-accel tcg,thread=multi -cpu max"));
    }

    #[test]
    fn only_a_shell_takes_our_terminal() {
        assert!(machine(Accel::Tcg, true).contains("stdio"));
        assert!(!machine(Accel::Tcg, false).contains("stdio"));
    }
}
