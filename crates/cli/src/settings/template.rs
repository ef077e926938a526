//! The file that `offshoot init` writes: every key with its default, or commented out where there is none.

/// The text of the file.
pub(crate) const TEMPLATE: &str = r##"# Settings of an Offshoot server: `offshoot run -c offshoot.toml`.
# What is commented out is off or has no default. ${NAME} reads the environment, $$ is a dollar.

[storage]
# Where the pool is: file:///directory, memory: (gone when the server stops), or in a bucket: s3://bucket/prefix,
# gs://bucket/prefix, az://container/prefix.
url = "file:///var/lib/offshoot"
# What opens the pool. A new pool is encrypted if one of these is set, and never else. The password, from the environment:
# encryption_password = "${OFFSHOOT_PASSWORD}"
# Or a file whose first line is the password:
# encryption_password_file = "/etc/offshoot/password"
# Or a file with a key, as `openssl rand -hex 32` makes it:
# encryption_key_file = "/etc/offshoot/key"
# What a sync waits for. local: the log is on a disk of this machine, and a sync is durable there. store: the log is among
# the objects of the pool, a sync is one more object there (in a bucket, a round trip), and another machine can go on
# if this one is lost. It can be changed after the server was stopped cleanly.
durability = "local"
# lz4, zstd-1 to zstd-19, or none. Data that does not shrink is stored as it is.
compression = "lz4"
# Changes that nobody synced are made durable after about this time; without it, 1s, and 5s with durability store, where
# each time costs a request.
# flush_interval = "1s"
# Largest size of the pool in GiB; without it, as large as the disk.
# capacity_gb = 100.0
# Files that were written in small pieces are put together in the background and by `offshoot gc`.
defragment = true
# The other keys of this section are for buckets. A directory of this machine with the socket and, unless durability is
# store, the log, which holds what was synced since the last checkpoint: without it those changes are lost.
# state_dir = "/var/lib/offshoot"
# How long one request may take, and how long a failing one is tried again.
# request_timeout = "30s"
# retry_timeout = "2min"
# Requests at one time, and bounds on what is sent and received in MiB a second, on average.
# requests_max = 64
# upload_mb_per_second = 20.0
# download_mb_per_second = 100.0
# Use a bucket that `offshoot doctor --url` finds unfit. Data can be lost in it.
# accept_unfit_bucket = false

[cache]
# Bound of what the engine keeps in memory, in GiB; without it, three eighths of what the machine or its control group
# has, at most 1. The process takes up to half as much again.
# memory_size_gb = 1.0
# A pool in a bucket keeps data on a disk of this machine too: here, and so many GiB at most; 0 is none. Without these, in
# storage.state_dir, half of what is free there and at most 10. A pool in a local directory has no use for it.
# dir = "/var/cache/offshoot"
# disk_size_gb = 100.0

[control]
# The socket of the command line and the API. Every user may connect; who calls decides what is allowed.
socket = "/run/offshoot/control.sock"
# The API on TCP, in plain HTTP, for those who have the token.
# addresses = ["127.0.0.1:7660"]
# A file with a secret of at least 24 characters, as `openssl rand -base64 32` makes it.
# token_file = "/etc/offshoot/token"

# Options of s3:// urls, over those of the environment: AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL and so on. [gcp] and [azure]
# are the same for gs:// and az://. A secret can be in a file: secret_access_key_file.
# [aws]
# region = "eu-central-1"
# endpoint = "https://s3.example.com"
# access_key_id = "name"
# secret_access_key = "secret"

# The pool as a file system of this machine.
[servers.fuse]
# Mounted at start; without it, `offshoot mount DIR` mounts.
# mount_point = "/mnt/offshoot"
# Threads that serve the kernel, 1 to 256; without it, as many as there are processors, 2 to 16.
# threads = 4
# Whether other users than the server's may enter; without it, only if root runs the server.
# allow_other = true
# relatime: access times are updated as Linux does by default. none: never.
access_time = "relatime"
"##;
