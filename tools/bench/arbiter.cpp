#include "tools/bench/arbiter.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench/arbiter_clusters.hpp"
#include "tools/bench/arbiter_load.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

double quantile(std::vector<double> values, double q) {
    if (values.empty()) {
        return 0;
    }
    std::sort(values.begin(), values.end());
    return values[std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())))];
}

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
    LoadFigures one;
    LoadFigures many;
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
    BulkFigures bulk;
    {
        BenchedArbiter cluster(directory);
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
        BenchedEtcd cluster(directory);
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
