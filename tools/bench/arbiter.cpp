#include "tools/bench/arbiter.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/tell.hpp"
#include "tools/bench/arbiter_clusters.hpp"
#include "tools/bench/arbiter_load.hpp"
#include "tools/bench/rows.hpp"
#include "tools/report/statistics.hpp"

namespace understudy::tools {
namespace {

namespace fs = std::filesystem;

// Of one cluster, a value for each repetition.
struct ClusterFigures {
    std::vector<double> p50_us;  // of test-and-sets, one client
    std::vector<double> p99_us;
    std::vector<double> rates;  // decisions a second, 64 clients
    std::size_t failures = 0;

    void add(const std::string& url, std::chrono::seconds duration) {
        constexpr std::size_t kManyClients = 64;
        const auto one = run_load(url, 1, duration);
        const auto many = run_load(url, kManyClients, duration);
        p50_us.push_back(report::quantile(one.test_and_set, 0.5));
        p99_us.push_back(report::quantile(one.test_and_set, 0.99));
        rates.push_back(many.rate());
        failures += one.failures + many.failures;
    }
};

struct Figures {
    ClusterFigures ours;
    ClusterFigures etcd;       // nothing in it: not wanted
    std::vector<double> gaps;  // milliseconds without a decision after the leader was killed
    BulkFigures bulk;
};

// Progress; standard output has the result.
void say(std::string_view text) {
    tell("{}\n", text);
}

void measure_both(const ArbiterBenchOptions& options, const fs::path& directory, Figures& figures) {
    BenchedArbiter ours(directory);
    std::optional<BenchedEtcd> etcd;
    wait_until_serving(ours.url());
    if (!options.no_etcd) {
        etcd.emplace(directory);
        wait_until_serving(etcd->url());
    }
    const std::chrono::seconds duration(options.seconds);
    for (unsigned i = 1; i <= options.repeats; ++i) {
        say(fmt::format("repetition {} of {}: one client, then 64", i, options.repeats));
        figures.ours.add(ours.url(), duration);
        if (etcd) {
            figures.etcd.add(etcd->url(), duration);
        }
    }
    etcd.reset();
    if (options.kills > 0) {
        say(fmt::format("killing the leader {} times", options.kills));
        figures.gaps = run_kills(ours, options.kills);
        static_cast<void>(ours.settled_leader());
    }
    if (options.vms > 0) {
        say(fmt::format("registering {} VMs", options.vms));
        figures.bulk = run_bulk(ours, options.vms);
    }
}

std::vector<report::Row> rows_of(const Figures& figures) {
    std::vector<report::Row> rows;
    const auto compare = [&](const char* what, const char* unit, std::vector<double> ClusterFigures::*values) {
        report::Row row{.what = what, .unit = unit, .measured = {"understudy", figures.ours.*values}};
        if (!(figures.etcd.*values).empty()) {
            row.baseline = report::Samples{"etcd", figures.etcd.*values};
        }
        rows.push_back(std::move(row));
    };
    compare("test-and-set, 1 client, median", "us", &ClusterFigures::p50_us);
    compare("test-and-set, 1 client, 99th percentile", "us", &ClusterFigures::p99_us);
    compare("decisions, 64 clients", "/s", &ClusterFigures::rates);
    const auto add = [&](std::string what, const char* unit, double value) {
        rows.push_back({.what = std::move(what), .unit = unit, .measured = {"", {value}}});
    };
    add("requests that failed", "", static_cast<double>(figures.ours.failures));
    rows.back().target = report::at_most(0);
    if (!figures.gaps.empty()) {
        rows.push_back({.what = "leader killed, until the next decision",
                        .unit = "ms",
                        .measured = {"", figures.gaps},
                        .detail = fmt::format("99th percentile {} ms",
                                              report::format_value(report::quantile(figures.gaps, 0.99)))});
    }
    if (const auto& bulk = figures.bulk; bulk.vms > 0) {
        add(fmt::format("{} VMs registered", bulk.vms), "s", bulk.register_seconds);
        add("then: memory of a server", "MiB", static_cast<double>(bulk.resident_kib) / 1024);
        add("its snapshot", "MiB", static_cast<double>(bulk.snapshot_bytes) / 1048576);
        add("taking the snapshot", "ms", bulk.snapshot_ms);
        add("a restart, until it answers", "ms", bulk.restart_ms);
        add("a restart, until it has caught up", "ms", bulk.caught_up_ms);
    }
    return rows;
}

}  // namespace

report::Section measure_arbiter(const ArbiterBenchOptions& options) {
    const fs::path directory = fs::absolute(options.data) / fmt::format("understudy-bench-arbiter.{}", ::getpid());
    fs::create_directories(directory);
    Figures figures;
    measure_both(options, directory, figures);
    if (!options.keep) {
        fs::remove_all(directory);
    }
    report::Section section;
    section.name = "arbiter";
    section.title = "The arbiter";
    section.text = "Three servers of ours and a three-node etcd on one disk, both up, asked by turns.";
    section.command = fmt::format("understudy bench arbiter --repeats {} --seconds {} --kills {} --vms {}",
                                  options.repeats, options.seconds, options.kills, options.vms);
    section.rows = rows_of(figures);
    section.plots.emplace_back(bars_of(section.rows, "A test-and-set, one client", "us", "understudy"));
    section.plots.emplace_back(bars_of(section.rows, "Decisions a second", "/s", "understudy"));
    return section;
}

}  // namespace understudy::tools
