// How long things take in the simulated world, and what happens where it could happen either way. There are two paces:
// chance (chance.hpp), for thousands of schedules, and a steady one (scenarios.cpp), for stories that a person reads.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace understudy::replication::simulation {

using Time = std::chrono::nanoseconds;

class Pace {
  public:
    Pace() = default;
    Pace(const Pace&) = delete;
    Pace& operator=(const Pace&) = delete;
    virtual ~Pace() = default;

    // Whether a process that continues looks at its connections before its timers.
    [[nodiscard]] virtual bool connections_first() = 0;

    // --- The guest, and the thread that runs it
    // What its next interval depends on.
    [[nodiscard]] virtual std::uint64_t input() = 0;
    // Whether it has nothing to do at its next stop but wait for input.
    [[nodiscard]] virtual bool idles_next() = 0;
    // Whether that interval ends where nobody can run it again to, and in how many parts what it wrote is copied.
    [[nodiscard]] virtual std::optional<std::uint64_t> copied_parts() = 0;
    // How long it waits there. Nothing: until somebody wakes it.
    [[nodiscard]] virtual std::optional<Time> idling() = 0;
    // From an input to the next stop.
    [[nodiscard]] virtual Time running() = 0;
    [[nodiscard]] virtual Time replaying_a_record() = 0;
    // Until the I/O thread sees what the vCPU's thread hands over.
    [[nodiscard]] virtual Time handover() = 0;

    // --- The network
    // Until it takes what is released, where a link keeps that for it. Zero: at once.
    [[nodiscard]] virtual Time leaving() = 0;

    // --- The logging channel
    [[nodiscard]] virtual Time connecting() = 0;
    [[nodiscard]] virtual Time sending_a_message() = 0;
    // The state goes in so many parts, one when the one before has left.
    [[nodiscard]] virtual std::uint64_t parts_of_the_state() = 0;
    [[nodiscard]] virtual Time sending_a_part() = 0;
    // Whether the primary has no memory to keep its guest's state for a backup.
    [[nodiscard]] virtual bool snapshot_fails() = 0;
    // How many of `sent` messages had not left the host when it died.
    [[nodiscard]] virtual std::uint64_t lost_with_the_host(std::uint64_t sent) = 0;
    // Whether the host of a replica that has said goodbye dies before that has left.
    [[nodiscard]] virtual bool dies_after_goodbye() = 0;

    // --- The arbiter
    // When a question arrives there: once, twice (a retry whose first attempt was not lost), or never.
    [[nodiscard]] virtual std::vector<Time> asking() = 0;
    // Nothing: the answer is lost.
    [[nodiscard]] virtual std::optional<Time> answering() = 0;
};

}  // namespace understudy::replication::simulation
