#include "tools/bench/all.hpp"

#include <fmt/format.h>

#include <exception>
#include <functional>
#include <string>
#include <utility>

#include "common/tell.hpp"
#include "tools/bench/against.hpp"
#include "tools/bench/arbiter.hpp"
#include "tools/bench/channel.hpp"
#include "tools/bench/checkpoints.hpp"
#include "tools/bench/distance.hpp"
#include "tools/bench/failover.hpp"
#include "tools/bench/guest.hpp"
#include "tools/bench/join.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/network.hpp"
#include "tools/bench/overhead.hpp"
#include "tools/bench/scale.hpp"
#include "tools/bench/smoke.hpp"
#include "tools/bench/uncounted.hpp"
#include "tools/process/interrupted.hpp"

namespace understudy::tools {
namespace {

using Measure = std::function<report::Section()>;

report::Section attempt(const std::string& name, const Measure& measure) {
    tell("== {}\n", name);
    try {
        return measure();
    } catch (const Interrupted&) {
        throw;
    } catch (const std::exception& error) {
        tell("{}: {}\n", name, error.what());
        return {.name = name, .title = name, .rows = {report::missing_row(name, error.what())}, .plots = {}};
    }
}

// All of them; quick: what is worth five minutes.
std::vector<std::pair<std::string, Measure>> benchmarks(const AllBenchOptions& options,
                                                        const std::filesystem::path& image) {
    OverheadBenchOptions overhead;
    overhead.image = image;
    FailoverBenchOptions failover;
    failover.image = image;
    NetworkBenchOptions network;
    network.image = image;
    DistanceBenchOptions distance;
    distance.image = image;
    GuestBenchOptions guest;
    guest.image = image;
    SmokeOptions smoke;
    UncountedBenchOptions uncounted;
    uncounted.image = image;
    JoinBenchOptions join;
    join.image = image;
    ChannelBenchOptions channel;
    ArbiterBenchOptions arbiter;
    arbiter.data = std::filesystem::temp_directory_path();
    AgainstBenchOptions against;
    against.image = image;
    CheckpointsBenchOptions checkpoints;
    checkpoints.image = image;
    ScaleBenchOptions scale;
    scale.image = image;
    if (options.quick) {
        overhead.repeats = 1;
        overhead.rates = {10'000};
        overhead.seconds = 2;
        failover.rounds = 2;
        network.repeats = 1;
        network.clients = {1, 50, 2000};
        network.mbits = {1000};
        network.packets = {10'000};
        network.seconds = 2;
        distance.repeats = 1;
        distance.delays_ms = {0, 5};
        distance.clients = {50};
        distance.seconds = 2;
        guest.repeats = 1;
        guest.only = {"boot", "calls", "faults", "spawns", "redis"};
        guest.requests = 20'000;
        smoke.repeats = 1;
        smoke.spin_rounds = 50;
        uncounted.repeats = 1;
        uncounted.only = {"spin"};
        join.memory = "512M";
        join.data = "200M";
        join.repeats = 1;
        channel.repeats = 3;
        channel.mebibytes = 128;
        channel.round_trips = 5000;
        arbiter.repeats = 1;
        arbiter.seconds = 1;
        arbiter.kills = 5;
        arbiter.vms = 1000;
        against.repeats = 1;
        against.seconds = 1;
        against.kills = 1;
        against.only = {"redis"};
        checkpoints.repeats = 1;
        checkpoints.intervals_ms = {25};
        checkpoints.clients = {50};
        checkpoints.seconds = 2;
        scale.pairs = 1000;
        scale.repeats = 1;
        scale.only = {"arbiter", "guests"};
        scale.guests = {2};
    }
    return {{"overhead", [=] { return measure_overhead(overhead); }},
            {"failover", [=] { return measure_failover(failover); }},
            {"network", [=] { return measure_network(network); }},
            {"distance", [=] { return measure_distance(distance); }},
            {"guest", [=] { return measure_guest(guest); }},
            {"uncounted", [=] { return measure_uncounted(uncounted); }},
            {"join", [=] { return measure_joins(join); }},
            {"smoke", [=] { return measure_smoke(smoke); }},
            {"channel", [=] { return measure_channel(channel); }},
            {"arbiter", [=] { return measure_arbiter(arbiter); }},
            {"against", [=] { return measure_against(against); }},
            {"checkpoints", [=] { return measure_checkpoints(checkpoints); }},
            {"scale", [=] { return measure_scale(scale); }}};
}

}  // namespace

std::vector<report::Section> measure_all(const AllBenchOptions& options) {
    // Here, as long as the host's network is there.
    const BenchImage image(options.image, {"redis-server", "postgresql", "python3-minimal", "gcc", "libc6-dev"});
    std::vector<report::Section> sections;
    for (const auto& [name, measure] : benchmarks(options, image.file())) {
        sections.push_back(attempt(name, measure));
    }
    return sections;
}

}  // namespace understudy::tools
