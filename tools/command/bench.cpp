// `understudy bench`: the benchmarks, one subcommand each. Each measures a section of one report, which is printed
// here.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hypervisor/engine/kvm/probe.hpp"
#include "tools/bench/against.hpp"
#include "tools/bench/all.hpp"
#include "tools/bench/arbiter.hpp"
#include "tools/bench/channel.hpp"
#include "tools/bench/checkpoints.hpp"
#include "tools/bench/distance.hpp"
#include "tools/bench/failover.hpp"
#include "tools/bench/guest.hpp"
#include "tools/bench/join.hpp"
#include "tools/bench/network.hpp"
#include "tools/bench/overhead.hpp"
#include "tools/bench/scale.hpp"
#include "tools/bench/smoke.hpp"
#include "tools/bench/uncounted.hpp"
#include "tools/command/choice.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/report_file.hpp"
#include "tools/report/report.hpp"

namespace understudy::tools {
namespace {

// Where the report goes.
struct Output {
    bool json = false;
    std::string html;
};

void add_output_options(CLI::App& app, Output& output) {
    app.add_flag("--json", output.json,
                 "The report as one JSON object instead of a table; progress is on standard error");
    app.add_option("--html", output.html, "Write it as one page with plots as well, which needs no network")
        ->type_name("FILE");
}

struct Benchmark {
    CLI::App* app = nullptr;
    std::function<report::Section()> measure;
};

template <typename Options>
Benchmark benchmark(CLI::App* app, const std::shared_ptr<Options>& options,
                    report::Section (*measure)(const Options&)) {
    return {app, [options, measure] { return measure(*options); }};
}

// --- Options that several of them have

void add_repeats(CLI::App& app, unsigned& repeats, const char* of = "Of each measurement, by turns") {
    app.add_option("--repeats", repeats, of)->check(CLI::Range(1, 100))->capture_default_str();
}

void add_seconds(CLI::App& app, unsigned& seconds, const char* of = "Of each measurement") {
    app.add_option("--seconds", seconds, of)->check(CLI::Range(1, 3600))->capture_default_str();
}

void add_image(CLI::App& app, std::filesystem::path& image, const char* what = "With redis-server [one is built]") {
    app.add_option("--image", image, what)->check(CLI::ExistingFile);
}

void add_clients(CLI::App& app, std::vector<std::size_t>& clients) {
    app.add_option("--clients", clients, "How many ask at once, in turn")
        ->delimiter(',')
        ->check(CLI::Range(1, 20'000))
        ->capture_default_str();
}

void add_rate(CLI::App& app, double& rate) {
    app.add_option("--rate", rate, "Requests a second, where they are offered at a rate")
        ->check(CLI::Range(1.0, 1e7))
        ->capture_default_str();
}

void add_rows(CLI::App& app, std::vector<std::string>& only, const std::vector<std::string>& rows) {
    app.add_option("--only", only, "Some rows")->delimiter(',')->check(CLI::IsMember(rows));
}

// ---

Benchmark add_smoke(CLI::App& bench) {
    const auto options = std::make_shared<SmokeOptions>();
    CLI::App* app = bench.add_subcommand("smoke", "What a guest of the small kernel costs, and protecting it");
    add_repeats(*app, options->repeats, "Of each measurement");
    app->add_option("--spin-rounds", options->spin_rounds, "Of spin's kernels; fewer than 50 are too short")
        ->check(CLI::Range(1, 100000))
        ->capture_default_str();
    app->footer("Example:\n  understudy bench smoke --repeats 5");
    return benchmark(app, options, measure_smoke);
}

const std::vector<std::pair<std::string, GuestKind>>& guest_kinds() {
    static const std::vector<std::pair<std::string, GuestKind>> kinds = {
        {"redis", GuestKind::redis}, {"postgres", GuestKind::postgres}, {"kv", GuestKind::kv}};
    return kinds;
}

Benchmark add_failover(CLI::App& bench) {
    const auto options = std::make_shared<FailoverBenchOptions>();
    CLI::App* app = bench.add_subcommand("failover", "How long a failover takes, step by step, by each kind of death");
    app->add_option("--rounds", options->rounds, "Of each fault")->check(CLI::Range(1, 10000))->capture_default_str();
    app->add_option("--only", options->only, "Some faults, as `understudy demo --fault` has them")
        ->delimiter(',')
        ->check(CLI::IsMember(failover_faults()));
    add_choice<GuestKind>(*app, "--guest", options->guest, guest_kinds(), "As `understudy demo` has them [redis]");
    add_image(*app, options->image, "The guest's [one is built]");
    app->add_option("--suspicion", options->suspicion_ms,
                    "Milliseconds of silence after which a peer is taken for lost")
        ->check(CLI::Range(50, 60'000))
        ->capture_default_str();
    app->add_option("--seed", options->seed, "Of the faults' moments [random]");
    app->footer(
        "The fault `host` needs root, for network namespaces.\n\n"
        "Example:\n  understudy bench failover --rounds 20 --only kill,stop --html failover.html");
    return benchmark(app, options, measure_failover);
}

Benchmark add_guest_bench(CLI::App& bench) {
    const auto options = std::make_shared<GuestBenchOptions>();
    CLI::App* app = bench.add_subcommand("guest", "What Linux as a guest costs, beside the host");
    add_repeats(*app, options->repeats, "Of each measurement");
    add_rows(*app, options->only, guest_bench_rows());
    add_image(*app, options->image, "With redis-server and postgresql, of this host's release [one is built]");
    app->add_option("--systemd-image", options->systemd_image, "One of `understudy image --systemd`, to boot")
        ->check(CLI::ExistingFile);
    app->add_option("--uncounted-kernel", options->uncounted_kernel, "A guest kernel without counting, to compare with")
        ->check(CLI::ExistingFile);
    app->add_option("--requests", options->requests, "Of a run of redis-benchmark; four times as many pipelined")
        ->check(CLI::Range(100, 100'000'000))
        ->capture_default_str();
    add_seconds(*app, options->seconds, "Of a run of pgbench");
    app->footer(
        "Client and servers are stations of a LAN in network namespaces, which needs root; what cannot be measured is "
        "said.\n\n"
        "Examples:\n  understudy bench guest --repeats 5\n  understudy bench guest --only calls,faults,redis --image "
        "all.img");
    return benchmark(app, options, measure_guest);
}

Benchmark add_network(CLI::App& bench) {
    const auto options = std::make_shared<NetworkBenchOptions>();
    CLI::App* app = bench.add_subcommand("network", "Requests, their latency and bulk data, unprotected and protected");
    add_repeats(*app, options->repeats);
    add_clients(*app, options->clients);
    add_rate(*app, options->rate);
    app->add_option("--mbits", options->mbits, "Of bulk data, offered in turn; 100000: at full speed")
        ->delimiter(',')
        ->check(CLI::Range(1.0, 1e6))
        ->capture_default_str();
    app->add_option("--packets", options->packets, "Datagrams a second, offered in turn; 10000000: at full speed")
        ->delimiter(',')
        ->check(CLI::Range(1.0, 1e7))
        ->capture_default_str();
    add_seconds(*app, options->seconds);
    add_image(*app, options->image);
    app->footer(
        "Needs root, for network namespaces.\n\n"
        "Example:\n  understudy bench network --clients 1,50,2000 --rate 5000 --html network.html");
    return benchmark(app, options, measure_network);
}

Benchmark add_overhead(CLI::App& bench) {
    const auto options = std::make_shared<OverheadBenchOptions>();
    CLI::App* app = bench.add_subcommand("overhead", "The same work on the host, in a guest, in a protected guest");
    add_repeats(*app, options->repeats);
    add_rows(*app, options->only, overhead_bench_rows());
    app->add_option("--rates", options->rates, "Requests a second to redis, in turn")
        ->delimiter(',')
        ->check(CLI::Range(1.0, 1e7))
        ->capture_default_str();
    add_seconds(*app, options->seconds, "Of each load");
    add_image(*app, options->image);
    app->footer("Needs root, for network namespaces.\n\nExample:\n  understudy bench overhead --rates 1000,20000");
    return benchmark(app, options, measure_overhead);
}

Benchmark add_distance(CLI::App& bench) {
    const auto options = std::make_shared<DistanceBenchOptions>();
    CLI::App* app = bench.add_subcommand("distance", "A guest whose backup is milliseconds away");
    add_repeats(*app, options->repeats);
    app->add_option("--delays", options->delays_ms, "Milliseconds each way on the logging channel, in turn")
        ->delimiter(',')
        ->check(CLI::Range(0, 400))
        ->capture_default_str();
    add_clients(*app, options->clients);
    add_seconds(*app, options->seconds);
    add_image(*app, options->image);
    app->footer("Needs root, for network namespaces.\n\nExample:\n  understudy bench distance --delays 0,2,10");
    return benchmark(app, options, measure_distance);
}

Benchmark add_checkpoints_bench(CLI::App& bench) {
    const auto options = std::make_shared<CheckpointsBenchOptions>();
    CLI::App* app = bench.add_subcommand("checkpoints", "Record and replay beside checkpoints, as Remus takes them");
    add_repeats(*app, options->repeats);
    app->add_option("--intervals", options->intervals_ms, "Milliseconds from checkpoint to checkpoint, in turn")
        ->delimiter(',')
        ->check(CLI::Range(1, 60'000))
        ->capture_default_str();
    add_clients(*app, options->clients);
    add_rate(*app, options->rate);
    add_seconds(*app, options->seconds, "Of each load");
    add_image(*app, options->image);
    app->footer("Needs root, for network namespaces.\n\nExample:\n  understudy bench checkpoints --intervals 25,200");
    return benchmark(app, options, measure_checkpoints);
}

Benchmark add_arbiter_bench(CLI::App& bench) {
    const auto options = std::make_shared<ArbiterBenchOptions>();
    CLI::App* app = bench.add_subcommand("arbiter", "Our arbiter and a three-node etcd, side by side on one disk");
    add_repeats(*app, options->repeats, "Of the load, by turns");
    app->add_flag("--keep", options->keep, "Keep the servers' directories and logs");
    app->add_flag("--no-etcd", options->no_etcd, "Only our own servers");
    app->add_option("--data", options->data, "Where the servers keep their data (default: the current directory)");
    app->add_option("--kills", options->kills, "How often the leader is killed")->capture_default_str();
    app->add_option("--vms", options->vms, "How many VMs are registered")->capture_default_str();
    add_seconds(*app, options->seconds, "Length of each measurement");
    app->footer("Example:\n  understudy bench arbiter --data /var/tmp");
    return benchmark(app, options, measure_arbiter);
}

Benchmark add_join_bench(CLI::App& bench) {
    const auto options = std::make_shared<JoinBenchOptions>();
    CLI::App* app = bench.add_subcommand("join", "What it costs a guest with much memory that a backup joins");
    app->add_option("--memory", options->memory, "The guest's")->capture_default_str();
    app->add_option("--data", options->data, "What redis holds in it")->capture_default_str();
    add_image(*app, options->image);
    add_repeats(*app, options->repeats, "How many backups join, one after the other");
    app->footer("Example:\n  understudy bench join --memory 1G --image redis.img");
    return benchmark(app, options, measure_joins);
}

Benchmark add_uncounted_bench(CLI::App& bench) {
    const auto options = std::make_shared<UncountedBenchOptions>();
    CLI::App* app = bench.add_subcommand("uncounted", "What it costs to protect programs whose intervals are copied");
    add_repeats(*app, options->repeats, "Of each program, unprotected and protected");
    add_rows(*app, options->only, uncounted_bench_rows());
    add_image(*app, options->image, "With redis-server, python3 and gcc [one is built]");
    app->footer(
        "The row latency needs root, for a LAN in network namespaces.\n\n"
        "Example:\n  understudy bench uncounted --repeats 3");
    return benchmark(app, options, measure_uncounted);
}

Benchmark add_channel_bench(CLI::App& bench) {
    const auto options = std::make_shared<ChannelBenchOptions>();
    CLI::App* app = bench.add_subcommand("channel", "The logging channel in plain text and under TLS, on loopback");
    add_repeats(*app, options->repeats, "Of each, by turns");
    app->add_option("--mebibytes", options->mebibytes, "Of a state that is transferred")
        ->check(CLI::Range(1, 65536))
        ->capture_default_str();
    app->add_option("--round-trips", options->round_trips, "Of a record and its acknowledgement")
        ->check(CLI::Range(1, 10'000'000))
        ->capture_default_str();
    app->footer("Example:\n  understudy bench channel --repeats 10");
    return benchmark(app, options, measure_channel);
}

Benchmark add_against_bench(CLI::App& bench) {
    const auto options = std::make_shared<AgainstBenchOptions>();
    CLI::App* app = bench.add_subcommand(
        "against", "A protected redis-server beside Redis with Sentinels; PostgreSQL with a synchronous standby");
    add_repeats(*app, options->repeats, "Of the load, by turns");
    add_seconds(*app, options->seconds);
    app->add_option("--connections", options->connections, "Clients, each with one, that ask when they are answered")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app->add_option("--kills", options->kills, "How often the process that serves is killed, of each; 0: not at all")
        ->check(CLI::Range(0, 10000))
        ->capture_default_str();
    app->add_option("--down-after", options->down_after_ms,
                    "Milliseconds of silence that are taken for death, by Sentinels (30000 by default; below 2000 they "
                    "fail over without need), by the guest's replicas, and by who promotes PostgreSQL's standby")
        ->check(CLI::Range(50, 60'000))
        ->capture_default_str();
    app->add_option("--seed", options->seed, "Of the moments of death [random]");
    app->add_option("--only", options->only, "Some parts")->delimiter(',')->check(CLI::IsMember(against_bench_parts()));
    add_image(*app, options->image);
    app->footer(
        "Needs root, for network namespaces, and redis-server and postgresql on this host; what is missing is said.\n\n"
        "Example:\n  sudo understudy bench against --kills 20 --html against.html");
    return benchmark(app, options, measure_against);
}

Benchmark add_scale_bench(CLI::App& bench) {
    const auto options = std::make_shared<ScaleBenchOptions>();
    CLI::App* app = bench.add_subcommand("scale", "Many protected VMs that fail over at once");
    app->add_option("--pairs", options->pairs, "How many")->check(CLI::Range(1, 300'000))->capture_default_str();
    app->add_option("--hosts", options->hosts, "That they run on; each has a connection to the arbiter")
        ->check(CLI::Range(2, 2000))
        ->capture_default_str();
    add_rows(*app, options->only, scale_bench_rows());
    app->add_option("--memory", options->memory, "Of guests that a backup joins, in turn, for example 128M,1G")
        ->delimiter(',')
        ->capture_default_str();
    app->add_option("--guests", options->guests, "Protected guests on this host at once, in turn")
        ->delimiter(',')
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
    add_image(*app, options->image);
    add_repeats(*app, options->repeats, "Of all");
    app->footer(
        "The arbiter's servers keep their data below $TMPDIR. Several guests at once need root, for network "
        "namespaces.\n\n"
        "Example:\n  understudy bench scale --pairs 10000 --hosts 100");
    return benchmark(app, options, measure_scale);
}

int measure(const std::function<std::vector<report::Section>()>& sections, const Output& output) {
    ReportFile page(output.html);
    report::Report report{report::describe_machine(UNDERSTUDY_VERSION, engine::kvm_flavour()), {}};
    report.sections = sections();
    report::note_end(report.machine);
    // What was measured is said before the page can fail; and whatever becomes of standard output, which main() looks
    // at, the page is written.
    std::cout << (output.json ? report::to_json(report) : report::to_text(report)) << std::flush;
    page.write(report::to_html(report));
    return 0;
}

}  // namespace

Command add_bench(CLI::App& root) {
    CLI::App* app = root.add_subcommand(
        "bench", "Measure: guests beside the host, replication overhead, failover times, the arbiter, what others use");
    app->require_subcommand(0, 1);
    const std::vector<Benchmark> benchmarks = {
        add_overhead(*app),      add_failover(*app),      add_network(*app),       add_distance(*app),
        add_smoke(*app),         add_guest_bench(*app),   add_join_bench(*app),    add_uncounted_bench(*app),
        add_channel_bench(*app), add_arbiter_bench(*app), add_against_bench(*app), add_checkpoints_bench(*app),
        add_scale_bench(*app)};
    const auto output = std::make_shared<Output>();
    add_output_options(*app, *output);
    for (const Benchmark& one : benchmarks) {
        add_output_options(*one.app, *output);
    }
    const auto all = std::make_shared<AllBenchOptions>();
    app->add_flag("--quick", all->quick, "Of all, but less: within five minutes, once there is an image");
    add_image(*app, all->image, "With redis-server, postgresql, python3 and gcc [one is built]");
    app->footer(
        "Without a further word: all of them. Variants take turns, and ratios are those of neighbours. A missed target "
        "is "
        "said,\nand no error.\n\n"
        "Examples:\n  sudo understudy bench --quick --html report.html\n  understudy bench channel --json");
    return {app, [benchmarks, output, all] {
                const auto chosen =
                    std::ranges::find_if(benchmarks, [](const Benchmark& one) { return one.app->parsed(); });
                if (chosen == benchmarks.end()) {
                    return measure([&] { return measure_all(*all); }, *output);
                }
                return measure([&] { return std::vector<report::Section>{chosen->measure()}; }, *output);
            }};
}

}  // namespace understudy::tools
