// `understudy bench channel`: the logging channel in plain text and under TLS, side by side.
#pragma once

namespace understudy::tools {

struct ChannelBenchOptions {
    unsigned repeats = 5;           // of each measurement; the best of the throughput, the median of the round trips
    unsigned mebibytes = 512;       // of a state that is transferred
    unsigned round_trips = 20'000;  // of a record and its acknowledgement
    bool json = false;              // one JSON object instead of a table
};

// Prints the figures to standard output. Throws understudy::Error.
void run_channel_bench(const ChannelBenchOptions& options);

}  // namespace understudy::tools
