// Where scenarios are played: the simulated world at a steady pace. Nothing comes by chance; the guest idles until a
// client asks it for something, and then says one thing.
#pragma once

#include <chrono>
#include <vector>

#include "tests/simulation/hypervisor/replication/pace.hpp"
#include "tests/simulation/hypervisor/replication/world.hpp"

namespace understudy::replication::simulation {

class SteadyPace final : public Pace {
  public:
    using microseconds = std::chrono::microseconds;
    using milliseconds = std::chrono::milliseconds;

    [[nodiscard]] bool connections_first() override { return false; }
    [[nodiscard]] std::uint64_t input() override { return 4 * ++inputs_ + 1; }  // the guest speaks
    [[nodiscard]] bool idles_next() override { return true; }
    [[nodiscard]] std::optional<Time> idling() override { return std::nullopt; }
    [[nodiscard]] Time running() override { return microseconds(100); }
    [[nodiscard]] std::optional<std::uint64_t> copied_parts() override { return std::nullopt; }
    [[nodiscard]] Time replaying_a_record() override { return microseconds(500); }
    [[nodiscard]] Time handover() override { return microseconds(200); }
    [[nodiscard]] Time leaving() override { return Time(0); }
    [[nodiscard]] Time connecting() override { return milliseconds(1); }
    [[nodiscard]] Time sending_a_message() override { return milliseconds(1); }
    [[nodiscard]] std::uint64_t parts_of_the_state() override { return 2; }
    [[nodiscard]] Time sending_a_part() override { return milliseconds(20); }
    [[nodiscard]] bool snapshot_fails() override { return false; }
    [[nodiscard]] std::uint64_t lost_with_the_host(std::uint64_t /*sent*/) override { return 0; }
    [[nodiscard]] bool dies_after_goodbye() override { return false; }
    [[nodiscard]] std::vector<Time> asking() override { return {milliseconds(2)}; }
    [[nodiscard]] std::optional<Time> answering() override {
        return std::exchange(loses_next_answer_, false) ? std::nullopt : std::optional<Time>(milliseconds(2));
    }

    void lose_next_answer() { loses_next_answer_ = true; }

  private:
    std::uint64_t inputs_ = 0;
    bool loses_next_answer_ = false;
};

class Stage {
  public:
    explicit Stage(const Setting& setting) : world_(pace_, setting, Detail::messages) {}

    [[nodiscard]] SteadyPace& pace() { return pace_; }
    [[nodiscard]] World& world() { return world_; }

    void pass(Time time) { world_.run_until(world_.now() + time); }
    // A client wants something of the guest that `replica` runs.
    void request(Replica& replica) {
        world_.note(Detail::messages, "client", "sends {}'s guest a request", replica.id());
        replica.execute([&replica] { replica.wake_guest(); });
    }
    // The connection between the two that are there.
    [[nodiscard]] std::shared_ptr<Link> link() { return world_.links().back(); }
    // What was told before is not part of the story.
    void begin_here() { static_cast<void>(world_.trace().take()); }

  private:
    SteadyPace pace_;
    World world_;
};

}  // namespace understudy::replication::simulation
