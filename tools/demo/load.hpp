// The clients of the demonstration: one that verifies (tools/verifier/verifier.hpp), and, where the server speaks the
// Redis protocol, redis-benchmark for load.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "tools/demo/guest.hpp"
#include "tools/demo/stage.hpp"
#include "tools/verifier/verifier.hpp"

namespace understudy::tools {

// What the verifying client found since the last time it was asked.
struct Findings {
    std::uint64_t acked_writes = 0;
    std::uint64_t lost_acked_writes = 0;
    std::uint64_t contradictions = 0;
    std::uint64_t dropped_connections = 0;
};

class Load {
  public:
    // Why there can be none for the guest on this host, and what to do. Empty: there can.
    [[nodiscard]] static std::string missing(const GuestDescription& guest);

    // The guest's server is at 127.0.0.1:`port`.
    Load(Stage& stage, const GuestDescription& guest, std::uint16_t port);

    // Returns when the clients are at work. Throws understudy::Error when they are not within `timeout`.
    void start(std::chrono::milliseconds timeout);

    // redis-benchmark runs as well.
    [[nodiscard]] bool has_benchmark() const { return benchmark_ != nullptr; }

    // The fault is about to happen: the gap counts from here.
    void mark_fault() { verifier_.mark(); }
    // Waits until every connection has had its answer, reads every acknowledged write back, and returns the longest
    // that any connection waited since the mark.
    [[nodiscard]] std::chrono::nanoseconds gap_since_fault(std::chrono::milliseconds timeout);
    // When, since the fault, the first answer came that came at `time` or later.
    [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> first_answer_since_fault(
        std::chrono::steady_clock::time_point time) const {
        return verifier_.first_answer_since_mark(time);
    }
    // Reads every acknowledged write back and returns what was found since the last call of this function.
    [[nodiscard]] Findings check(std::chrono::milliseconds timeout);

    [[nodiscard]] std::chrono::nanoseconds longest_gap() const { return verifier_.since_start().longest_gap; }

    // In words; empty: there was none.
    [[nodiscard]] std::string first_finding() const { return verifier_.since_start().first_finding; }

    // Ends redis-benchmark, checks a last time and closes the connections. The findings are those since the last
    // check().
    [[nodiscard]] Findings finish(std::chrono::milliseconds timeout);

    // What was found since check(), finish() or this function last returned: also what they found that threw.
    [[nodiscard]] Findings since_last();

  private:
    Stage& stage_;
    std::uint16_t port_;
    bool uses_benchmark_;
    Verifier verifier_;
    std::shared_ptr<Child> benchmark_;  // if there is one
    VerifierFigures last_;
};

}  // namespace understudy::tools
