//! An Open vSwitch of the test's own: a database and a switch with a dummy datapath in a temporary directory. It needs
//! no privileges and touches nothing of the machine.

#![expect(clippy::panic, reason = "a test that panics has failed")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Set this where there is no Open vSwitch and its tests shall be left out.
const SKIP: &str = "LINERATE_WITHOUT_OVS";

pub(crate) struct PrivateOvs {
    directory: TempDir,
    servers: Vec<Child>,
}

impl PrivateOvs {
    /// Starts one; `None` where Open vSwitch is missing and that was said to be all right.
    pub(crate) fn start() -> Option<PrivateOvs> {
        if std::env::var_os(SKIP).is_some() {
            eprintln!("{SKIP} is set: not tested against Open vSwitch");
            return None;
        }
        assert!(
            Path::new(SCHEMA).exists(),
            "install openvswitch-switch to run this test, or set {SKIP}=1 to leave it out"
        );
        let mut ovs = PrivateOvs { directory: TempDir::new().unwrap(), servers: Vec::new() };
        ovs.run("ovsdb-tool", &["create", &ovs.path("conf.db"), SCHEMA]);
        ovs.spawn(
            "ovsdb-server",
            &[&ovs.path("conf.db"), &format!("--remote=punix:{}", ovs.path("db.sock"))],
        );
        ovs.wait_for("db.sock");
        ovs.run("ovs-vsctl", &["--no-wait", "init"]);
        let database = format!("unix:{}", ovs.path("db.sock"));
        let dummy = ["--enable-dummy=override", "--disable-system", "--disable-system-route"];
        ovs.spawn("ovs-vswitchd", &[&[database.as_str()], dummy.as_slice()].concat());
        Some(ovs)
    }

    /// One with a bridge `br0` that has the ports `p1` to `p4`.
    pub(crate) fn with_bridge() -> Option<PrivateOvs> {
        let ovs = PrivateOvs::start()?;
        ovs.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure");
        for port in 1..=4 {
            ovs.vsctl(&format!(
                "add-port br0 p{port} -- set interface p{port} type=dummy ofport_request={port}"
            ));
        }
        ovs.wait_for("br0.mgmt");
        Some(ovs)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }

    pub(crate) fn bridge_socket(&self, bridge: &str) -> PathBuf {
        self.directory.path().join(format!("{bridge}.mgmt"))
    }

    pub(crate) fn database_socket(&self) -> PathBuf {
        self.directory.path().join("db.sock")
    }

    /// Runs `ovs-vsctl` with these words.
    pub(crate) fn vsctl(&self, arguments: &str) -> String {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        self.run("ovs-vsctl", &words)
    }

    /// What `ovsdb-client dump` prints.
    pub(crate) fn database_dump(&self) -> String {
        self.run(
            "ovsdb-client",
            &["dump", &format!("unix:{}", self.path("db.sock")), "Open_vSwitch"],
        )
    }

    /// Runs `ovs-ofctl` in OpenFlow 1.5 with these arguments.
    pub(crate) fn ofctl(&self, arguments: &[&str]) -> String {
        self.ofctl_in("OpenFlow15", arguments)
    }

    /// Runs `ovs-ofctl` in a version of OpenFlow.
    pub(crate) fn ofctl_in(&self, version: &str, arguments: &[&str]) -> String {
        self.run("ovs-ofctl", &[&["-O", version], arguments].concat())
    }

    /// Runs `ovs-appctl` on the switch with these words.
    pub(crate) fn appctl(&self, words: &str) -> String {
        let target = self.path("ovs-vswitchd.ctl");
        let words: Vec<&str> = words.split_whitespace().collect();
        self.run("ovs-appctl", &[&["-t", target.as_str()], words.as_slice()].concat())
    }

    /// OVS's runtime directory.
    pub(crate) fn run_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Loads rules, one a line.
    pub(crate) fn add_flows(&self, bridge: &str, rules: &str) {
        std::fs::write(self.path("rules"), rules).unwrap();
        self.ofctl(&["add-flows", bridge, &self.path("rules")]);
    }

    /// What `ovs-ofctl` shows in a version of OpenFlow; `None` when that version cannot say it.
    pub(crate) fn shown_in(&self, version: &str, arguments: &[&str]) -> Option<String> {
        self.output("ovs-ofctl", &[&["-O", version], arguments].concat()).ok()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let answer = self.output(program, arguments);
        answer.unwrap_or_else(|errors| panic!("{program} {arguments:?}: {errors}"))
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command(program);
        let output = command.args(self.database_option(program)).args(arguments).output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn database_option(&self, program: &str) -> Option<String> {
        (program == "ovs-vsctl").then(|| format!("--db=unix:{}", self.path("db.sock")))
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let control = format!("--unixctl={}", self.path(&format!("{program}.ctl")));
        let log = format!("--log-file={}", self.path(&format!("{program}.log")));
        let mut command = self.command(program);
        command.args(arguments).args([control, log]).args(["-vconsole:off"]);
        self.servers.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.directory.path());
        }
        command
    }

    fn wait_for(&self, socket: &str) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.directory.path().join(socket).exists() {
            assert!(Instant::now() < deadline, "Open vSwitch made no {socket}");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for PrivateOvs {
    fn drop(&mut self) {
        for server in &mut self.servers {
            drop(server.kill());
            drop(server.wait());
        }
    }
}
