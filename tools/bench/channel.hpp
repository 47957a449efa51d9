// `understudy bench channel`: the logging channel in plain text and under TLS, side by side.
#pragma once

#include "tools/report/report.hpp"

namespace understudy::tools {

struct ChannelBenchOptions {
    unsigned repeats = 5;           // of each measurement
    unsigned mebibytes = 512;       // of a state that is transferred
    unsigned round_trips = 20'000;  // of a record and its acknowledgement
};

// Throws understudy::Error.
[[nodiscard]] report::Section measure_channel(const ChannelBenchOptions& options);

}  // namespace understudy::tools
