#include "tools/demo/load.hpp"

#include <fmt/format.h>

#include <csignal>

#include "common/error.hpp"
#include "tools/demo/installed.hpp"

namespace understudy::tools {
namespace {

// Enough to keep the guest busy and little enough to leave the verifying client its turn.
constexpr int kBenchmarkClients = 10;

}  // namespace

std::string Load::missing(const GuestDescription& guest) {
    return guest.has_benchmark() && !is_installed("redis-benchmark")
               ? "needs redis-benchmark: apt-get install redis-tools"
               : "";
}

Load::Load(Stage& stage, const GuestDescription& guest, std::uint16_t port)
    : stage_(stage),
      port_(port),
      uses_benchmark_(guest.has_benchmark()),
      verifier_({.server = fmt::format("127.0.0.1:{}", port),
                 .protocol = guest.protocol,
                 .connections = guest.connections,
                 .rate = guest.rate}) {}

void Load::start(std::chrono::milliseconds timeout) {
    verifier_.start(timeout);
    if (!uses_benchmark_) {
        return;
    }
    // It runs until it is told to end; an answer that is missing or a connection that breaks ends it with an error.
    benchmark_ = stage_.start("redis-benchmark",
                              {"redis-benchmark", "-h", "127.0.0.1", "-p", std::to_string(port_), "-t", "set,get", "-c",
                               std::to_string(kBenchmarkClients), "-n", "1000000", "-r", "10000", "-l", "--csv"},
                              [](std::string_view) {});
    stage_.expect("redis-benchmark", benchmark_);
}

std::chrono::nanoseconds Load::gap_since_fault(std::chrono::milliseconds timeout) {
    if (!verifier_.check(timeout)) {
        throw Error::format("clients still wait for {} answers {:.0f} s after the takeover",
                            verifier_.since_mark().unanswered, std::chrono::duration<double>(timeout).count());
    }
    return verifier_.since_mark().longest_gap;
}

Findings Load::check(std::chrono::milliseconds timeout) {
    if (!verifier_.check(timeout)) {
        throw Error::format("clients still wait for {} answers", verifier_.since_start().unanswered);
    }
    return since_last();
}

Findings Load::finish(std::chrono::milliseconds timeout) {
    if (benchmark_) {
        stage_.dismiss(benchmark_);
        benchmark_->signal(SIGKILL);
    }
    if (!verifier_.final_check(timeout)) {
        throw Error::format("clients still wait for {} answers at the end", verifier_.since_start().unanswered);
    }
    return since_last();
}

Findings Load::since_last() {
    VerifierFigures now = verifier_.since_start();
    Findings findings;
    findings.acked_writes = now.acknowledged_writes - last_.acknowledged_writes;
    findings.lost_acked_writes = now.lost_acknowledged_writes - last_.lost_acknowledged_writes;
    findings.contradictions = now.contradictions - last_.contradictions;
    findings.dropped_connections = now.dropped_connections - last_.dropped_connections;
    last_ = std::move(now);
    return findings;
}

}  // namespace understudy::tools
