// `understudy bench`: the benchmarks, one subcommand each.
#include <CLI/CLI.hpp>
#include <memory>
#include <vector>

#include "tools/bench/arbiter.hpp"
#include "tools/bench/channel.hpp"
#include "tools/bench/guest.hpp"
#include "tools/bench/join.hpp"
#include "tools/bench/smoke.hpp"
#include "tools/bench/uncounted.hpp"
#include "tools/command/commands.hpp"

namespace understudy::tools {
namespace {

Command add_smoke(CLI::App& bench) {
    const auto options = std::make_shared<SmokeOptions>();
    CLI::App* app = bench.add_subcommand("smoke", "What a guest costs, and what protecting it costs");
    app->add_option("--repeats", options->repeats, "Of each measurement; the best or the median counts")
        ->check(CLI::Range(1, 100))
        ->capture_default_str();
    app->add_option("--spin-rounds", options->spin_rounds, "Of spin's kernels; fewer than 50 are too short")
        ->check(CLI::Range(1, 100000))
        ->capture_default_str();
    app->add_option("--kills", options->demo_rounds, "Of the demonstration that measures takeovers")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app->add_flag("--json", options->json, "End with one JSON object instead of a table");
    app->footer(
        "Ratios compare runs that alternate in one session of one machine. A missed target is said, not an error.\n\n"
        "Example:\n  understudy bench smoke --repeats 5");
    return {app, [options] {
                run_smoke_bench(*options);
                return 0;
            }};
}

Command add_guest_bench(CLI::App& bench) {
    const auto options = std::make_shared<GuestBenchOptions>();
    CLI::App* app = bench.add_subcommand("guest", "What Linux as a guest costs, beside the host");
    app->add_option("--repeats", options->repeats, "Of each measurement; the best or the median counts")
        ->check(CLI::Range(1, 100))
        ->capture_default_str();
    app->add_option("--only", options->only, "Some rows")->delimiter(',')->check(CLI::IsMember(guest_bench_rows()));
    app->add_option("--image", options->image,
                    "With redis-server and postgresql, of this host's release [one is built]")
        ->check(CLI::ExistingFile);
    app->add_option("--systemd-image", options->systemd_image, "One of `understudy image --systemd`, to boot")
        ->check(CLI::ExistingFile);
    app->add_option("--uncounted-kernel", options->uncounted_kernel, "A guest kernel without counting, to compare with")
        ->check(CLI::ExistingFile);
    app->add_option("--requests", options->requests, "Of a run of redis-benchmark; four times as many pipelined")
        ->check(CLI::Range(100, 100'000'000))
        ->capture_default_str();
    app->add_option("--seconds", options->seconds, "Of a run of pgbench, and of bulk data")
        ->check(CLI::Range(1, 3600))
        ->capture_default_str();
    app->add_flag("--json", options->json, "End with one JSON object instead of a table");
    app->footer(
        "Host and guest, unprotected and protected, take turns in one session; client and servers are stations of a "
        "LAN\n"
        "in network namespaces, which needs root. A missed target is said, not an error; so is what cannot be "
        "measured.\n\n"
        "Examples:\n  understudy bench guest --repeats 5\n  understudy bench guest --only calls,faults,redis --image "
        "all.img");
    return {app, [options] {
                run_guest_bench(*options);
                return 0;
            }};
}

Command add_arbiter_bench(CLI::App& bench) {
    const auto options = std::make_shared<ArbiterBenchOptions>();
    CLI::App* app = bench.add_subcommand("arbiter", "Our arbiter and a three-node etcd, side by side on one disk");
    app->add_flag("--json", options->json, "The figures as one JSON object");
    app->add_flag("--keep", options->keep, "Keep the servers' directories and logs");
    app->add_flag("--no-etcd", options->no_etcd, "Only our own servers");
    app->add_option("--data", options->data, "Where the servers keep their data (default: the current directory)");
    app->add_option("--kills", options->kills, "How often the leader is killed")->capture_default_str();
    app->add_option("--vms", options->vms, "How many VMs are registered")->capture_default_str();
    app->add_option("--seconds", options->seconds, "Length of each measurement")->capture_default_str();
    app->footer("Example:\n  understudy bench arbiter --data /var/tmp");
    return {app, [options] { return run_arbiter_bench(*options); }};
}

Command add_join_bench(CLI::App& bench) {
    const auto options = std::make_shared<JoinBenchOptions>();
    CLI::App* app = bench.add_subcommand("join", "What it costs a guest with much memory that a backup joins");
    app->add_option("--memory", options->memory, "The guest's")->capture_default_str();
    app->add_option("--data", options->data, "What redis holds in it")->capture_default_str();
    app->add_option("--image", options->image, "Of a guest with redis-server; without it one is built");
    app->add_option("--repeats", options->repeats, "How many backups join, one after the other")
        ->check(CLI::Range(1, 100))
        ->capture_default_str();
    app->add_flag("--json", options->json, "End with one JSON object instead of a table");
    app->footer("Example:\n  understudy bench join --memory 1G --image redis.img");
    return {app, [options] {
                run_join_bench(*options);
                return 0;
            }};
}

Command add_uncounted_bench(CLI::App& bench) {
    const auto options = std::make_shared<UncountedBenchOptions>();
    CLI::App* app = bench.add_subcommand("uncounted", "What it costs to protect programs whose intervals are copied");
    app->add_option("--repeats", options->repeats, "Of each program, unprotected and protected; the median counts")
        ->check(CLI::Range(1, 100))
        ->capture_default_str();
    app->add_option("--only", options->only, "Some rows")->delimiter(',')->check(CLI::IsMember(uncounted_bench_rows()));
    app->add_option("--image", options->image, "With redis-server, python3 and gcc [one is built]")
        ->check(CLI::ExistingFile);
    app->add_flag("--json", options->json, "End with one JSON object instead of a table");
    app->footer(
        "The programs run in one guest after the other, unprotected and protected by turns. The row latency needs "
        "root, "
        "for a LAN\nin network namespaces. A missed target is said, not an error.\n\n"
        "Example:\n  understudy bench uncounted --repeats 3");
    return {app, [options] {
                run_uncounted_bench(*options);
                return 0;
            }};
}

Command add_channel_bench(CLI::App& bench) {
    const auto options = std::make_shared<ChannelBenchOptions>();
    CLI::App* app = bench.add_subcommand("channel", "The logging channel in plain text and under TLS, on loopback");
    app->add_option("--repeats", options->repeats, "Of each; the best of the throughput, the median of the rest counts")
        ->check(CLI::Range(1, 100))
        ->capture_default_str();
    app->add_option("--mebibytes", options->mebibytes, "Of a state that is transferred")
        ->check(CLI::Range(1, 65536))
        ->capture_default_str();
    app->add_option("--round-trips", options->round_trips, "Of a record and its acknowledgement")
        ->check(CLI::Range(1, 10'000'000))
        ->capture_default_str();
    app->add_flag("--json", options->json, "One JSON object instead of a table");
    app->footer("Example:\n  understudy bench channel --repeats 10");
    return {app, [options] {
                run_channel_bench(*options);
                return 0;
            }};
}

}  // namespace

Command add_bench(CLI::App& root) {
    CLI::App* app = root.add_subcommand(
        "bench", "Measure: guests beside the host, replication overhead, failover times, the arbiter");
    app->require_subcommand(1);
    const std::vector<Command> benchmarks = {add_smoke(*app), add_guest_bench(*app), add_join_bench(*app),
                                             add_uncounted_bench(*app), add_channel_bench(*app), add_arbiter_bench(*app)};
    app->footer("Example:\n  understudy bench smoke");
    return {app, [benchmarks] {
                for (const Command& benchmark : benchmarks) {
                    if (benchmark.app->parsed()) {
                        return benchmark.run();
                    }
                }
                return 0;
            }};
}

}  // namespace understudy::tools
