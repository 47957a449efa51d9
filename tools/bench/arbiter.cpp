#include "tools/bench/arbiter.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/arbiter_clusters.hpp"
#include "tools/bench/arbiter_load.hpp"
#include "tools/bench/quantile.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

struct ClusterFigures {
    LoadFigures one;   // client
    LoadFigures many;  // clients
};

struct Figures {
    ClusterFigures ours;
    std::optional<ClusterFigures> etcd;
    std::vector<double> gaps;  // milliseconds without a decision after the leader was killed
    BulkFigures bulk;
};

// Progress; standard output has the result.
void say(std::string_view text) {
    fmt::print(stderr, "{}\n", text);
}

ClusterFigures measure(const std::string& url, unsigned seconds) {
    wait_until_serving(url);
    return {run_load(url, 1, std::chrono::seconds(seconds)), run_load(url, 64, std::chrono::seconds(seconds))};
}

void measure_ours(const ArbiterBenchOptions& options, const fs::path& directory, Figures& figures) {
    BenchedArbiter cluster(directory);
    say("our three servers: one client, then 64");
    figures.ours = measure(cluster.url(), options.seconds);
    if (options.kills > 0) {
        say(fmt::format("killing the leader {} times", options.kills));
        figures.gaps = run_kills(cluster, options.kills);
        static_cast<void>(cluster.settled_leader());
    }
    if (options.vms > 0) {
        say(fmt::format("registering {} VMs", options.vms));
        figures.bulk = run_bulk(cluster, options.vms);
    }
}

void measure_etcd(const ArbiterBenchOptions& options, const fs::path& directory, Figures& figures) {
    say("three-node etcd: one client, then 64");
    const BenchedEtcd cluster(directory);
    figures.etcd = measure(cluster.url(), options.seconds);
}

// Of the test-and-sets of one client, in microseconds; 0 where there is no cluster.
double latency(const std::optional<ClusterFigures>& cluster, double q) {
    return cluster ? quantile(cluster->one.test_and_set, q) : 0;
}

double rate(const std::optional<ClusterFigures>& cluster) {
    return cluster ? cluster->many.rate() : 0;
}

std::string to_json(const Figures& figures) {
    const auto& bulk = figures.bulk;
    return fmt::format(
        R"({{"one_client":{{"p50_us":{:.0f},"p99_us":{:.0f},"etcd_p50_us":{:.0f},"etcd_p99_us":{:.0f}}},)"
        R"("clients_64":{{"per_second":{:.0f},"etcd_per_second":{:.0f},"failures":{}}},)"
        R"("leader_killed":{{"kills":{},"p50_ms":{:.1f},"p99_ms":{:.1f},"max_ms":{:.1f}}},)"
        R"("bulk":{{"vms":{},"register_s":{:.2f},"resident_kib":{},"snapshot_bytes":{},"snapshot_ms":{:.0f},)"
        R"("restart_ms":{:.0f},"caught_up_ms":{:.0f}}}}})"
        "\n",
        latency(figures.ours, 0.5), latency(figures.ours, 0.99), latency(figures.etcd, 0.5),
        latency(figures.etcd, 0.99), rate(figures.ours), rate(figures.etcd), figures.ours.many.failures,
        figures.gaps.size(), quantile(figures.gaps, 0.5), quantile(figures.gaps, 0.99), quantile(figures.gaps, 1),
        bulk.vms, bulk.register_seconds, bulk.resident_kib, bulk.snapshot_bytes, bulk.snapshot_ms, bulk.restart_ms,
        bulk.caught_up_ms);
}

std::string to_text(const Figures& figures) {
    std::string text = fmt::format("{:44} {:>12} {:>12} {:>8}\n", "", "understudy", "etcd", "ratio");
    const auto row = [&](std::string_view what, double our, double their, std::string_view unit) {
        text += fmt::format("{:44} {:>9.0f} {} {:>9.0f} {} {:>8.2f}\n", what, our, unit, their, unit,
                            their > 0 ? our / their : 0.0);
    };
    row("test_and_set, 1 client, median", latency(figures.ours, 0.5), latency(figures.etcd, 0.5), "us");
    row("test_and_set, 1 client, 99th percentile", latency(figures.ours, 0.99), latency(figures.etcd, 0.99), "us");
    row("decisions a second, 64 clients", rate(figures.ours), rate(figures.etcd), "/s");
    if (!figures.gaps.empty()) {
        text += fmt::format(
            "leader killed {} times: next decision after {:.0f} ms median, {:.0f} ms 99th percentile, {:.0f} ms at "
            "most\n",
            figures.gaps.size(), quantile(figures.gaps, 0.5), quantile(figures.gaps, 0.99), quantile(figures.gaps, 1));
    }
    if (const auto& bulk = figures.bulk; bulk.vms > 0) {
        text += fmt::format(
            "{} VMs: registered in {:.1f} s, {} MiB resident, snapshot {:.1f} MiB in {:.0f} ms, restart {:.0f} ms, "
            "caught up after {:.0f} ms\n",
            bulk.vms, bulk.register_seconds, bulk.resident_kib / 1024,
            static_cast<double>(bulk.snapshot_bytes) / 1048576, bulk.snapshot_ms, bulk.restart_ms, bulk.caught_up_ms);
    }
    return text;
}

}  // namespace

int run_arbiter_bench(const ArbiterBenchOptions& options) {
    const fs::path directory = fs::absolute(options.data) / fmt::format("understudy-bench-arbiter.{}", ::getpid());
    fs::create_directories(directory);
    Figures figures;
    measure_ours(options, directory, figures);
    if (!options.no_etcd) {
        measure_etcd(options, directory, figures);
    }
    fmt::print("{}", options.json ? to_json(figures) : to_text(figures));
    if (!options.keep) {
        fs::remove_all(directory);
    }
    return figures.ours.one.failures + figures.ours.many.failures == 0 ? 0 : 1;
}

}  // namespace understudy::tools
