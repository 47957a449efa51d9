// The network that hears what the replicas say for the guest, and judges it: what was said belongs to one history.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/units.hpp"
#include "tests/simulation/hypervisor/replication/pace.hpp"

namespace understudy::replication::simulation {

class World;
class Replica;

class Network {
  public:
    explicit Network(World& world) : world_(world) {}

    void announced(const Replica& replica, SpeakerRank rank);
    // What a voice says after a higher one has spoken may be dropped here.
    void hear(const Replica& replica, StopNumber stop);
    // And whoever waited with something to say before that has not said it.
    [[nodiscard]] bool hangs_up_on(const Replica& replica) const;
    // Says one who has lived it to the end.
    void guest_ended(const Replica& replica);

    // Whether anybody ever was the guest's voice.
    [[nodiscard]] bool has_a_voice() const { return !ranks_.empty(); }
    [[nodiscard]] std::uint64_t outputs() const { return outputs_; }
    [[nodiscard]] Time last_heard_at() const { return last_heard_at_; }
    // Which of the history's outputs nobody ever heard. 0: none.
    [[nodiscard]] StopNumber swallowed() const;

    [[nodiscard]] bool guest_has_ended() const { return end_.has_value(); }
    // Whether all who said so meant the same end.
    [[nodiscard]] bool ended_twice() const { return ended_twice_; }

  private:
    World& world_;
    std::vector<std::uint64_t> life_{1};  // the one history, as far as it was heard
    std::vector<bool> heard_{false};      // which of its stops
    std::uint64_t outputs_ = 0;
    Time last_heard_at_{0};
    std::optional<std::uint64_t> end_;
    bool ended_twice_ = false;
    std::map<ReplicaId, StopNumber> last_said_;
    std::map<std::pair<std::uint64_t, bool>, ReplicaId> ranks_;
    std::map<ReplicaId, SpeakerRank> voices_;
    SpeakerRank highest_;
    Time highest_since_{0};
};

}  // namespace understudy::replication::simulation
