//! `serve`: loads or, in development, makes what the server needs, then runs it until it is told to stop.

mod acme;
mod authority;
mod certificate;
mod development;
mod node;
mod observers;
mod poll;
mod recipient_files;
mod renewal;
mod shared_upkeep;
mod store;
mod token_files;
mod upkeep;
mod welcome;

use std::fs::File;
use std::io::{self, IsTerminal, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use zeroize::Zeroizing;

use super::exit::{Exit, Failure};
use super::passphrase::PassphraseArgs;
use crate::acme::Acme;
use crate::config::{Config, ConfigError, LogLevel, ServeArgs, Setup};
use crate::grant::{Links, Tokens};
use crate::http::{Access, App, Logo, MAX_LOGO, Pages, Surface};
use crate::keys::{self, NamedRecipient};
use crate::seal::Identity;
use crate::server::{self, Listener};
use crate::store::LocalStore;
use crate::tls::ServerTls;
use crate::upload::Uploads;
use node::Node;
use observers::Observers;
use recipient_files::RecipientFiles;
use renewal::Renewal;
use token_files::TokenFiles;
use upkeep::Upkeep;

/// How long work that blocks may go on when everything else has ended.
const LAST_WORK: Duration = Duration::from_secs(5);
/// Open files that go to other things than uploads and connections: listeners, the log, folders, and what is looked at now and then.
const OTHER_FILES: usize = 64;
/// How often the files of the certificate and of the tokens are looked at.
const FILE_WATCH: Duration = Duration::from_secs(2);

/// Take in uploads over TLS and keep them sealed
///
/// With nothing configured it listens on loopback and makes what is missing: a certificate, a key, an admin token. On
/// an address that other machines can reach it makes nothing up. Every setting is also an environment variable and a
/// key of sealslot.toml; what stands on the command line wins.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot serve
  sealslot serve --listen 0.0.0.0:443 --certs /etc/sealslot/certs --recipient identity.pem.pub --data /var/lib/sealslot
  sealslot serve --recipient identity.pem.pub --store s3://uploads/sealslot --store-endpoint https://s3.example.org")]
pub(super) struct ServeCommand {
    #[command(flatten)]
    settings: ServeArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs `serve`.
pub(super) fn run(command: ServeCommand) -> Result<(), Failure> {
    let passphrase = command.passphrase.given()?;
    let config = command.settings.resolve()?;
    start_log(config.log);
    log_panics_without_their_words();
    let config = within_open_files(config);
    if cfg!(feature = "audit-seals") {
        tracing::warn!("a build for tests of Sealslot itself: not safe for use");
    }
    // The lock on the data folder comes first: nothing is made where another server is at work.
    let (config, store) = store::open(config)?;
    let keys = Keys::load(&config, passphrase.as_ref())?;
    let (token_files, access) = access(&config, Tokens::new(Arc::clone(&store) as _))?;
    let logo = config.page_logo.as_deref().map(logo).transpose()?;
    let acme = acme::open(&config)?;
    let mut renewal = Renewal::of(certificate::folder(&config));
    let tls = Arc::new(certificate::load(&config, &mut renewal)?);
    let links = Links::new(Arc::clone(&store) as _);
    let node = Node::of(&store);
    let observers = Observers::open(&config, &store, node.as_ref().map(|node| node.id()))?;
    let uploads = Uploads::new(
        store,
        keys.recipients,
        keys.identities,
        config.sessions.clone(),
    );
    let uploads = uploads.observed_by(observers.observer());
    if node.is_none() {
        // Before anything more is taken: what a crash left of what links have reserved. Where there are others they may be at it.
        uploads.reconcile(SystemTime::now(), true);
    }
    let mut app = App::new(
        Arc::new(uploads),
        links,
        access,
        config.limits.clone(),
        config.cors_origins.clone(),
        Pages::new(config.page.clone(), logo),
        !config.development,
    );
    observers.attach(&mut app);
    certificate::attach(&tls, acme.clone(), &mut app);
    app.node = node.as_ref().map(|node| node.status());
    let upkeep = Upkeep {
        node: node.clone(),
        webhooks: observers.webhooks(),
        lifetime: config.sessions.upload_lifetime,
    };
    let runtime = super::runtime()?;
    let beside = (token_files, keys.recipient_files, renewal, upkeep);
    let served = runtime.block_on(observers.during(serve(&config, tls, acme, app, beside)));
    // What blocks still, like reading a large upload back, is not waited for: nobody is told of it.
    runtime.shutdown_timeout(LAST_WORK);
    observers.close();
    if let Some(node) = node {
        node.leave();
    }
    served
}

/// Logs what Sealslot does at the level asked for. Its libraries are held at warnings, whatever is asked for: at finer
/// levels they write out headers, and with them the names of files.
fn start_log(level: LogLevel) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("sealslot", level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // Whoever embeds the library may have set one up already: theirs stays.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(targets)
        .try_init();
}

/// A panic's message may hold anything, even a client's name; where it happened does not.
fn log_panics_without_their_words() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "a defect in Sealslot: please report it");
    }));
}

/// Asks for all the open files that this process may have, and takes no more connections than they allow.
fn within_open_files(mut config: Config) -> Config {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    // What a store on the disk has open; one in a bucket has less.
    let uploads = LocalStore::OPEN_FILES_PER_UPLOAD * config.limits.max_uploads;
    let others = (uploads + LocalStore::OPEN_FILES_BESIDE + OTHER_FILES) as u64;
    let left = files.map_or(u64::MAX, |files| {
        files.saturating_sub(others).max(files / 4)
    });
    let fitting = usize::try_from(left).unwrap_or(usize::MAX);
    if fitting < config.connections.max_connections {
        tracing::warn!(
            open_files = files,
            max_connections = fitting,
            "too few open files are allowed for all connections: raise the limit (ulimit -n, LimitNOFILE=)"
        );
        let connections = &mut config.connections;
        connections.max_connections = fitting.max(1);
        connections.max_handshakes = connections.max_handshakes.min((fitting / 4).max(64));
    }
    config
}

