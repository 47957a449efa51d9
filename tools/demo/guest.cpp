#include "tools/demo/guest.hpp"

namespace understudy::tools {
namespace {

// PostgreSQL's cluster is in the image; what it writes lies in the guest's memory, the write-ahead log too. Anybody may
// come in: the demonstration's gateway listens on this host's loopback alone.
constexpr const char* kStartPostgres =
    "version=$(ls /etc/postgresql) && "
    "echo 'host all all all trust' >> /etc/postgresql/$version/main/pg_hba.conf && "
    "exec pg_ctlcluster --foreground -o '-c listen_addresses=* -c min_wal_size=32MB -c max_wal_size=48MB "
    "-c shared_buffers=32MB' $version main start";

// A loop in C (the shell's) that makes no system call, and one in Python that writes several megabytes over and over.
constexpr const char* kStartUncounted =
    "sh -c 'while :; do :; done' & "
    "python3 -c 'while True: d = {i: str(i) for i in range(50000)}' & "
    "exec redis-server --protected-mode no --save '' --appendonly no";

}  // namespace

GuestDescription describe(GuestKind kind) {
    switch (kind) {
        case GuestKind::redis:
            return {.name = "redis",
                    .title = "Debian's redis-server",
                    .packages = {"redis-server"},
                    .arguments = {"redis-server", "--protected-mode", "no", "--save", "", "--appendonly", "no"},
                    .memory = "256M",
                    .port = 6379,
                    .ready = "Ready to accept connections",
                    .protocol = Protocol::redis};
        case GuestKind::postgres:
            return {.name = "postgres",
                    .title = "Debian's PostgreSQL",
                    .packages = {"postgresql"},
                    .arguments = {"sh", "-c", kStartPostgres},
                    .memory = "384M",
                    .port = 5432,
                    .ready = "ready to accept connections",
                    .protocol = Protocol::postgres,
                    .connections = 8,
                    .rate = 200};
        case GuestKind::uncounted:
            return {.name = "uncounted",
                    .title = "Debian's redis-server beside two programs that compute without end",
                    .packages = {"redis-server", "python3-minimal"},
                    .arguments = {"sh", "-c", kStartUncounted},
                    .memory = "256M",
                    .port = 6379,
                    .ready = "Ready to accept connections",
                    .protocol = Protocol::redis,
                    .rate = 200};
        case GuestKind::kv:
            break;
    }
    return {.name = "kv",
            .title = "the program kv on the small kernel",
            .packages = {},
            .arguments = {"--port", "6379"},
            .memory = "64M",
            .port = 6379,
            .ready = " ready ",
            .protocol = Protocol::redis};
}

}  // namespace understudy::tools
