// What `understudy bench against` says of those that it compares.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tools/bench/write_load.hpp"
#include "tools/report/plot.hpp"
#include "tools/report/report.hpp"

namespace understudy::tools {

// What was measured of one way to survive.
struct Contender {
    std::string name;
    std::vector<double> rates{};  // of the repetitions
    std::vector<double> p50_us{};
    std::vector<double> p99_us{};
    std::vector<double> gaps_ms{};  // of the deaths
    std::vector<double> waits_ms{};
    WriteFigures deaths{};   // what all of them came to
    unsigned unplanned = 0;  // failovers between them, without a fault
    std::string missing{};   // why it was not measured, or not to its end
    bool promises = false;   // that nothing is lost and no connection ends
    std::string detail{};

    void add_load(const WriteFigures& figures);
    void add_death(const Outage& outage, const WriteFigures& figures);
};

// The section's rows: each contender beside the last of them, then the deaths of each. Pure.
[[nodiscard]] std::vector<report::Row> against_rows(const std::vector<Contender>& contenders, std::size_t connections);

// The gaps of each, sorted. Pure.
[[nodiscard]] report::CurvePlot gaps_plot(const std::vector<Contender>& contenders);

}  // namespace understudy::tools
