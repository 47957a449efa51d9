// The simulated world: virtual time, the replicas, the connections between them, the arbiter, the network; and what can
// be done to them. When it is done, the schedule (schedule.hpp) or the scenario (scenarios.hpp) says.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/simulation/hypervisor/replication/arbiter.hpp"
#include "tests/simulation/hypervisor/replication/network.hpp"
#include "tests/simulation/hypervisor/replication/pace.hpp"
#include "tests/simulation/hypervisor/replication/replica.hpp"
#include "tests/simulation/hypervisor/replication/trace.hpp"

namespace understudy::replication::simulation {

// What is the same for a whole run.
struct Setting {
    ReplicaLimits limits;
    RoleConfig roles{kVm, "", {}, {}, {}};  // of every replica
    std::optional<StopNumber> guest_ends_at;
    bool arbiter_is_orderly = true;
    bool drops_old_voices = false;  // the network, as a gateway does

    Setting();
    [[nodiscard]] RoleConfig roles_of(const ReplicaId& replica) const;
};

// What happened, to see that the schedules reach what they should.
struct Tally {
    std::uint64_t generations = 0;
    std::uint64_t kills = 0;
    std::uint64_t takeovers = 0;        // by a backup
    std::uint64_t survivals = 0;        // a primary that won after losing its backup
    std::uint64_t depositions = 0;      // losers of a test-and-set
    std::uint64_t unknown_answers = 0;  // of the arbiter
    std::uint64_t stalls = 0;           // backups given up though they were heard
    std::uint64_t undecided_forms = 0;  // backups lost while form was asked
    std::uint64_t outputs = 0;
    std::uint64_t ends = 0;               // replicas that ended because the guest did
    std::uint64_t contradicted_ends = 0;  // VMs that ended, and then went on to another end
    std::uint64_t refused_claims = 0;
    std::uint64_t unclaimed = 0;  // VMs that never began: their primary gave up
    std::uint64_t lost = 0;       // VMs whose only replica was killed

    bool operator==(const Tally&) const = default;
};

class World {
  public:
    World(Pace& pace, const Setting& setting, Detail told) : pace_(pace), setting_(setting), trace_(told) {}

    // `watch` hears of the moments at which a fault hurts most: a role begins, the
    // arbiter has decided, the guest ends or falls asleep.
    void watch(std::function<void(Replica&)> watch) { watch_ = std::move(watch); }
    void at_a_tender_moment(Replica& replica) {
        if (watch_) {
            watch_(replica);
        }
    }

    // Until then, or until something is violated.
    void run_until(Time end);

    [[nodiscard]] Time now() const { return now_; }
    void after(Time delay, std::function<void()> what);
    // On the replica's own thread: not when it is dead, later when it is stopped.
    void after(Time delay, Replica& replica, std::function<void()> what);

    [[nodiscard]] Pace& pace() { return pace_; }
    [[nodiscard]] const Setting& setting() const { return setting_; }
    [[nodiscard]] Arbiter& arbiter() { return arbiter_; }
    [[nodiscard]] const Arbiter& arbiter() const { return arbiter_; }
    [[nodiscard]] Network& network() { return network_; }
    [[nodiscard]] Tally& tally() { return tally_; }
    [[nodiscard]] Trace& trace() { return trace_; }
    [[nodiscard]] const std::vector<std::unique_ptr<Replica>>& replicas() const { return replicas_; }
    [[nodiscard]] std::vector<std::shared_ptr<Link>> links() const;

    // --- What can be done
    // A new primary claims the VM.
    Replica& start_primary();
    // A new backup asks `primary` for the state; it gives up when nobody welcomes it.
    Replica& start_backup(Replica& primary);
    void kill(Replica& victim, bool with_its_host);
    void stop(Replica& victim);
    void resume(Replica& victim);
    // Its vCPU's thread alone.
    void hang(Replica& victim);
    void go_on(Replica& victim);
    // What is sent towards ends[to] arrives only once it is mended.
    void cut(const std::shared_ptr<Link>& link, std::size_t to);
    void mend(const std::shared_ptr<Link>& link, std::size_t to);
    // At one end or at both.
    void reset(const std::shared_ptr<Link>& link, std::size_t end, bool both);
    void lose_arbiter();
    void regain_arbiter();

    // --- What replicas do
    void send(const std::shared_ptr<Link>& link, std::size_t to, Message message);
    // Of what is under way some never left: its host died.
    void lose_tail(Link::Direction& way);
    void show_role(Replica& replica, std::optional<Role> before, const std::string& reason);
    void terminated(const Replica& replica, const action::Terminate& end);

    // --- What is told
    template <typename... Args>
    void note(Detail detail, std::string_view who, fmt::format_string<Args...> what, Args&&... args) {
        trace_.note(detail, now_, who, what, std::forward<Args>(args)...);
    }
    template <typename... Args>
    void violate(fmt::format_string<Args...> what, Args&&... args) {
        if (violation_.empty()) {
            violation_ = fmt::format(what, std::forward<Args>(args)...);
            note(Detail::course, "", "VIOLATION: {}", violation_);
        }
    }
    // When the guest was first said to have ended.
    [[nodiscard]] const std::optional<Time>& ended_at() const { return ended_at_; }
    // Empty: none.
    [[nodiscard]] const std::string& violation() const { return violation_; }

  private:
    struct Scheduled {
        Time time;
        std::uint64_t order;
        std::function<void()> what;
        bool operator<(const Scheduled& other) const {
            return std::pair(time, order) > std::pair(other.time, other.order);
        }
    };

    Replica& new_replica(const char* kind);
    void arrive(const std::shared_ptr<Link>& link, std::size_t to, Parcel parcel);
    void note_parcel(const Link& link, std::size_t to, const Parcel& parcel, bool received);
    void check_alone(const Replica& replica);

    Pace& pace_;
    const Setting setting_;
    std::function<void(Replica&)> watch_;
    Trace trace_;
    Tally tally_;
    std::string violation_;
    std::optional<Time> ended_at_;
    Time now_{0};
    std::uint64_t order_ = 0;
    std::vector<Scheduled> events_;  // a heap, the next one first
    std::vector<std::unique_ptr<Replica>> replicas_;
    std::vector<std::weak_ptr<Link>> links_;
    Arbiter arbiter_{*this};
    Network network_{*this};
};

}  // namespace understudy::replication::simulation
