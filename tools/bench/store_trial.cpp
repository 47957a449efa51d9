#include "tools/bench/store_trial.hpp"

#include <fmt/format.h>

#include <chrono>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kWarmUp = 500ms;
constexpr auto kServeTime = 120s;  // until every client has its answer again
constexpr auto kCheckTime = 60s;

}  // namespace

StoreTrial::StoreTrial(Stage& stage, const AgainstBenchOptions& options)
    : stage_(stage), options_(options), random_(options.seed != 0 ? options.seed : std::random_device{}()) {}

void StoreTrial::measure_load(Entrant& entrant) {
    attempt(entrant, [&] { measure_until_planned(entrant); });
}

void StoreTrial::kill_again_and_again(Entrant& entrant) {
    attempt(entrant, [&] { kill_each_time(entrant); });
}

// What breaks one off leaves the others to be measured.
void StoreTrial::attempt(Entrant& entrant, const std::function<void()>& measure) {
    if (!entrant.figures.missing.empty()) {
        return;
    }
    try {
        measure();
    } catch (const Error& error) {
        stage_.pause(1ms);  // throws what ends them all: the user's interrupt
        entrant.figures.missing = error.what();
        stage_.timeline().say("bench", fmt::format("{}: {}", entrant.figures.name, error.what()));
    }
}

std::unique_ptr<WriteLoad> StoreTrial::start_load(const Entrant& entrant) {
    auto load = std::make_unique<WriteLoad>(entrant.target, fmt::format("load{}", ++loads_), options_.connections);
    await_service(*load, WriteLoad::Clock::now());
    return load;
}

void StoreTrial::await_service(const WriteLoad& load, WriteLoad::Clock::time_point since) {
    try {
        stage_.until([&] { return load.all_served_since(since); }, kServeTime, "every client's write");
    } catch (const Error& error) {
        throw Error::format("{} ({})", error.what(), load.last_trouble());
    }
}

void StoreTrial::measure_until_planned(Entrant& entrant) {
    constexpr unsigned kAttempts = 3;
    Store& store = *entrant.store;
    for (unsigned i = 0; i < kAttempts; ++i) {
        store.await_redundancy();
        const unsigned failovers = store.unplanned_failovers();
        const WriteFigures figures = measure_once(entrant);
        store.await_redundancy();
        if (store.unplanned_failovers() == failovers) {
            entrant.figures.add_load(figures);
            stage_.timeline().say(
                "bench", fmt::format("{}: {:.0f}/s, p50 {:.0f} us, p99 {:.0f} us", entrant.figures.name, figures.rate(),
                                     entrant.figures.p50_us.back(), entrant.figures.p99_us.back()));
            return;
        }
        stage_.timeline().say("bench",
                              fmt::format("{}: a failover without a fault; measured again", entrant.figures.name));
    }
    throw Error("there was a failover without a fault each time: the machine is too busy for this --down-after");
}

WriteFigures StoreTrial::measure_once(const Entrant& entrant) {
    const auto load = start_load(entrant);
    stage_.pause(kWarmUp);
    static_cast<void>(load->take());
    stage_.pause(std::chrono::seconds(options_.seconds));
    return load->take();
}

void StoreTrial::kill_each_time(Entrant& entrant) {
    if (options_.kills == 0) {
        return;
    }
    const auto load = start_load(entrant);
    const unsigned failovers = entrant.store->unplanned_failovers();
    for (unsigned i = 0; i < options_.kills; ++i) {
        entrant.store->await_redundancy();
        static_cast<void>(load->take());
        const Outage outage = kill_once(entrant, *load);
        const WriteFigures figures = load->take();
        entrant.figures.add_death(outage, figures);
        entrant.figures.unplanned = entrant.store->unplanned_failovers() - failovers;
        stage_.timeline().say(
            "bench", fmt::format("{}, killed {} of {}: {:.1f} ms without a write; {} of {} lost, {} connections "
                                 "dropped",
                                 entrant.figures.name, i + 1, options_.kills, entrant.figures.gaps_ms.back(),
                                 figures.lost, figures.acknowledged, figures.dropped));
    }
}

// What was killed begins anew once all are served, so that it is not part of the gap; where nobody is served
// without it, at once.
Outage StoreTrial::kill_once(const Entrant& entrant, WriteLoad& load) {
    Store& store = *entrant.store;
    stage_.pause(std::chrono::milliseconds(std::uniform_int_distribution<int>(200, 700)(random_)));
    load.mark();
    store.kill();
    store.await_takeover();
    const auto taken_over = WriteLoad::Clock::now();
    if (entrant.serves_when_redundant) {
        store.restart();
    }
    await_service(load, taken_over);
    const Outage outage = load.outage();
    if (!entrant.serves_when_redundant) {
        store.restart();
    }
    store.await_redundancy();
    load.begin_check();
    stage_.until([&] { return load.has_checked(); }, kCheckTime, "what was written to be read back");
    return outage;
}

}  // namespace understudy::tools
