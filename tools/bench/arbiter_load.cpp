#include "tools/bench/arbiter_load.hpp"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "arbiter/client/client.hpp"
#include "arbiter/client/engines.hpp"
#include "arbiter/client/operate.hpp"
#include "common/error.hpp"

namespace understudy::tools {
namespace {

using arbiter::Client;
using arbiter::Outcome;
using arbiter::Verdict;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

double microseconds_since(Clock::time_point start) {
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

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
            client_->test_and_set({vm_, {generation_}, "a"}, kBenchPatience, done);
        } else if (generation_ == 0) {
            client_->form({vm_, {0}, {1}, "a", {"a"}}, kBenchPatience, done);
        } else {
            client_->form({vm_, {generation_}, {generation_ + 1}, "a", {"a", "b"}}, kBenchPatience, done);
        }
    }

    std::unique_ptr<Client> client_;
    VmId vm_;
    std::uint64_t generation_ = 0;
    bool decided_ = false;
    bool stopped_ = false;
};

}  // namespace

void wait_until_serving(const std::string& url) {
    boost::asio::io_context io;
    const auto client = arbiter::connect(io, url);
    bool served = false;
    client->read("nothing", 2 * kBenchPatience, [&](const Outcome& outcome) {
        served = outcome.verdict != Verdict::unknown;
        io.stop();
    });
    io.run_for(3 * kBenchPatience);
    if (!served) {
        throw Error::format("{} does not begin to serve; see the logs with --keep", url);
    }
}

LoadFigures run_load(const std::string& url, std::size_t clients, std::chrono::seconds duration) {
    boost::asio::io_context io;
    LoadFigures result;
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

std::vector<double> run_kills(BenchedArbiter& cluster, std::size_t kills) {
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
        const auto deadline = Clock::now() + kBenchPatience;
        while (!gap && Clock::now() < deadline) {
            io.run_one_for(milliseconds(100));
        }
        gaps.push_back(gap.value_or(static_cast<double>(kBenchPatience.count())));
        cluster.start(leader);
    }
    decider.stop();
    io.run_for(milliseconds(50));
    return gaps;
}

BulkFigures run_bulk(BenchedArbiter& cluster, std::size_t vms) {
    BulkFigures bulk;
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
            client->form({vm, {0}, {1}, owner, {owner}}, 3 * kBenchPatience, [&](const Outcome& outcome) {
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
    const auto other = (leader + 1) % kBenchedServers;
    bulk.resident_kib = cluster.resident_kib(leader);
    const auto url = arbiter::parse_url(cluster.url());
    const auto applied = cluster.status(other).value().raft.applied_index;
    auto start = Clock::now();
    static_cast<void>(arbiter::ask_server(url, url.servers[other], arbiter::SnapshotNowRequest{}, kBenchPatience));
    while (cluster.status(other).value().raft.snapshot_index < applied && Clock::now() < start + kBenchPatience) {
    }
    bulk.snapshot_ms = microseconds_since(start) / 1e3;
    bulk.snapshot_bytes = cluster.status(other).value().snapshot_bytes;
    const auto goal = cluster.status(leader).value().raft.applied_index;
    cluster.kill(other);
    start = Clock::now();
    cluster.start(other);
    std::optional<arbiter::StatusReply> found;
    while (!(found = cluster.status(other)) && Clock::now() < start + kBenchPatience) {
    }
    bulk.restart_ms = microseconds_since(start) / 1e3;
    while (found && found->raft.applied_index < goal && Clock::now() < start + kBenchPatience) {
        found = cluster.status(other);
    }
    bulk.caught_up_ms = microseconds_since(start) / 1e3;
    return bulk;
}

}  // namespace understudy::tools
