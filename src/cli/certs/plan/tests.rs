//! Plans for every layout of a system, below a root of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::cli::certs::stores::{Programs, look};
use crate::tls::dev::{self, DevCertificates, read_facts};

const BOTH: [Kind; 2] = [Kind::System, Kind::Nss];

/// A machine in a folder, and an authority.
struct Bench {
    dir: TempDir,
    machine: Machine,
    files: DevCertificates,
    certificate: CertificateFacts,
}

impl Bench {
    fn new(os: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hosts: Vec<_> = dev::DEFAULT_HOSTS
            .map(|host| host.parse().unwrap())
            .to_vec();
        let files = dev::make(&dir.path().join("certs"), &hosts, 1, false).unwrap();
        let home = dir.path().join("home/kim");
        let machine = Machine {
            os,
            root: dir.path().into(),
            config_home: Some(home.join(".config")),
            data_home: Some(home.join(".local/share")),
            home: Some(home),
            is_root: false,
            acts_as: (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            ),
            called_by: None,
            programs: Programs::of(dir.path(), Vec::new()),
        };
        let certificate = read_facts(&files.ca_pem).unwrap();
        Self {
            dir,
            machine,
            files,
            certificate,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn folder(&self, path: &str) -> PathBuf {
        fs::create_dir_all(self.path(path)).unwrap();
        self.path(path)
    }

    /// A program that does what this script says.
    fn program(&self, path: &str, script: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Written by another process: one that a test beside this starts may hold our file open for writing, and then it cannot be run.
        let text = self.path("script");
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
        let copied = std::process::Command::new("cp")
            .arg("--remove-destination")
            .args([&text, &path])
            .status();
        assert!(copied.unwrap().success());
        path
    }

    fn trusting(&self, kinds: &[Kind]) -> Plan {
        let authority = Authority {
            certificate: &self.certificate,
            pem: fs::read_to_string(&self.files.ca_pem).unwrap(),
        };
        to_trust(
            &self.machine,
            kinds,
            &authority,
            &look(&self.machine, kinds),
        )
    }

    fn untrusting(&self, fingerprint: Option<&str>) -> Plan {
        let looked = look(&self.machine, &BOTH);
        to_untrust(&self.machine, fingerprint, Some(&self.certificate), &looked)
    }

    fn file_name(&self, extension: &str) -> String {
        let digits = self
            .certificate
            .fingerprint()
            .replace(':', "")
            .to_lowercase();
        format!("sealslot-dev-{}.{extension}", &digits[..16])
    }
}

fn lines(plan: &Plan) -> Vec<String> {
    let steps = plan.changes.iter().flat_map(|change| &change.steps);
    steps.map(ToString::to_string).collect()
}

#[test]
fn every_family_of_systems_is_told_by_its_folders() {
    for (anchors, update, extension, after_removal) in [
        (
            "usr/local/share/ca-certificates",
            "usr/sbin/update-ca-certificates",
            "crt",
            " --fresh",
        ),
        (
            "etc/pki/ca-trust/source/anchors",
            "usr/bin/update-ca-trust",
            "pem",
            "",
        ),
        (
            "etc/ca-certificates/trust-source/anchors",
            "usr/bin/update-ca-trust",
            "crt",
            "",
        ),
        (
            "etc/pki/trust/anchors",
            "usr/sbin/update-ca-certificates",
            "pem",
            "",
        ),
    ] {
        let bench = Bench::new("linux");
        let plan = bench.trusting(&BOTH);
        assert!(
            plan.changes.is_empty() && plan.undone.len() == 1,
            "{plan:?}"
        );
        // The folder alone is not enough: others have it too.
        let anchors = bench.folder(anchors);
        assert_eq!(bench.trusting(&BOTH).undone.len(), 1);
        let update = bench.program(update, "");
        let file = anchors.join(bench.file_name(extension));
        let plan = bench.trusting(&BOTH);
        let (file_line, update) = (file.display(), update.display());
        assert_eq!(
            lines(&plan),
            [format!("write {file_line}"), format!("run {update}")]
        );
        assert!(plan.undone.is_empty() && plan.changes[0].needs_root());
        assert_eq!(bench.trusting(&[Kind::Nss]), Plan::default());

        fs::copy(&bench.files.ca_pem, &file).unwrap();
        let plan = bench.trusting(&BOTH);
        assert!(
            plan.changes.is_empty() && plan.already.len() == 1,
            "{plan:?}"
        );
        assert_eq!(
            lines(&bench.untrusting(None)),
            [
                format!("remove {file_line}"),
                format!("run {update}{after_removal}")
            ]
        );
    }
}

#[test]
fn debian_is_told_in_its_list_what_went() {
    let bench = Bench::new("linux");
    let anchors = bench.folder("usr/local/share/ca-certificates");
    let update = bench.program("usr/sbin/update-ca-certificates", "");
    fs::write(
        bench.folder("etc").join("ca-certificates.conf"),
        "mozilla/A.crt",
    )
    .unwrap();
    let name = bench.file_name("crt");
    fs::copy(&bench.files.ca_pem, anchors.join(&name)).unwrap();
    let plan = bench.untrusting(None);
    let conf = anchors.join("sealslot-dev.conf");
    let Step::Write { path, content, .. } = &plan.changes[0].steps[0] else {
        panic!("{plan:?}");
    };
    assert_eq!(
        (path, content),
        (&conf, &format!("mozilla/A.crt\n!{name}\n"))
    );
    let (anchors, update, conf) = (anchors.display(), update.display(), conf.display());
    assert_eq!(
        lines(&plan)[1..],
        [
            format!("remove {anchors}/{name}"),
            format!("run {update} --certsconf {conf}"),
            format!("remove {conf}")
        ]
    );
}

#[test]
fn untrust_finds_ours_under_every_name_and_nobody_elses() {
    let bench = Bench::new("linux");
    let anchors = bench.folder("usr/local/share/ca-certificates");
    bench.program("usr/sbin/update-ca-certificates", "");
    let other = Bench::new("linux");
    let (own_pem, other_pem) = [&bench, &other]
        .map(|bench| fs::read(&bench.files.ca_pem).unwrap())
        .into();
    fs::write(anchors.join("by-hand.crt"), &own_pem).unwrap();
    fs::write(
        anchors.join("old.p11-kit"),
        [b"[p11-kit-object-v1]\n", &*other_pem].concat(),
    )
    .unwrap();
    fs::write(anchors.join("sealslot-dev-broken.crt"), "").unwrap();
    fs::write(anchors.join("bundle.crt"), [&*own_pem, &other_pem].concat()).unwrap();
    fs::copy(&bench.files.server_pem, anchors.join("server.crt")).unwrap();
    fs::write(anchors.join("company.crt"), "no PEM").unwrap();
    let removed = |plan: &Plan| -> Vec<String> {
        let files = lines(plan)
            .into_iter()
            .filter_map(|line| Some(line.strip_prefix("remove ")?.rsplit_once('/')?.1.to_owned()));
        files.collect()
    };
    let all = ["by-hand.crt", "old.p11-kit", "sealslot-dev-broken.crt"];
    assert_eq!(removed(&bench.untrusting(None)), all);
    let one = bench.untrusting(Some(&other.certificate.fingerprint()));
    assert_eq!(removed(&one), ["old.p11-kit"]);
    let none = bench.untrusting(Some(&"00:".repeat(32)));
    assert!(none.changes.is_empty());
}

#[test]
fn databases_of_all_browsers_are_found_and_one_is_made_for_chromium() {
    let bench = Bench::new("linux");
    let home = "home/kim";
    for profile in [
        ".mozilla/firefox/a.default",
        ".config/mozilla/firefox/b",
        "snap/firefox/common/.mozilla/firefox/c",
        ".var/app/org.mozilla.firefox/.mozilla/firefox/d",
        "snap/chromium/current/.pki/nssdb",
    ] {
        let folder = bench.folder(&format!("{home}/{profile}"));
        fs::write(folder.join("cert9.db"), "").unwrap();
    }
    // No database yet, and another user's.
    bench.folder("home/kim/.mozilla/firefox/empty");
    let others = bench.folder("home/lee/.mozilla/firefox/x");
    fs::write(others.join("cert9.db"), "").unwrap();
    let plan = bench.trusting(&[Kind::Nss]);
    assert!(
        plan.changes.is_empty() && plan.undone[0].contains("libnss3-tools"),
        "{plan:?}"
    );

    let certutil = bench.program("usr/bin/certutil", "");
    let plan = bench.trusting(&[Kind::Nss]);
    assert_eq!(plan.changes.len(), 5);
    assert!(
        plan.changes
            .iter()
            .all(|change| change.steps.len() == 1 && !change.needs_root())
    );
    let name = bench.certificate.our_name().unwrap();
    let database = bench.path("home/kim/.mozilla/firefox/a.default");
    let first = format!(
        "run {} -d sql:{} -A -a -t C,, -n '{name}'",
        certutil.display(),
        database.display()
    );
    let shown = lines(&plan)[0].replace('\'', "");
    assert_eq!(shown, first.replace('\'', ""));

    fs::remove_dir_all(bench.path("home/kim/snap/chromium")).unwrap();
    assert_eq!(
        bench.trusting(&[Kind::Nss]).changes.len(),
        4,
        "there is no Chromium"
    );
    bench.program("usr/bin/chromium", "");
    let plan = bench.trusting(&[Kind::Nss]);
    let made = plan.changes.last().unwrap();
    assert_eq!(made.steps.len(), 3);
    assert_eq!(
        made.steps[0],
        Step::CreateFolder(bench.path("home/kim/.pki/nssdb"))
    );
}

#[test]
fn what_is_in_databases_is_seen_and_taken_out() {
    let bench = Bench::new("linux");
    let folder = bench.folder("home/kim/.pki/nssdb");
    fs::write(folder.join("cert9.db"), "").unwrap();
    let name = bench.certificate.our_name().unwrap().to_owned();
    let pem = bench.files.ca_pem.display();
    let script = format!("case \"$*\" in *-a*) cat '{pem}' ;; *) echo '{name}   C,,  ' ;; esac");
    bench.program("bin/certutil", &script);
    let plan = bench.trusting(&[Kind::Nss]);
    assert!(
        plan.changes.is_empty() && plan.already.len() == 1,
        "{plan:?}"
    );
    let plan = bench.untrusting(None);
    assert_eq!(plan.changes.len(), 1);
    assert!(lines(&plan)[0].contains(" -D -n "), "{plan:?}");
    // A database that cannot be read is no empty one.
    bench.program("bin/certutil", "echo broken >&2; exit 1");
    let undone = bench.untrusting(None).undone;
    assert!(
        undone.iter().any(|undone| undone.ends_with(": broken")),
        "{undone:?}"
    );
}

#[test]
fn of_several_with_one_name_all_go_or_none() {
    let bench = Bench::new("linux");
    let folder = bench.folder("home/kim/.pki/nssdb");
    fs::write(folder.join("cert9.db"), "").unwrap();
    let other = Bench::new("linux");
    let name = bench.certificate.our_name().unwrap();
    let (own, others) = (bench.files.ca_pem.display(), other.files.ca_pem.display());
    let script =
        format!("case \"$*\" in *-a*) cat '{own}' '{others}' ;; *) echo '{name}   C,,  ' ;; esac");
    bench.program("bin/certutil", &script);
    let one = bench.untrusting(Some(&bench.certificate.fingerprint()));
    assert!(one.changes.is_empty(), "{one:?}");
    let said = one
        .undone
        .iter()
        .find(|undone| undone.contains("2 certificates"));
    assert!(said.unwrap().contains(&bench.certificate.fingerprint()));
    let all = bench.untrusting(None);
    assert_eq!((all.changes.len(), all.changes[0].steps.len()), (1, 2));
}

#[test]
fn databases_of_others_are_left_alone() {
    let mut bench = Bench::new("linux");
    let folder = bench.folder("home/kim/.pki/nssdb");
    fs::write(folder.join("cert9.db"), "").unwrap();
    let ran = bench.path("ran");
    bench.program("bin/certutil", &format!("touch '{}'", ran.display()));
    bench.program("usr/bin/chromium", "");
    let mode = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    let plan = bench.trusting(&[Kind::Nss]);
    assert!(plan.undone[0].contains("others can write"), "{plan:?}");
    mode(0o700);

    bench.machine.called_by = Some("lee".to_owned());
    assert!(bench.machine.barred().unwrap().contains("sudo for lee"));
    assert_eq!(bench.trusting(&[Kind::Nss]), Plan::default());
    bench.machine.called_by = None;
    bench.machine.acts_as.0 += 1;
    assert!(bench.machine.barred().unwrap().contains("another user's"));
    assert_eq!(bench.trusting(&[Kind::Nss]), Plan::default());
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(bench.trusting(&[Kind::Nss]), Plan::default());
    assert!(!ran.exists());
}

#[test]
fn other_systems_have_commands_of_their_own() {
    let sha1 = |bench: &Bench| bench.certificate.sha1();
    let bench = Bench::new("macos");
    let plan = bench.trusting(&[Kind::System]);
    let keychain = "/Library/Keychains/System.keychain";
    assert_eq!(
        lines(&plan),
        [format!(
            "run /usr/bin/security add-trusted-cert -d -r trustRoot -k {keychain} (a copy of the certificate above)"
        )]
    );
    assert!(plan.changes[0].needs_root());
    let Step::RunOnCopy { content, .. } = &plan.changes[0].steps[0] else {
        panic!("{plan:?}");
    };
    assert_eq!(*content, fs::read_to_string(&bench.files.ca_pem).unwrap());

    let bench = Bench::new("windows");
    let program = r"'C:\Windows\System32\certutil.exe'";
    let plan = bench.trusting(&BOTH);
    assert_eq!(
        lines(&plan),
        [format!(
            "run {program} -user -addstore Root (a copy of the certificate above)"
        )]
    );
    assert!(!plan.changes[0].needs_root());
    let plan = bench.untrusting(None);
    assert_eq!(
        lines(&plan),
        [format!(
            "run {program} -user -delstore Root {}",
            sha1(&bench)
        )]
    );
}

#[test]
fn what_sudo_runs_gets_the_certificate_that_was_checked() {
    let step = Step::Write {
        path: "/usr/local/share/ca-certificates/a b.crt".into(),
        content: "PEM".into(),
        as_root: true,
    };
    let (program, arguments, input) =
        crate::cli::certs::execute::with_sudo(&step, Path::new("/usr/bin/sudo"), false);
    assert_eq!(
        command_line(&program, &arguments),
        "/usr/bin/sudo -n -- /usr/bin/install -m 0644 -T /dev/stdin '/usr/local/share/ca-certificates/a b.crt'"
    );
    assert_eq!(input, "PEM");
}
