#include "tools/bench/join.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "tools/bench/linux_image.hpp"
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
          image_(options.image, guest_.packages),
          executable_(std::filesystem::read_symlink("/proc/self/exe")),
          arbiters_(start_arbiters(stage_, executable_)),
          gateway_(start_gateway(stage_, executable_, "gateway", guest_.port)) {}

    std::vector<Join> measure() {
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
        std::vector<std::string> words = {executable_,   role,          "--name",    "join",
                                          "--image",     image_.file(), "--listen",  "127.0.0.1:0",
                                          "--arbiter",   arbiters_.url, "--network", gateway_.endpoint,
                                          "--suspicion", "1000",        "--json"};
        words.insert(words.end(), arbiters_.credentials.begin(), arbiters_.credentials.end());
        words.insert(words.end(), rest.begin(), rest.end());
        return words;
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

    const JoinBenchOptions options_;
    const GuestDescription guest_ = describe(GuestKind::redis);
    const BenchImage image_;
    Stage stage_{stderr};
    const std::filesystem::path executable_;
    Arbiters arbiters_;
    GatewayService gateway_;
    std::unique_ptr<Replica> primary_;
};

}  // namespace

report::Section measure_joins(const JoinBenchOptions& options) {
    const auto joins = JoinBench(options).measure();
    report::Section section;
    section.name = "join";
    section.title = "A backup joins";
    section.text = fmt::format(
        "A guest of {} with {} of data in redis runs on while its state goes to a backup, one backup after the other; "
        "16 clients write meanwhile.",
        options.memory, options.data);
    section.command = fmt::format("understudy bench join --memory {} --data {} --repeats {}", options.memory,
                                  options.data, options.repeats);
    const auto values = [&](auto figure) {
        std::vector<double> all;
        std::ranges::transform(joins, std::back_inserter(all), figure);
        return all;
    };
    const auto add = [&](const char* what, const char* unit, auto figure) {
        section.rows.push_back({.what = what, .unit = unit, .measured = {"", values(figure)}});
    };
    add("the guest stood still", "ms", [](const Join& join) { return join.transfer.stood_still_ms; });
    add("a write of the guest waited at most", "ms", [](const Join& join) { return join.transfer.longest_wait_ms; });
    section.rows.push_back(
        {.what = "a client waited at most",
         .unit = "ms",
         .measured = {"joining", values([](const Join& join) { return join.gap_ms; })},
         .baseline = report::Samples{"before", values([](const Join& join) { return join.gap_before_ms; })}});
    add("the state's way", "s", [](const Join& join) { return join.transfer.ms / 1e3; });
    add("the state", "MB", [](const Join& join) { return static_cast<double>(join.transfer.bytes_sent) / 1e6; });
    add("put aside meanwhile", "MB",
        [](const Join& join) { return static_cast<double>(join.transfer.put_aside) / 1e6; });
    return section;
}

}  // namespace understudy::tools
