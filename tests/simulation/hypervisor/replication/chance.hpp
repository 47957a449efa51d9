// Chance, from one seed: what befalls a schedule and how long everything takes.
#pragma once

#include <random>

#include "tests/simulation/hypervisor/replication/pace.hpp"

namespace understudy::replication::simulation {

class Chance final : public Pace {
  public:
    explicit Chance(std::uint64_t seed) : random_(seed) {}
    // A guest that may have nothing to do until a client asks it for something.
    void let_it_sleep() { may_sleep_ = true; }

    [[nodiscard]] std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    [[nodiscard]] bool one_in(std::uint64_t n) { return below(n) == 0; }
    [[nodiscard]] Time between(Time least, Time most) {
        return least + Time(static_cast<std::int64_t>(below(static_cast<std::uint64_t>((most - least).count()) + 1)));
    }
    // From now on the arbiter neither loses nor delays anything.
    void calm_down() { calm_ = true; }

    [[nodiscard]] bool connections_first() override { return one_in(2); }
    [[nodiscard]] std::uint64_t input() override { return random_(); }
    [[nodiscard]] bool idles_next() override { return one_in(3); }
    [[nodiscard]] std::optional<std::uint64_t> copied_parts() override;
    [[nodiscard]] std::optional<Time> idling() override;
    [[nodiscard]] Time running() override;
    [[nodiscard]] Time replaying_a_record() override;
    [[nodiscard]] Time handover() override;
    [[nodiscard]] Time leaving() override;
    [[nodiscard]] Time connecting() override;
    [[nodiscard]] Time sending_a_message() override;
    [[nodiscard]] std::uint64_t parts_of_the_state() override;
    [[nodiscard]] Time sending_a_part() override;
    [[nodiscard]] bool snapshot_fails() override { return one_in(30); }
    [[nodiscard]] std::uint64_t lost_with_the_host(std::uint64_t sent) override;
    [[nodiscard]] bool dies_after_goodbye() override { return one_in(3); }
    [[nodiscard]] std::vector<Time> asking() override;
    [[nodiscard]] std::optional<Time> answering() override;

  private:
    std::mt19937_64 random_;
    bool calm_ = false;
    bool may_sleep_ = false;
};

}  // namespace understudy::replication::simulation
