#include "tools/bench/join.hpp"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "tools/demo/guest.hpp"
#include "tools/demo/replica.hpp"
#include "tools/demo/services.hpp"
#include "tools/demo/stage.hpp"
#include "tools/output/milliseconds.hpp"
#include "tools/verifier/verifier.hpp"
#include "tools/vm/vm_description.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using replication::Role;

constexpr auto kLongest = 10min;  // of one step
constexpr std::uint64_t kValueBytes = 900;

struct Join {
    Transfer transfer;
    double gap_before_ms = 0;  // the longest that a client waited, in as much time without a join
    double gap_ms = 0;
};

class JoinBench {
  public:
    explicit JoinBench(const JoinBenchOptions& options)
        : options_(options),
          executable_(std::filesystem::read_symlink("/proc/self/exe")),
          arbiters_(start_arbiters(stage_, executable_)),
          gateway_(start_gateway(stage_, executable_, "gateway", guest_.port)) {}

    std::vector<Join> measure() {
        if (options_.image.empty()) {
            options_.image = stage_.directory().path() / "guest.img";
            finish("image", {"image", "--json", "--output", options_.image, "--package", guest_.packages.front()});
        }
        start_primary();
        Verifier clients({.server = fmt::format("127.0.0.1:{}", gateway_.host_port), .connections = 16});
        clients.start();
        std::vector<Join> joins;
        for (unsigned i = 0; i < options_.repeats; ++i) {
            joins.push_back(measure_join(clients));
        }
        return joins;
    }

  private:
    [[nodiscard]] std::vector<std::string> replica(const std::string& role, std::vector<std::string> rest) const {
        std::vector<std::string> words = {executable_,   role,           "--name",    "join",
                                          "--image",     options_.image, "--listen",  "127.0.0.1:0",
                                          "--arbiter",   arbiters_.url,  "--network", gateway_.endpoint,
                                          "--suspicion", "1000",         "--json"};
        words.insert(words.end(), arbiters_.credentials.begin(), arbiters_.credentials.end());
        words.insert(words.end(), rest.begin(), rest.end());
        return words;
    }

    void finish(const std::string& name, std::vector<std::string> words) {
        stage_.timeline().say("bench", name);
        words.insert(words.begin(), executable_);
        await(stage_.start(name, std::move(words), [](std::string_view) {}), name);
    }

    void await(const std::shared_ptr<Child>& child, const std::string& name) {
        stage_.until([&] { return !child->running(); }, kLongest, name);
        if (child->exit_status() != 0) {
            throw Error::format("{}: {}", name, child->last_words());
        }
    }

    void start_primary() {
        std::vector<std::string> words = {"--memory", options_.memory, "--"};
        words.insert(words.end(), guest_.arguments.begin(), guest_.arguments.end());
        words.insert(words.end(), {"--enable-debug-command", "yes"});
        primary_ = std::make_unique<Replica>(stage_, "primary", replica("primary", words), guest_.ready);
        stage_.until([&] { return primary_->serves() || !primary_->running(); }, kLongest, "redis to serve");
        if (!primary_->running()) {
            throw Error(primary_->end());
        }
        const std::uint64_t keys = parse_size(options_.data).value / kValueBytes;
        stage_.timeline().say("bench", fmt::format("{} of data", options_.data));
        await(stage_.start("populate",
                           {"redis-cli", "-e", "-p", std::to_string(gateway_.host_port), "debug", "populate",
                            std::to_string(keys), "filler", std::to_string(kValueBytes)},
                           [](std::string_view) {}),
              "redis-cli debug populate");
    }

    Join measure_join(Verifier& clients) {
        constexpr auto kSettling = 3s;
        stage_.pause(kSettling);
        clients.mark();
        stage_.pause(kSettling);
        Join join;
        join.gap_before_ms = in_milliseconds(clients.since_mark().longest_gap);
        clients.mark();
        Replica backup(stage_, "backup", replica("backup", {"--primary", primary_->address()}));
        stage_.until([&] { return primary_->role() == Role::leading || !backup.running(); }, kLongest, "a pair");
        if (!backup.running() || !primary_->transfer()) {
            throw Error(backup.end());
        }
        join.gap_ms = in_milliseconds(clients.since_mark().longest_gap);
        join.transfer = *primary_->transfer();
        backup.signal(SIGKILL);
        stage_.until([&] { return primary_->role() == Role::solo; }, kLongest, "the primary to be alone");
        return join;
    }

    JoinBenchOptions options_;
    Stage stage_;
    std::filesystem::path executable_;
    GuestDescription guest_ = describe(GuestKind::redis);
    Arbiters arbiters_;
    GatewayService gateway_;
    std::unique_ptr<Replica> primary_;
};

void print(const std::vector<Join>& joins, bool json) {
    std::string rows;
    for (const Join& join : joins) {
        const Transfer& t = join.transfer;
        if (json) {
            rows += fmt::format(
                "{}{{\"stood_still_ms\":{:.3f},\"longest_wait_ms\":{:.3f},\"gap_ms\":{:.1f},\"gap_before_ms\":{:.1f},"
                "\"ms\":{:.1f},\"bytes_sent\":{},\"put_aside\":{}}}",
                rows.empty() ? "" : ",", t.stood_still_ms, t.longest_wait_ms, join.gap_ms, join.gap_before_ms, t.ms,
                t.bytes_sent, t.put_aside);
        } else {
            fmt::print(
                "  the guest stood still {:6.2f} ms; the longest that a client waited {:6.1f} ms, without a join "
                "{:6.1f} "
                "ms; {:.0f} MB in {:.1f} s, {:.1f} MB put aside\n",
                t.stood_still_ms, join.gap_ms, join.gap_before_ms, static_cast<double>(t.bytes_sent) / 1e6, t.ms / 1e3,
                static_cast<double>(t.put_aside) / 1e6);
        }
    }
    if (json) {
        fmt::print("{{\"joins\":[{}]}}\n", rows);
    }
}

}  // namespace

void run_join_bench(const JoinBenchOptions& options) {
    print(JoinBench(options).measure(), options.json);
}

}  // namespace understudy::tools
