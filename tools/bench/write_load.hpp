// Clients that write to a server, remember what was acknowledged, and go on after the server has died: each on a thread
// of its own, with one connection, asking again when it is answered.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tools/bench/write_ledger.hpp"
#include "tools/bench/write_link.hpp"
#include "tools/verifier/latency_histogram.hpp"

namespace understudy::tools {

struct WriteFigures {
    double seconds = 0;
    std::uint64_t acknowledged = 0;
    std::uint64_t refused = 0;      // answered by an error
    std::uint64_t unconfirmed = 0;  // WAIT counted too few replicas
    std::uint64_t unanswered = 0;   // the connection ended before
    std::uint64_t dropped = 0;      // connections that the other side ended, or that were silent for too long
    std::uint64_t lost = 0;         // acknowledged, and not there when they were read back
    std::uint64_t contradictions = 0;
    std::string finding{};       // the first of both, in words
    LatencyHistogram latency{};  // of acknowledged writes

    [[nodiscard]] double rate() const { return seconds > 0 ? static_cast<double>(acknowledged) / seconds : 0; }
};

// Since the death of a server.
struct Outage {
    std::chrono::nanoseconds gap{0};   // the longest in which no client had an acknowledged write
    std::chrono::nanoseconds wait{0};  // the longest that one client was without
};

// Every method may be called from the thread that made the object.
class WriteLoad {
  public:
    using Clock = std::chrono::steady_clock;

    // The clients begin at once. `name`: a word in the keys that no other load uses. Threads are in the network
    // namespace of the caller's.
    WriteLoad(const WriteTarget& target, const std::string& name, std::size_t clients);
    ~WriteLoad();
    WriteLoad(const WriteLoad&) = delete;
    WriteLoad& operator=(const WriteLoad&) = delete;

    // What came about since the last call, or since the beginning.
    [[nodiscard]] WriteFigures take();

    // The server is about to die: the outage counts from here. From now on each client writes no more than can be read
    // back, and waits for the next check.
    void mark();
    // Every client has had an acknowledged write that it asked for at `time` or later (or has reached its limit).
    [[nodiscard]] bool all_served_since(Clock::time_point time) const;
    [[nodiscard]] Outage outage() const;

    // Every client reads back what it wrote since the last check and goes on; what it finds is in the figures.
    void begin_check();
    [[nodiscard]] bool has_checked() const;

    // Why a client could not do what it was to do, the last time; empty: there was nothing.
    [[nodiscard]] std::string last_trouble() const;

  private:
    class Client;
    // What all clients share, under the mutex.
    struct Board {
        mutable std::mutex mutex{};
        std::condition_variable changed{};
        std::atomic<bool> stopped = false;
        std::uint64_t checks = 0;  // that were asked for
        std::size_t checking = 0;  // clients that have not done the last
        bool is_limited = false;   // since the mark
        std::uint64_t marks = 0;
        Clock::time_point marked_at{};
        Clock::time_point last_acknowledged = Clock::now();
        bool is_held = false;  // one of them has reached its limit: the outage is over
        Outage outage{};
        WriteFigures figures{};
        Clock::time_point begin = Clock::now();
        std::string trouble{};
    };

    const WriteTarget target_;
    Board board_;
    std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace understudy::tools
