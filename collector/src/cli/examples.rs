//! What stands below the options in `--help`. Lines of examples fit 80 columns; clap wraps the
//! paragraphs.

/// Adds the rules that hold for every command.
macro_rules! with_rules {
    ($text:literal) => {
        concat!(
            $text,
            "\n\nEvery option is also an environment variable: TARE_ and the option's name in \
             capitals, with _ for -, such as TARE_LOG_LEVEL=debug. The command line wins.\n\n\
             Exit codes: 0 success, 1 failure, 2 wrong usage."
        )
    };
}

pub(super) const TARE: &str = with_rules!(
    "Examples:
  tare stats                          live table of all containers
  tare stats --no-stream --sort cpu   one table, busiest container first
  tare top                            full-screen view with keys and mouse
  tare snapshot                       one page for an incident
  tare budget limits.toml             exit with 1 if a container is over its limits
  tare doctor                         what works on this host and what does not
  tare run                            daemon; http://127.0.0.1:9753/metrics"
);

pub(super) const STATS: &str = with_rules!(
    "Examples:
  tare stats web db                       two containers, by name or id
  tare stats --filter 'image=*nginx*'     containers of an image
  tare stats --columns +throttled,+swap   the usual columns and two more
  tare stats --columns help               all columns and placeholders
  tare stats --no-stream --format 'table {{.Name}}\\t{{.CPUPerc}}'
                                          a table from a template
  tare stats --ended                      containers that ended
  tare stats --format json | jq .         one JSON object per second

Templates take the placeholders of `docker stats` and more ({{.Name}}; `--columns help` lists all), \
     Docker's functions (join, json, lower, pad, split, title, truncate, upper), pipelines \
     ({{.Name | upper}}), \\t and \\n. {{json .}} writes the object that Docker writes.

Filter keys: id (a prefix); label and env (KEY or KEY=VALUE); state (running, frozen or ended); \
     name, image, runtime, pod and namespace (with the wildcards * and ?). Filters with different keys \
     must all match. Of several filters with the same key one must match, but every label and env \
     filter must match."
);

pub(super) const SNAPSHOT: &str = with_rules!(
    "Examples:
  tare snapshot                           rates over one second
  tare snapshot --window 10s web db       two containers, over ten seconds
  tare snapshot --window 0                at once: totals only, no rates
  tare snapshot --output now.json.zst     the page, and all data in a file
  tare snapshot --read now.json.zst       the page of that file
  zstdcat now.json.zst | tare snapshot --read - --format json | jq .

The page has a section only for what stands out: containers close to a limit, throttled, out of \
     memory, waiting, with slow block I/O or retransmits. Nothing stays in the kernel afterwards."
);

pub(super) const DIFF: &str = with_rules!(
    "Examples:
  tare snapshot --window 10s --output before.json.zst
  tare snapshot --window 10s --output after.json.zst
  tare diff before.json.zst after.json.zst            what changed by 10 % or more
  tare diff before.json.zst after.json.zst web db     two containers
  tare diff load.tare@03:00 load.tare@03:12           two instants of a recording

Containers are the same if their ids are, or else if their names are: a container that was made \
     anew is compared with its predecessor."
);

pub(super) const BUDGET: &str = with_rules!(
    "Examples:
  tare budget limits.toml                             watch for 10 s
  tare budget limits.toml --format junit -- make load-test
                                                      watch while a command runs
  tare budget limits.toml --read now.json.zst         check a saved snapshot
  tare budget limits.toml --replay load.tare          check a recording
  tare budget help                                    what can be limited

A file:
  [[budget]]
  containers = \"web-*\"                # names, with * and ?
  cpu_percent = 80
  memory_peak_bytes = \"256MiB\"
  block_write_p99_seconds = \"20ms\"
  optional = true                     # no failure if there is no such container

A value that is unknown is a failure, too. Containers that end while `tare` watches are checked with \
     their last totals."
);

pub(super) const TOP: &str = with_rules!(
    "Examples:
  tare top                      all containers, busiest first
  tare top --sort memory        most memory first
  tare top --filter web         rows with `web` in name, id, image or cgroup
  tare top --scope services     systemd services
  NO_COLOR=1 tare top           without colours

Keys: ? lists them all. / filters, Enter opens a container, F5 groups rows, q quits."
);

pub(super) const DOCTOR: &str = with_rules!(
    "Examples:
  tare doctor                             the findings, in sections
  tare doctor --strict                    exit code 1 if a family is off
  tare doctor --format json | jq .families"
);

pub(super) const RUN: &str = with_rules!(
    "Examples:
  tare run                                metrics and JSON on 127.0.0.1:9753
  tare run --listen off                   only on the unix socket
  tare run --label-set kubelet --listen 0.0.0.0:9753 --token-file tokens
                                          for Prometheus, with the kubelet's labels
  tare run --config /etc/tare.toml        options from a file
  tare run --sink prometheus+http://HOST:9090
                                          also push every sample
  curl http://127.0.0.1:9753/             the paths it serves

SIGHUP reads the configuration again; SIGTERM ends the daemon."
);

pub(super) const RECORD: &str = with_rules!(
    "Examples:
  tare record --output load.tare --duration 10m
  tare record --output test.tare -- make test
                                          as long as a command runs
  tare top --replay load.tare             look at it
  tare snapshot --replay load.tare --from -5m
                                          what happened in its last five minutes
  tare record export load.tare --format csv --output load.csv
                                          for DuckDB, pandas and spreadsheets

While it records, there is a directory FILE.recording, which can be replayed too. It stays if the \
     process is killed."
);

pub(super) const HEALTH: &str = with_rules!(
    "Examples:
  tare health                                    for a health check of an image
  tare health --daemon /run/tare/tare.sock && echo ready"
);

pub(super) const COMPLETIONS: &str = with_rules!(
    "Examples:
  tare completions bash > /usr/share/bash-completion/completions/tare
  tare completions zsh > \"${fpath[1]}/_tare\"
  tare completions fish > ~/.config/fish/completions/tare.fish"
);

pub(super) const COLLECTD: &str = with_rules!(
    "Examples:
  tare collectd                           lines for collectd, every 10 s
  <Plugin exec>                           in collectd.conf
    Exec \"collectd:tare\" \"/usr/bin/tare\" \"collectd\"
  </Plugin>

collectd runs plugins without rights. A running `tare run` is asked first: let the plugin's group \
     read its socket."
);
