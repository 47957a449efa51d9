// Requests of the Redis protocol on many connections, and how long their answers took.
//
// At an offered rate a request's time counts from the moment at which it was to be sent, whether or not it could be: a
// server that stands still for 100 ms has kept all waiting that were due in that time, not only the one that found it
// so (what leaves those out is called coordinated omission). Without a rate each connection asks again once it is
// answered.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "tools/demo/stage.hpp"
#include "tools/verifier/latency_histogram.hpp"

namespace understudy::tools {

struct RequestLoad {
    std::string host;  // a numeric address
    std::uint16_t port = 6379;
    std::size_t connections = 50;
    double rate = 0;  // requests a second over all connections; 0: as many as are answered
    std::size_t value_bytes = 32;
    std::chrono::milliseconds warm_up{500};  // not counted
    std::chrono::milliseconds duration{5000};
};

struct RequestFigures {
    double seconds = 0;
    std::uint64_t answers = 0;  // that came in that time
    std::uint64_t unanswered =
        0;  // were due in it, and had no answer seconds later: they are in `latency` with that time
    LatencyHistogram latency;

    [[nodiscard]] double rate() const { return seconds > 0 ? static_cast<double>(answers) / seconds : 0; }
};

// SET of random keys; on a thread of its own, while the stage's processes are watched. Throws understudy::Error: no
// connection, one that breaks, an answer that is none, or what the stage has to say.
[[nodiscard]] RequestFigures ask(Stage& stage, const RequestLoad& load);

// The same on the calling thread, whose network namespace it is in.
[[nodiscard]] RequestFigures run_requests(const RequestLoad& load);

}  // namespace understudy::tools
