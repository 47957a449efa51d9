// What the demonstration found, and whether that is what Understudy promises.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/demo/load.hpp"

namespace understudy::tools {

enum class Fault {
    kill,       // SIGKILL to the primary
    stop,       // SIGSTOP, later SIGCONT
    partition,  // the pair's connection goes silent
    cut,        // the pair's connection breaks
    host,       // the link of the primary's host goes down, later up
    arbiter,    // SIGKILL to the primary, and to the server that leads the arbiter
    gateway,    // SIGKILL to the primary, whose connection to the gateway goes silent
    flip,       // a bit of the backup's guest memory
};

[[nodiscard]] std::string_view name_of(Fault fault);

// What happened when, in milliseconds since the fault. Nothing: it did not happen (a primary that goes on never went
// live), or nobody told.
struct Phases {
    std::optional<double> detected{};  // the survivor missed its peer
    std::optional<double> decided{};   // the arbiter had answered
    std::optional<double> live{};      // the survivor had replayed what it had, and its guest ran
    std::optional<double> spoke{};     // the first output left
    std::optional<double> answered{};  // a client had its first answer of the survivor
};

// Of Fault::flip.
enum class Flip : std::uint8_t {
    none,     // no bit was flipped
    hidden,   // nobody has noticed yet
    noticed,  // the backup found itself different, and was brought back
    gone,     // nobody had noticed when the backup was brought back for another one
};

struct Round {
    Fault fault = Fault::kill;
    std::optional<double> gap_ms{};     // the longest that a client waited from the fault on; empty: broken off before
    std::optional<double> takeover_ms;  // death seen to guest running; empty: the primary won and went on
    // Until the guest was protected again.
    std::uint64_t acked_writes = 0;
    std::uint64_t lost_acked_writes = 0;
    std::uint64_t contradictions = 0;  // answers that no order of the requests explains
    std::uint64_t dropped_connections = 0;
    std::uint64_t generation = 0;   // that the fault ended
    std::string went_on{};          // the host that did
    std::uint64_t lag_records = 0;  // the backup's, last reported before the fault
    Phases phases{};
    Flip flip = Flip::none;

    void add(const Findings& findings);
};

struct Report {
    std::uint64_t seed = 0;
    std::vector<Round> rounds;
    double longest_gap_ms = 0;  // that a client saw from the first request to the last
    // Failovers that no fault of the script brought about: a replica of a busy machine was not heard in time.
    std::uint64_t unplanned_failovers = 0;
    std::uint64_t compared_stops = 0;  // at which a backup compared its state with the primary's
    std::uint64_t divergences = 0;     // that no fault of the script brought about, by count_divergences()
    std::string finding{};             // the first loss, contradiction or dropped connection, in words
    std::string failure{};             // why the demonstration could not go on to its end; empty: it did

    // There have been `total` so far, of all replicas. One that is new shows a bit that was flipped before and that
    // nobody had noticed, if there is one: however long it took. Who differs begins anew, and then no flip is left to
    // show.
    void count_divergences(std::uint64_t total);
    // What the clients have found in all, and, for the last round, what they have not told before.
    void conclude(Load& clients);
    // Every promise that does not hold, one line each; empty when all do.
    [[nodiscard]] std::vector<std::string> broken_promises() const;
    [[nodiscard]] bool ok() const { return broken_promises().empty(); }

    [[nodiscard]] std::string to_json() const;
    // The verdict, several lines.
    [[nodiscard]] std::string to_text() const;

  private:
    std::uint64_t counted_divergences_ = 0;
};

}  // namespace understudy::tools
