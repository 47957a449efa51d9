#include "tools/demo/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "tools/output/json.hpp"
#include "tools/output/milliseconds.hpp"

namespace understudy::tools {
namespace {

std::uint64_t sum(const std::vector<Round>& rounds, std::uint64_t Round::*member) {
    return std::accumulate(rounds.begin(), rounds.end(), std::uint64_t{0},
                           [&](std::uint64_t total, const Round& round) { return total + round.*member; });
}

std::string number(const std::optional<double>& value, int digits) {
    return value ? fmt::format("{:.{}f}", *value, digits) : "null";
}

bool made_flip(const Round& round) {
    return round.flip != Flip::none;
}

std::string json_of(const Round& round) {
    return fmt::format(
        R"({{"fault":"{}","gap_ms":{},"takeover_ms":{},"acked_writes":{},"lost_acked_writes":{},)"
        R"("contradictions":{},"dropped_connections":{},"generation":{},"went_on":{},"lag_records":{},"noticed":{},)"
        R"("phases":{{"detected_ms":{},"decided_ms":{},"live_ms":{},"spoke_ms":{},"answered_ms":{}}}}})",
        name_of(round.fault), number(round.gap_ms, 1), number(round.takeover_ms, 1), round.acked_writes,
        round.lost_acked_writes, round.contradictions, round.dropped_connections, round.generation,
        json_string(round.went_on), round.lag_records, round.flip == Flip::noticed, number(round.phases.detected, 3),
        number(round.phases.decided, 3), number(round.phases.live, 3), number(round.phases.spoke, 3),
        number(round.phases.answered, 3));
}

}  // namespace

std::string_view name_of(Fault fault) {
    switch (fault) {
        case Fault::kill:
            return "kill";
        case Fault::stop:
            return "stop";
        case Fault::partition:
            return "partition";
        case Fault::cut:
            return "cut";
        case Fault::host:
            return "host";
        case Fault::arbiter:
            return "arbiter";
        case Fault::gateway:
            return "gateway";
        case Fault::flip:
            return "flip";
    }
    return "";
}

void Round::add(const Findings& findings) {
    acked_writes += findings.acked_writes;
    lost_acked_writes += findings.lost_acked_writes;
    contradictions += findings.contradictions;
    dropped_connections += findings.dropped_connections;
}

void Report::count_divergences(std::uint64_t total) {
    for (; counted_divergences_ < total; ++counted_divergences_) {
        bool explained = false;
        for (auto round = rounds.rbegin(); round != rounds.rend(); ++round) {
            if (round->flip == Flip::hidden) {
                round->flip = std::exchange(explained, true) ? Flip::gone : Flip::noticed;
            }
        }
        divergences += explained ? 0 : 1;
    }
}

void Report::conclude(Load& clients) {
    longest_gap_ms = in_milliseconds(clients.longest_gap());
    finding = clients.first_finding();
    if (!rounds.empty()) {
        rounds.back().add(clients.since_last());
    }
}

std::vector<std::string> Report::broken_promises() const {
    std::vector<std::string> broken;
    if (!failure.empty()) {
        broken.push_back(failure);
    }
    if (const auto lost = sum(rounds, &Round::lost_acked_writes); lost > 0) {
        broken.push_back(fmt::format("{} acknowledged writes were lost", lost));
    }
    if (const auto contradictions = sum(rounds, &Round::contradictions); contradictions > 0) {
        broken.push_back(fmt::format("{} answers contradict earlier ones", contradictions));
    }
    if (const auto dropped = sum(rounds, &Round::dropped_connections); dropped > 0) {
        broken.push_back(fmt::format("{} connections were dropped", dropped));
    }
    if (!finding.empty()) {
        broken.push_back("the first finding: " + finding);
    }
    if (const auto flips = std::ranges::count_if(rounds, made_flip);
        flips > 0 && std::ranges::count(rounds, Flip::noticed, &Round::flip) == 0) {
        broken.push_back(fmt::format("nobody noticed any of {} flipped bits", flips));
    }
    if (divergences > 0) {
        broken.push_back(fmt::format("a replay differed from its recording at {} stops", divergences));
    }
    // What was not observed is not promised either.
    if (rounds.empty() || std::ranges::any_of(rounds, [](const Round& round) { return round.acked_writes == 0; })) {
        broken.emplace_back("there was a round without an acknowledged write");
    }
    if (compared_stops == 0) {
        broken.emplace_back("no replay was compared with its recording");
    }
    return broken;
}

std::string Report::to_json() const {
    std::string list;
    for (const Round& round : rounds) {
        list += (list.empty() ? "" : ",") + json_of(round);
    }
    return fmt::format(
        R"({{"rounds":[{}],"seed":{},"longest_gap_ms":{:.1f},"unplanned_failovers":{},"compared_stops":{},"divergences":{},"finding":{},"failure":{},"ok":{}}})",
        list, seed, longest_gap_ms, unplanned_failovers, compared_stops, divergences, json_string(finding),
        json_string(failure), ok());
}

std::string Report::to_text() const {
    const auto flips = std::ranges::count_if(rounds, made_flip);
    const auto noticed = std::ranges::count(rounds, Flip::noticed, &Round::flip);
    std::string text = fmt::format(
        "\n"
        "  acknowledged writes          {:>10}\n"
        "  acknowledged writes lost     {:>10}\n"
        "  connections dropped          {:>10}\n"
        "  longest gap a client saw     {:>10.0f} ms\n"
        "  replayed stops compared      {:>10}\n"
        "  of these different           {:>10}\n"
        "{}{}"
        "\n",
        sum(rounds, &Round::acked_writes), sum(rounds, &Round::lost_acked_writes),
        sum(rounds, &Round::dropped_connections), longest_gap_ms, compared_stops, divergences,
        flips == 0 ? "" : fmt::format("  bits flipped, and noticed    {:>10}, {}\n", flips, noticed),
        unplanned_failovers == 0
            ? ""
            : fmt::format("  failovers without a fault    {:>10}  (busy machine? see --suspicion)\n",
                          unplanned_failovers));
    for (const std::string& promise : broken_promises()) {
        text += fmt::format("  BROKEN: {}\n", promise);
    }
    return text + fmt::format("  verdict: {} (seed {})\n",
                              ok() ? "the guest survived, nobody noticed more than a pause" : "FAILED", seed);
}

}  // namespace understudy::tools
