#include "tools/bench_arbiter.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "arbiter/client.hpp"
#include "arbiter/engines.hpp"
#include "arbiter/operate.hpp"
#include "common/error.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;
using arbiter::Client;
using arbiter::Outcome;
using arbiter::Verdict;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{10'000};
constexpr std::size_t kServers = 3;

double microseconds_since(Clock::time_point start) {
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

double quantile(std::vector<double> values, double q) {
    if (values.empty()) {
        return 0;
    }
    std::sort(values.begin(), values.end());
    return values[std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())))];
}

// ---------------------------------------------------------------------------------------------------------------------
// Processes
// ---------------------------------------------------------------------------------------------------------------------

// A child that dies with us.
class Child {
  public:
    Child(const std::vector<std::string>& words, const fs::path& output) {
        std::vector<char*> arguments;
        for (const auto& word : words) {
            arguments.push_back(const_cast<char*>(word.c_str()));  // execvp does not write to them
        }
        arguments.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ < 0) {
            throw Error::from_errno("cannot fork", errno);
        }
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            const int fd = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
            ::dup2(fd, STDOUT_FILENO);
            ::dup2(fd, STDERR_FILENO);
            ::execvp(arguments[0], arguments.data());
            ::_exit(127);
        }
    }
    ~Child() { kill(); }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    void kill() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
            pid_ = -1;
        }
    }
    [[nodiscard]] pid_t pid() const { return pid_; }

  private:
    pid_t pid_ = -1;
};

std::uint16_t free_port() {
    boost::asio::io_context io;
    boost::asio::ip::tcp::acceptor acceptor(io, {boost::asio::ip::make_address("127.0.0.1"), 0});
    return acceptor.local_endpoint().port();
}

std::uint64_t resident_kib(pid_t pid) {
    std::ifstream in(fmt::format("/proc/{}/status", pid));
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with("VmRSS:")) {
            return std::stoull(line.substr(6));
        }
    }
    return 0;
}

class OurCluster {
  public:
    explicit OurCluster(fs::path directory) : directory_(std::move(directory)) {
        for (std::size_t i = 0; i < kServers; ++i) {
            ports_[i] = free_port();
        }
        for (std::size_t i = 0; i < kServers; ++i) {
            start(i);
        }
    }

    void start(std::size_t i) {
        std::vector<std::string> words{"/proc/self/exe",
                                       "arbiter",
                                       "serve",
                                       "--id",
                                       std::to_string(i + 1),
                                       "--data",
                                       (directory_ / fmt::format("server{}", i + 1)).string(),
                                       "--insecure"};
        for (std::size_t k = 0; k < kServers; ++k) {
            words.insert(words.end(), {"--peer", fmt::format("{}=127.0.0.1:{}", k + 1, ports_[k])});
        }
        children_[i] = std::make_unique<Child>(words, directory_ / fmt::format("server{}.log", i + 1));
    }
    void kill(std::size_t i) { children_[i]->kill(); }
    [[nodiscard]] pid_t pid(std::size_t i) const { return children_[i]->pid(); }
    [[nodiscard]] std::string url() const {
        return fmt::format("raft://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}", ports_[0], ports_[1], ports_[2]);
    }
    [[nodiscard]] std::optional<arbiter::StatusReply> status(std::size_t i) const {
        const auto url = arbiter::parse_url(this->url());
        const auto answer = arbiter::ask_server(url, url.servers[i], arbiter::StatusRequest{}, milliseconds(1000));
        const auto* reply = std::get_if<arbiter::Reply>(&answer);
        const auto* found = reply == nullptr ? nullptr : std::get_if<arbiter::StatusReply>(&reply->body);
        return found == nullptr ? std::nullopt : std::optional(*found);
    }
    // The leader once every member follows it without lag.
    [[nodiscard]] std::size_t settled_leader() const {
        const auto deadline = Clock::now() + 2 * kPatience;
        while (Clock::now() < deadline) {
            for (std::size_t i = 0; i < kServers; ++i) {
                const auto found = status(i);
                if (!found || found->raft.role != raft::Role::leader) {
                    continue;
                }
                const auto& members = found->raft.members;
                if (std::all_of(members.begin(), members.end(), [&](const raft::MemberStatus& member) {
                        return member.active && member.match_index + 100 >= found->raft.commit_index;
                    })) {
                    return i;
                }
            }
            std::this_thread::sleep_for(milliseconds(20));
        }
        throw Error("the benchmark's servers do not settle on a leader; see their logs with --keep");
    }

