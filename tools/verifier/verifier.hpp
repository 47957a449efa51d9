// The verifying client: many connections to a server, each writing and remembering every write that the server
// acknowledged. It notices a lost acknowledged write, a request executed twice or out of order, a dropped connection,
// and how long each request waited for its answer. What is written:
//
//   redis     unique values to keys of the connection's own, by SET, INCR and APPEND (key_model.hpp)
//   postgres  transactions, as pgbench's; each that was committed is one write (ledger_model.hpp)
//
// It runs on a thread of its own. At most one request is outstanding on a connection, so that after a broken connection
// at most one write is in doubt there, and that one may or may not have happened.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace understudy::tools {

enum class Protocol : std::uint8_t { redis, postgres };

struct VerifierConfig {
    std::string server;  // HOST:PORT
    Protocol protocol = Protocol::redis;
    std::size_t connections = 50;
    std::size_t keys_per_connection = 48;  // of redis
    // Requests per second, over all connections: enough to have every connection wait for an answer soon after a fault,
    // and little enough to leave the processors to what is being tested. 0: as many as the server answers.
    double rate = 2000;
};

struct VerifierFigures {
    std::chrono::nanoseconds duration{0};
    std::uint64_t answers = 0;                   // requests that were answered
    std::uint64_t acknowledged_writes = 0;       // of them, writes
    std::uint64_t lost_acknowledged_writes = 0;  // acknowledged and later found missing
    std::uint64_t contradictions = 0;            // answers that no order of the requests explains
    std::uint64_t dropped_connections = 0;       // ended by the other side; they are made again
    std::uint64_t unanswered = 0;                // requests outstanding now
    // The longest that any connection waited for an answer, answers still outstanding included; for figures since a
    // mark, the part of the wait since the mark.
    std::chrono::nanoseconds longest_gap{0};
    std::chrono::nanoseconds latency_p50{0};  // of the answered requests, to 1 %
    std::chrono::nanoseconds latency_p99{0};
    std::chrono::nanoseconds latency_p999{0};
    std::string first_finding;  // in words: the first loss, contradiction or dropped connection

    [[nodiscard]] bool clean() const {
        return lost_acknowledged_writes == 0 && contradictions == 0 && dropped_connections == 0;
    }
};

// Every method may be called from any thread but the verifier's own, one at a time.
class Verifier {
  public:
    explicit Verifier(VerifierConfig config);
    ~Verifier();  // stops without a check
    Verifier(const Verifier&) = delete;
    Verifier& operator=(const Verifier&) = delete;

    // Opens all connections, sees each answered, and begins to write. Throws understudy::Error when that has not come
    // about after `timeout`: the message names the server and the reason.
    void start(std::chrono::milliseconds timeout = std::chrono::seconds(10));

    // Begins a new measuring window: since_mark() counts from here.
    void mark();

    [[nodiscard]] VerifierFigures since_start() const;
    [[nodiscard]] VerifierFigures since_mark() const;
    // When the first answer came that came at `time` or later, of the first 20,000 since the mark; nothing: none did.
    [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> first_answer_since_mark(
        std::chrono::steady_clock::time_point time) const;

    // Holds new writes back, waits for outstanding answers, reads every key back, goes on writing. False when an answer
    // has not come after `timeout`; what was found by then is in the figures.
    [[nodiscard]] bool check(std::chrono::milliseconds timeout = std::chrono::seconds(10));

    // The same, then closes all connections. The figures stay.
    [[nodiscard]] bool final_check(std::chrono::milliseconds timeout = std::chrono::seconds(10));

  private:
    class Engine;
    std::unique_ptr<Engine> engine_;
};

}  // namespace understudy::tools
