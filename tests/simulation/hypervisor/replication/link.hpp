// The logging channel in the simulated world: what replicas say to each other, and the connection it goes over.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/execution.hpp"
#include "common/units.hpp"
#include "tests/simulation/hypervisor/replication/guest.hpp"
#include "tests/simulation/hypervisor/replication/pace.hpp"

namespace understudy::replication::simulation {

class Replica;

struct WelcomeMessage {
    Generation generation;
};
struct RefuseMessage {
    std::string why;
};
struct StateMessage {
    std::optional<Guest> guest;  // with the last part
};
// Part of what a copied interval wrote; its record follows.
struct CopiedPart {};
struct RecordsMessage {
    std::vector<std::variant<Record, CopiedPart>> entries;
};
struct ReportMessage {
    StopNumber received, replayed, released;
};
struct ReadyMessage {};
struct FormedMessage {};
struct GoodbyeMessage {
    std::string why;
};
struct EndMessage {};  // the peer's end was closed
using Message = std::variant<WelcomeMessage, RefuseMessage, StateMessage, RecordsMessage, ReportMessage, ReadyMessage,
                             FormedMessage, GoodbyeMessage, EndMessage>;

// For a person to read.
[[nodiscard]] std::string describe(const Message& message);

// A message under way.
struct Parcel {
    Message message;
    std::uint64_t number = 0;  // on its way
    bool news = true;          // for a person to read: not a heartbeat that says what was said before
};

// One connection: a FIFO each way. Index 0 is the primary's end.
struct Link {
    std::array<Replica*, 2> ends{};
    std::array<bool, 2> open{true, true};
    struct Direction {
        Time last{0};  // delivery of the newest message
        bool cut = false;
        std::deque<Parcel> stuck;         // arrived at the cut
        std::uint64_t lost_from = ~0ULL;  // the host died: messages from here on never left
        std::uint64_t sent = 0;
        ReportMessage told;  // what a person has read of its reports
    };
    std::array<Direction, 2> towards;  // [i]: messages to ends[i]

    [[nodiscard]] std::size_t end_of(const Replica& replica) const { return ends[0] == &replica ? 0 : 1; }
};

}  // namespace understudy::replication::simulation
