// The simulated world: virtual time, chance, the connections, the arbiter, the network that hears what replicas say,
// and everything that goes wrong. All of it follows from the seed.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "arbiter/client/client.hpp"
#include "arbiter/register/vm_register.hpp"
#include "tests/simulation/hypervisor/replication/replica.hpp"
#include "tests/simulation/hypervisor/replication/simulation.hpp"

namespace understudy::replication::simulation {

class World {
  public:
    World(std::uint64_t seed, bool tell)
        : random_(seed), tell_(tell), careful_(seed % 4 != 0), agitation_(1 + seed % 5) {}

    [[nodiscard]] Result run();

    // --- Chance and time
    [[nodiscard]] std::uint64_t draw() { return random_(); }
    [[nodiscard]] std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    [[nodiscard]] bool one_in(std::uint64_t n) { return below(n) == 0; }
    [[nodiscard]] Time between(Time least, Time most) {
        return least + Time(static_cast<std::int64_t>(below(static_cast<std::uint64_t>((most - least).count()) + 1)));
    }
    // How long the I/O thread takes to see what the vCPU's thread hands over.
    [[nodiscard]] Time handover();
    [[nodiscard]] Time now() const { return now_; }
    void after(Time delay, std::function<void()> what) { events_.push({now_ + delay, order_++, std::move(what)}); }
    // On the replica's own thread: not when it is dead, later when it is stopped.
    void after(Time delay, Replica& replica, std::function<void()> what);

    // --- What replicas do
    void send(const std::shared_ptr<Link>& link, std::size_t to, Message message);
    // Of what is under way some never left: its host died.
    void lose_tail(Link::Direction& way);
    using ArbiterRequest = std::variant<arbiter::FormRequest, arbiter::TestAndSetRequest>;
    void ask_arbiter(Replica& replica, ArbiterRequest request, std::function<void(const arbiter::Outcome&)> answer);
    void hear(Replica& replica, StopNumber stop);
    void announced(const Replica& replica, SpeakerRank rank);
    void took_over() { ++result_.takeovers; }
    void show_role(const Replica& replica, Role role, Generation generation, const std::string& reason);
    void terminated(const Replica& replica, const action::Terminate& end);

    void violate(std::string what);

  private:
    struct Scheduled {
        Time time;
        std::uint64_t order;
        std::function<void()> what;
        bool operator<(const Scheduled& other) const {
            return std::pair(time, order) > std::pair(other.time, other.order);
        }
    };

    template <typename... Args>
    void tell(fmt::format_string<Args...> text, Args&&... args) {
        if (tell_) {
            result_.story.push_back(fmt::format("{:9.3f} ms  {}", static_cast<double>(now_.count()) / 1e6,
                                                fmt::format(text, std::forward<Args>(args)...)));
        }
    }

    Replica& new_replica(const char* kind);
    void invite();
    void connect(Replica& primary);
    void arrive(const std::shared_ptr<Link>& link, std::size_t to, Message message, std::uint64_t number);
    [[nodiscard]] arbiter::Outcome decide(const ArbiterRequest& request);
    void check_alone(const Replica& replica);
    void check_end();

    // What goes wrong (faults.cpp).
    [[nodiscard]] Time next_fault();
    void strike();
    [[nodiscard]] bool may_kill(const Replica& victim) const;
    void kill(Replica& victim);
    void stop(Replica& victim);
    void resume(Replica& victim);
    void stop_arbiter();
    void cut();
    void mend(const std::shared_ptr<Link>& link, std::size_t to);
    void heal();

    std::mt19937_64 random_;
    bool tell_;
    bool careful_;  // kills only where the VM must survive
    std::uint64_t agitation_;
    Result result_;

    Time now_{0};
    std::uint64_t order_ = 0;
    std::priority_queue<Scheduled> events_;
    bool healed_ = false;

    std::vector<std::unique_ptr<Replica>> replicas_;
    std::vector<std::weak_ptr<Link>> links_;
    std::map<ReplicaId, Role> roles_;  // as last shown

    std::optional<arbiter::VmRecord> vm_;  // at the arbiter
    bool arbiter_down_ = false;

    // What the network heard: the one history, and which of its stops.
    std::vector<std::uint64_t> life_{1};
    std::vector<bool> heard_{false};
    Time last_heard_at_{0};
    std::map<std::pair<std::uint64_t, bool>, ReplicaId> ranks_;
};

// Faults come until here, then everything heals.
constexpr Time kFaultsEnd = std::chrono::seconds(4);
constexpr Time kEnd = std::chrono::seconds(8);

}  // namespace understudy::replication::simulation