  private:
    fs::path directory_;
    std::array<std::uint16_t, kServers> ports_{};
    std::array<std::unique_ptr<Child>, kServers> children_;
};

class EtcdCluster {
  public:
    explicit EtcdCluster(const fs::path& directory) {
        std::array<std::uint16_t, kServers> peers{};
        std::string initial;
        for (std::size_t i = 0; i < kServers; ++i) {
            ports_[i] = free_port();
            peers[i] = free_port();
            initial += fmt::format("{}e{}=http://127.0.0.1:{}", i == 0 ? "" : ",", i + 1, peers[i]);
        }
        for (std::size_t i = 0; i < kServers; ++i) {
            const auto client = fmt::format("http://127.0.0.1:{}", ports_[i]);
            const auto peer = fmt::format("http://127.0.0.1:{}", peers[i]);
            children_[i] = std::make_unique<Child>(
                std::vector<std::string>{"etcd", "--name", fmt::format("e{}", i + 1), "--data-dir",
                                         (directory / fmt::format("etcd{}", i + 1)).string(), "--listen-client-urls",
                                         client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
                                         "--initial-advertise-peer-urls", peer, "--initial-cluster", initial,
                                         "--log-level", "error"},
                directory / fmt::format("etcd{}.log", i + 1));
        }
    }
    [[nodiscard]] std::string url() const {
        return fmt::format("etcd://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}", ports_[0], ports_[1], ports_[2]);
    }

  private:
    std::array<std::uint16_t, kServers> ports_{};
    std::array<std::unique_ptr<Child>, kServers> children_;
};

// ---------------------------------------------------------------------------------------------------------------------
// Load: every client decides one generation after the other of a VM of its own, so that every operation is a decision
// that must be durable: form, test_and_set, form, test_and_set, …
// ---------------------------------------------------------------------------------------------------------------------

struct Result {
    double seconds = 0;
    std::size_t decisions = 0;
    std::size_t failures = 0;
    std::vector<double> test_and_set;  // latencies in microseconds

    [[nodiscard]] double rate() const { return static_cast<double>(decisions) / seconds; }
};

class Decider {
  public:
    Decider(boost::asio::io_context& io, const std::string& url, VmId vm)
        : client_(arbiter::connect(io, url)), vm_(std::move(vm)) {}

    std::function<void(Clock::time_point asked, bool test_and_set, const Outcome&)> on_decision;
    void go() { next(); }
    void stop() { stopped_ = true; }

  private:
    void next() {
        if (stopped_) {
            return;
        }
        const auto asked = Clock::now();
        const bool test = generation_ > 0 && !decided_;
        const auto done = [this, asked, test](const Outcome& outcome) {
            if (outcome.verdict == Verdict::yes) {
                decided_ = test;
                generation_ += test ? 0 : 1;
            }
            on_decision(asked, test, outcome);
            next();
        };
        if (test) {
            client_->test_and_set({vm_, {generation_}, "a"}, kPatience, done);
        } else if (generation_ == 0) {
            client_->form({vm_, {0}, {1}, "a", {"a"}}, kPatience, done);
        } else {
            client_->form({vm_, {generation_}, {generation_ + 1}, "a", {"a", "b"}}, kPatience, done);
        }
    }

    std::unique_ptr<Client> client_;
    VmId vm_;
    std::uint64_t generation_ = 0;
    bool decided_ = false;
    bool stopped_ = false;
};

