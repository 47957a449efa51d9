// One schedule: a VM's life of some seconds in which chance kills, stops and cuts, backups come all the time, and in
// the end nothing fails any more.
#pragma once

#include "tests/simulation/hypervisor/replication/chance.hpp"
#include "tests/simulation/hypervisor/replication/simulation.hpp"
#include "tests/simulation/hypervisor/replication/world.hpp"

namespace understudy::replication::simulation {

class Schedule {
  public:
    Schedule(std::uint64_t seed, Detail told)
        : chance_(seed),
          world_(chance_, setting_by(chance_), told),
          careful_(seed % 4 != 0),
          agitation_(1 + seed % 5) {}

    [[nodiscard]] Result run();

  private:
    [[nodiscard]] static Setting setting_by(Chance& chance);

    // What goes right: backups come, and clients.
    void invite();
    void ask_the_guest();

    // What goes wrong (faults.cpp).
    [[nodiscard]] Time until_next_fault();
    void strike();
    void strike_at(Replica& victim);
    void strike_soon(Replica& victim);
    [[nodiscard]] bool may_kill(const Replica& victim) const;
    [[nodiscard]] bool will_decide(const Replica& member) const;
    void kill(Replica& victim);
    void stop(Replica& victim);
    void hang(Replica& victim);
    void lose_arbiter();
    void cut();
    void reset();
    void be_late(Replica& victim, std::uint64_t times);
    void heal();

    // What must hold at the end.
    [[nodiscard]] bool somebody_is(Role role) const;
    [[nodiscard]] bool somebody_speaks() const;
    [[nodiscard]] std::optional<Time> held_since() const;
    void check_end();
    void check_over();

    Chance chance_;
    World world_;
    bool careful_;  // kills only where the VM must survive
    std::uint64_t agitation_;
    bool sleepy_ = false;  // the guest, without clients
    bool healed_ = false;
};

}  // namespace understudy::replication::simulation