async fn serve(
    config: &Config,
    tls: Arc<ServerTls>,
    acme: Option<Arc<Acme>>,
    mut app: App,
    (token_files, recipient_files, renewal, upkeep): (TokenFiles, RecipientFiles, Renewal, Upkeep),
) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let (listener, address) = bind(config.listen, config.http3).await?;
    let operations = match config.metrics_listen {
        Some(address) => Some(bind(address, false).await?),
        None => None,
    };
    let plain = match config.http_listen {
        Some(address) => Some(acme::bind_plain(address).await?),
        None => None,
    };
    stop_on_signals(stop.clone())?;
    app.pages.welcome = (config.setup == Setup::MadeUp).then(|| welcome::welcome(config, address));
    if config.ca_page {
        app.pages.authority = Some(authority::page(config, address)?);
    }
    let app = Arc::new(app);
    let mut beside = upkeep.begin(&app);
    beside.spawn(Arc::clone(&tls).watch(FILE_WATCH));
    beside.spawn(renewal.keep());
    beside.spawn(token_files.watch(Arc::clone(&app), FILE_WATCH));
    beside.spawn(recipient_files.watch(Arc::clone(&app.uploads), FILE_WATCH));
    welcome::announce(config, address, &app);
    if let Some(page) = &app.pages.authority {
        authority::announce(page);
    }
    let run = |listener, surface| {
        let (tls, app) = (Arc::clone(&tls), Arc::clone(&app));
        server::serve(
            listener,
            surface,
            tls,
            app,
            config.connections.clone(),
            config.peers.clone(),
            stop.clone(),
        )
    };
    let plain = plain.map(|plain| {
        let tls = Arc::clone(&tls);
        acme::answer_plain(plain, config, address.port(), acme.as_deref(), tls, &stop)
    });
    if let Some(acme) = acme {
        beside.spawn(acme.run(tls.challenges().clone()));
    }
    let public = run(listener, Surface::Public);
    match operations {
        Some((listener, address)) => {
            tracing::info!(%address, "serving health, readiness and metrics");
            tokio::join!(public, run(listener, Surface::Operations));
        }
        None => public.await,
    }
    if let Some(plain) = plain {
        // It ends by itself, soon.
        let _ = plain.await;
    }
    drop(beside);
    Ok(())
}

async fn bind(address: SocketAddr, http3: bool) -> Result<(Listener, SocketAddr), Failure> {
    let bound = Listener::bind(address, http3).await;
    bound.map_err(|error| cannot_listen(address, "--listen", &error))
}

fn cannot_listen(address: SocketAddr, setting: &str, error: &io::Error) -> Failure {
    let hint = format!("is another server there? choose another address with {setting}");
    Failure::new(
        Exit::Other,
        format_args!("cannot listen on {address}: {error}; {hint}"),
    )
}

/// SIGTERM and SIGINT stop the server in order; a second one at once.
fn stop_on_signals(stop: CancellationToken) -> Result<(), Failure> {
    let failed = |error| {
        Failure::new(
            Exit::Other,
            format_args!("cannot wait for signals: {error}"),
        )
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(i32::from(Exit::Other.code()));
            }
            tracing::info!("stopping: requests under way may finish; a second signal ends them");
            stop.cancel();
        }
    });
    Ok(())
}

/// The keys that the server works with.
struct Keys {
    recipients: Vec<NamedRecipient>,
    recipient_files: RecipientFiles,
    identities: Vec<Identity>,
}

impl Keys {
    fn load(config: &Config, passphrase: Option<&Zeroizing<String>>) -> Result<Self, Failure> {
        let mut files = config.identities.clone();
        if config.development && config.recipients.is_empty() && files.is_empty() {
            files.push(development::make_dev_key(&config.data)?);
        }
        let (recipient_files, mut recipients) = RecipientFiles::read(&config.recipients)?;
        let mut identities = Vec::new();
        for file in &files {
            let mut ask = |path: &Path| PassphraseArgs::ask(passphrase, path);
            identities.extend(keys::read_identities(file, &mut ask)?);
        }
        if recipients.is_empty() {
            let own = identities
                .iter()
                .filter_map(Identity::to_recipient)
                .map(|recipient| NamedRecipient::new(recipient, ""));
            recipients.extend(own);
        }
        keys::check_together(&recipients)?;
        Ok(Self {
            recipients,
            recipient_files,
            identities,
        })
    }
}

/// Who may do what; on loopback an admin token is made where none is named.
fn access(config: &Config, tokens: Tokens) -> Result<(TokenFiles, Access), Failure> {
    let mut admins = config.admin_token_file.clone();
    if admins.is_none() && config.development {
        admins = Some(development::make_dev_token(&config.data)?);
    }
    let files = TokenFiles::new(admins, config.upload_token_file.clone());
    let access = files.access(tokens, config.anonymous)?;
    Ok((files, access))
}

/// The page's logo. Of a file that is too large, only as much is read as tells it.
fn logo(path: &Path) -> Result<Logo, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_LOGO as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::io("read", path, &error))?;
    Logo::new(bytes).map_err(|error| Failure::from_error(Exit::Other, &error).about(path.display()))
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let exit = match error {
            ConfigError::Read { .. } | ConfigError::Data(_) => Exit::Other,
            _ => Exit::Usage,
        };
        Self::from_error(exit, &error)
    }
}