Result run_load(const std::string& url, std::size_t clients, std::chrono::seconds duration) {
    boost::asio::io_context io;
    Result result;
    std::vector<std::unique_ptr<Decider>> deciders;
    std::random_device random;
    bool measuring = false;
    for (std::size_t i = 0; i < clients; ++i) {
        deciders.push_back(std::make_unique<Decider>(io, url, fmt::format("bench-{:08x}-{}", random(), i)));
        deciders.back()->on_decision = [&](Clock::time_point asked, bool test, const Outcome& outcome) {
            if (!measuring) {
                return;
            }
            if (outcome.verdict != Verdict::yes) {
                ++result.failures;
                return;
            }
            ++result.decisions;
            if (test) {
                result.test_and_set.push_back(microseconds_since(asked));
            }
        };
        deciders.back()->go();
    }
    io.run_for(milliseconds(1000));  // warm up
    measuring = true;
    const auto start = Clock::now();
    io.run_for(duration);
    result.seconds = microseconds_since(start) / 1e6;
    measuring = false;
    for (auto& decider : deciders) {
        decider->stop();
    }
    io.run_for(milliseconds(50));
    return result;
}

void wait_until_serving(const std::string& url) {
    boost::asio::io_context io;
    const auto client = arbiter::connect(io, url);
    bool served = false;
    client->read("nothing", 2 * kPatience, [&](const Outcome& outcome) {
        served = outcome.verdict != Verdict::unknown;
        io.stop();
    });
    io.run_for(3 * kPatience);
    if (!served) {
        throw Error::format("{} does not begin to serve; see the logs with --keep", url);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The leader is killed
// ---------------------------------------------------------------------------------------------------------------------

// Milliseconds from SIGKILL to the answer to the first question that was asked after it.
std::vector<double> run_kills(OurCluster& cluster, std::size_t kills) {
    std::vector<double> gaps;
    boost::asio::io_context io;
    Decider decider(io, cluster.url(), fmt::format("kill-{:08x}", std::random_device{}()));
    std::optional<Clock::time_point> killed;
    std::optional<double> gap;
    decider.on_decision = [&](Clock::time_point asked, bool /*test*/, const Outcome& outcome) {
        if (killed && !gap && asked >= *killed && outcome.verdict == Verdict::yes) {
            gap = std::chrono::duration<double, std::milli>(Clock::now() - *killed).count();
        }
    };
    decider.go();
    std::mt19937 random(1);
    for (std::size_t i = 0; i < kills; ++i) {
        killed.reset();
        gap.reset();
        const auto leader = cluster.settled_leader();
        io.run_for(milliseconds(100 + random() % 50));
        killed = Clock::now();
        cluster.kill(leader);
        const auto deadline = Clock::now() + kPatience;
        while (!gap && Clock::now() < deadline) {
            io.run_one_for(milliseconds(100));
        }
        gaps.push_back(gap.value_or(static_cast<double>(kPatience.count())));
        cluster.start(leader);
    }
    decider.stop();
    io.run_for(milliseconds(50));
    return gaps;
}

// ---------------------------------------------------------------------------------------------------------------------
// Many VMs
// ---------------------------------------------------------------------------------------------------------------------

struct Bulk {
    std::size_t vms = 0;
    double register_seconds = 0;
    std::uint64_t resident_kib = 0;
    std::uint64_t snapshot_bytes = 0;
    double snapshot_ms = 0;
    double restart_ms = 0;    // until the server answers
    double caught_up_ms = 0;  // until it has applied what the others have
};

Bulk run_bulk(OurCluster& cluster, std::size_t vms) {
    Bulk bulk;
    bulk.vms = vms;
    {
        boost::asio::io_context io;
        const auto client = arbiter::connect(io, cluster.url());
        std::size_t next = 0;
        std::size_t answered = 0;
        const auto start = Clock::now();
        std::function<void()> claim = [&] {
            if (next == vms) {
                return;
            }
            const auto vm = fmt::format("vm-{:06}.example.org", next++);
            const auto owner = fmt::format("host-{:03}/{}/4f1d9c3a", next % 500, next);
            client->form({vm, {0}, {1}, owner, {owner}}, 3 * kPatience, [&](const Outcome& outcome) {
                if (outcome.verdict != Verdict::yes) {
                    throw Error::format("a claim failed: {}", outcome.explanation);
                }
                if (++answered == vms) {
                    io.stop();
                }
                claim();
            });
        };
        for (int i = 0; i < 256; ++i) {
            claim();
        }
        io.run();
        bulk.register_seconds = microseconds_since(start) / 1e6;
    }
    const auto leader = cluster.settled_leader();
    const auto other = (leader + 1) % kServers;
    bulk.resident_kib = resident_kib(cluster.pid(leader));
    const auto url = arbiter::parse_url(cluster.url());
    const auto applied = cluster.status(other).value().raft.applied_index;
    auto start = Clock::now();
    static_cast<void>(arbiter::ask_server(url, url.servers[other], arbiter::SnapshotNowRequest{}, kPatience));
    while (cluster.status(other).value().raft.snapshot_index < applied && Clock::now() < start + kPatience) {
    }
    bulk.snapshot_ms = microseconds_since(start) / 1e3;
    bulk.snapshot_bytes = cluster.status(other).value().snapshot_bytes;
    const auto goal = cluster.status(leader).value().raft.applied_index;
    cluster.kill(other);
    start = Clock::now();
    cluster.start(other);
    std::optional<arbiter::StatusReply> found;
    while (!(found = cluster.status(other)) && Clock::now() < start + kPatience) {
    }
    bulk.restart_ms = microseconds_since(start) / 1e3;
    while (found && found->raft.applied_index < goal && Clock::now() < start + kPatience) {
        found = cluster.status(other);
    }
    bulk.caught_up_ms = microseconds_since(start) / 1e3;
    return bulk;
}

// ---------------------------------------------------------------------------------------------------------------------

struct Options {
    bool json = false;
    bool keep = false;
    bool no_etcd = false;
    std::string data;
    std::size_t kills = 100;
    std::size_t vms = 100'000;
    unsigned seconds = 5;
};

struct Pair {
    Result one;
    Result many;
};

Pair measure(const std::string& url, unsigned seconds) {
    wait_until_serving(url);
    return {run_load(url, 1, std::chrono::seconds(seconds)), run_load(url, 64, std::chrono::seconds(seconds))};
}

int run(const Options& options) {
    const auto base = fs::path(options.data.empty() ? "." : options.data);
    const auto directory = fs::absolute(base) / fmt::format("understudy-bench-arbiter.{}", ::getpid());
    fs::create_directories(directory);
    const auto say = [&](const std::string& text) {
        fmt::print(stderr, "{}\n", text);  // progress; standard output has the result
    };
    Pair ours;
    std::vector<double> gaps;
    Bulk bulk;
    {
        OurCluster cluster(directory);
        say("our three servers: one client, then 64");
        ours = measure(cluster.url(), options.seconds);
        if (options.kills > 0) {
            say(fmt::format("killing the leader {} times", options.kills));
            gaps = run_kills(cluster, options.kills);
            static_cast<void>(cluster.settled_leader());
        }
        if (options.vms > 0) {
            say(fmt::format("registering {} VMs", options.vms));
            bulk = run_bulk(cluster, options.vms);
        }
    }
    std::optional<Pair> etcd;
    if (!options.no_etcd) {
        say("three-node etcd: one client, then 64");
        EtcdCluster cluster(directory);
        etcd = measure(cluster.url(), options.seconds);
    }
    const double p50 = quantile(ours.one.test_and_set, 0.5);
    const double p99 = quantile(ours.one.test_and_set, 0.99);
    const double etcd_p50 = etcd ? quantile(etcd->one.test_and_set, 0.5) : 0;
    const double etcd_p99 = etcd ? quantile(etcd->one.test_and_set, 0.99) : 0;
    const double etcd_rate = etcd ? etcd->many.rate() : 0;
    if (options.json) {
        fmt::print(
            R"({{"one_client":{{"p50_us":{:.0f},"p99_us":{:.0f},"etcd_p50_us":{:.0f},"etcd_p99_us":{:.0f}}},)"
            R"("clients_64":{{"per_second":{:.0f},"etcd_per_second":{:.0f},"failures":{}}},)"
            R"("leader_killed":{{"kills":{},"p50_ms":{:.1f},"p99_ms":{:.1f},"max_ms":{:.1f}}},)"
            R"("bulk":{{"vms":{},"register_s":{:.2f},"resident_kib":{},"snapshot_bytes":{},"snapshot_ms":{:.0f},)"
            R"("restart_ms":{:.0f},"caught_up_ms":{:.0f}}}}})"
            "\n",
            p50, p99, etcd_p50, etcd_p99, ours.many.rate(), etcd_rate, ours.many.failures, gaps.size(),
            quantile(gaps, 0.5), quantile(gaps, 0.99), quantile(gaps, 1), bulk.vms, bulk.register_seconds,
            bulk.resident_kib, bulk.snapshot_bytes, bulk.snapshot_ms, bulk.restart_ms, bulk.caught_up_ms);
    } else {
        fmt::print("{:44} {:>12} {:>12} {:>8}\n", "", "understudy", "etcd", "ratio");
        const auto row = [&](const char* what, double our, double their, const char* unit) {
            fmt::print("{:44} {:>9.0f} {} {:>9.0f} {} {:>8.2f}\n", what, our, unit, their, unit,
                       their > 0 ? our / their : 0.0);
        };
        row("test_and_set, 1 client, median", p50, etcd_p50, "us");
        row("test_and_set, 1 client, 99th percentile", p99, etcd_p99, "us");
        row("decisions a second, 64 clients", ours.many.rate(), etcd_rate, "/s");
        if (!gaps.empty()) {
            fmt::print(
                "leader killed {} times: next decision after {:.0f} ms median, {:.0f} ms 99th percentile, {:.0f} "
                "ms at most\n",
                gaps.size(), quantile(gaps, 0.5), quantile(gaps, 0.99), quantile(gaps, 1));
        }
        if (bulk.vms > 0) {
            fmt::print(
                "{} VMs: registered in {:.1f} s, {} MiB resident, snapshot {:.1f} MiB in {:.0f} ms, restart {:.0f} "
                "ms, caught up after {:.0f} ms\n",
                bulk.vms, bulk.register_seconds, bulk.resident_kib / 1024,
                static_cast<double>(bulk.snapshot_bytes) / 1048576, bulk.snapshot_ms, bulk.restart_ms,
                bulk.caught_up_ms);
        }
    }
    if (!options.keep) {
        fs::remove_all(directory);
    }
    return ours.one.failures + ours.many.failures == 0 ? 0 : 1;
}

}  // namespace

Command add_bench_arbiter(CLI::App& bench) {
    auto options = std::make_shared<Options>();
    CLI::App* app = bench.add_subcommand("arbiter", "Our arbiter and a three-node etcd, side by side on one disk");
    app->add_flag("--json", options->json, "The figures as one JSON object");
    app->add_flag("--keep", options->keep, "Keep the servers' directories and logs");
    app->add_flag("--no-etcd", options->no_etcd, "Only our own servers");
    app->add_option("--data", options->data, "Where the servers keep their data (default: the current directory)");
    app->add_option("--kills", options->kills, "How often the leader is killed")->capture_default_str();
    app->add_option("--vms", options->vms, "How many VMs are registered")->capture_default_str();
    app->add_option("--seconds", options->seconds, "Length of each measurement")->capture_default_str();
    app->footer("Example:\n  understudy bench arbiter --data /var/tmp");
    return {app, [options] { return run(*options); }};
}

}  // namespace understudy::tools
